//! What can go wrong, sorted by what the caller does next.

use std::path::PathBuf;

/// Why there is no room for another record. All of these pass by themselves: the caller keeps its
/// work, refuses new work, and tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FullReason {
    /// As much is kept for delivery as [`Options::max_bytes`](crate::Options::max_bytes) allows;
    /// ends when records are forgotten.
    SizeLimit,
    /// The disk has no room for another segment (no space, quota, or no file handles), and the next
    /// record or some that were taken before this was known need one. Those wait and become durable
    /// when there is room; tried again in the background, ends when there is room for more.
    DiskFull,
    /// More waits in memory than [`Options::pending_bytes_max`](crate::Options::pending_bytes_max)
    /// allows, because the disk does not keep up; ends with the next sync.
    DiskTooSlow,
}

impl std::fmt::Display for FullReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SizeLimit => "the journal has reached its max_bytes",
            Self::DiskFull => "the journal's disk has no room for another segment",
            Self::DiskTooSlow => "the journal's disk does not keep up",
        })
    }
}

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room now; try again later.
    #[error("{0}")]
    Full(FullReason),
    /// A write or sync failed once; this journal takes nothing any more. Restart the process:
    /// recovery finds out what the disk kept.
    #[error("the journal stopped after a disk error: {0}")]
    Poisoned(String),
    /// The record can never be taken.
    #[error("a record of {bytes} bytes is longer than the journal's {max} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// [`Journal::close`](crate::Journal::close) was called.
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal could not be opened. Each says in one sentence what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal in {} is in use by another wattpost{}", dir.display(), holder(*pid))]
    InUse {
        /// Its directory.
        dir: PathBuf,
        /// The other process, if it left its id.
        pid: Option<u32>,
    },
    /// Made by a newer release.
    #[error("{} has journal format {found}; this release reads format {known}: use the release that wrote it, or a newer one", file.display())]
    UnknownFormat {
        /// Which file.
        file: PathBuf,
        /// Its format version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Bytes that were durable once are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The disk refuses.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What we were doing.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// What a person can do about a damaged segment.
pub(crate) const DAMAGE_CURE: &str = "stop the gateway, look with `wattpost journal inspect`, and run \
    `wattpost journal salvage --yes`: it keeps the damaged bytes as dead letters and lets all other records \
    be delivered";

/// Acknowledged records that cannot be read back: where, why, and what a person can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal is damaged in {} at byte {offset}: {what}; {cure}", file.display())]
pub struct Damage {
    /// Which file.
    pub file: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// What a person can do.
    pub cure: &'static str,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The next record is no longer kept; open a new reader at `oldest_seq`.
    #[error("record {wanted} is no longer in the journal; the oldest is {oldest_seq}")]
    Forgotten {
        /// The record that was to be read.
        wanted: u64,
        /// The oldest that is still kept.
        oldest_seq: u64,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// A record is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The disk refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

/// Why the journal could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A write or sync failed once; see [`AppendError::Poisoned`].
    #[error("the journal stopped after a disk error: {0}")]
    Poisoned(String),
    /// Only durable records can be forgotten.
    #[error("cannot forget up to {seq}: only {durable} records are durable")]
    NotDurable {
        /// What was asked.
        seq: u64,
        /// The last durable record.
        durable: u64,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}
