//! The journal's settings, with their defaults and the reasons for them.

/// Settings of one journal. Change fields of [`Options::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bound of what is kept for delivery, in bytes on disk. At the bound appends fail with
    /// [`FullReason::SizeLimit`](crate::FullReason::SizeLimit) until an eighth of it is free again.
    /// Default 1 GiB; at least 512 KiB (smaller values are raised).
    pub max_bytes: u64,
    /// Size of one segment file. Default 32 MiB; lowered to `max_bytes / 8` and raised to 64 KiB,
    /// so that a small bound is still freed in small steps.
    pub segment_bytes: u64,
    /// Forgotten records kept behind the cursor, in bytes, so that the owner can rebuild what it
    /// remembers after a restart. Comes on top of `max_bytes`; given up when the disk is full.
    /// Default 64 MiB.
    pub retain_bytes: u64,
    /// Longest record, in bytes. Default 16 MiB; never more than a segment holds, see
    /// [`Journal::record_bytes_max`](crate::Journal::record_bytes_max).
    pub record_bytes_max: usize,
    /// Bound of what waits in memory for the disk, in bytes. A disk that does not keep up makes
    /// appends fail with [`FullReason::DiskTooSlow`](crate::FullReason::DiskTooSlow). Default 32 MiB.
    pub pending_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            segment_bytes: 32 << 20,
            retain_bytes: 64 << 20,
            record_bytes_max: 16 << 20,
            pending_bytes_max: 32 << 20,
        }
    }
}
