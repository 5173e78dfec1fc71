//! The journal's settings, with defaults and reasons.

/// Settings of a journal; start from [`Options::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Maximum size of undelivered records, in bytes on disk. When it is reached, appends fail with
    /// [`FullReason::SizeLimit`](crate::FullReason::SizeLimit) until an eighth of it is free again. Default 1
    /// GiB; smaller values than 512 KiB are raised to that.
    pub bytes_max: u64,
    /// Size of one segment file in bytes. Default 32 MiB; at most `bytes_max / 8`, so that space is freed in
    /// small steps, and at least 64 KiB.
    pub segment_bytes: u64,
    /// Bytes of forgotten records that are kept, so that the owner can rebuild its memory after a restart. In
    /// addition to `bytes_max`; given up when the disk is full. Default 64 MiB.
    pub retain_bytes: u64,
    /// Maximum length of a record in bytes. Default 16 MiB; never more than a segment holds, see
    /// [`Journal::record_bytes_max`](crate::Journal::record_bytes_max).
    pub record_bytes_max: usize,
    /// Maximum size of the records that wait in memory for the disk, in bytes. When a slow disk lets them reach
    /// it, appends fail with [`FullReason::DiskTooSlow`](crate::FullReason::DiskTooSlow). Default 32 MiB.
    pub pending_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            segment_bytes: 32 << 20,
            retain_bytes: 64 << 20,
            record_bytes_max: 16 << 20,
            pending_bytes_max: 32 << 20,
        }
    }
}
