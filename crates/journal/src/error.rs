//! The errors, sorted by what the caller does next.

use std::path::PathBuf;

/// Why the journal cannot take another record now. Each of these conditions is temporary: the caller keeps the record,
/// accepts no new work, and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FullReason {
    /// The undelivered records have reached [`Options::bytes_max`](crate::Options::bytes_max). Ends when
    /// records are forgotten.
    SizeLimit,
    /// The disk has no space for another segment (no space, quota, or no file handles), and the next record, or
    /// earlier ones, need one. Earlier records wait and become durable when there is space. Retried in the
    /// background; ends when there is space for more.
    DiskFull,
    /// The records in memory have reached [`Options::pending_bytes_max`](crate::Options::pending_bytes_max),
    /// because the disk is too slow. Ends with the next sync.
    DiskTooSlow,
}

impl std::fmt::Display for FullReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SizeLimit => "the journal has reached its bytes_max",
            Self::DiskFull => "the journal's disk has no space for another segment",
            Self::DiskTooSlow => "the journal's disk is too slow",
        })
    }
}

/// Why a record was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No space now; retry later.
    #[error("{0}")]
    Full(FullReason),
    /// A write or sync has failed; the journal accepts nothing any more. Restart the process: recovery finds
    /// the durable records.
    #[error("the journal stopped after a disk error: {0}")]
    Poisoned(String),
    /// The record is too long for this journal.
    #[error("a record of {bytes} bytes is longer than the journal's {max} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The maximum.
        max: usize,
    },
    /// [`Journal::close`](crate::Journal::close) was called.
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal could not be opened, each in one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("the journal in {} is in use by another wattpost{}", dir.display(), holder(*pid))]
    InUse {
        /// Its directory.
        dir: PathBuf,
        /// The other process, if it wrote its id.
        pid: Option<u32>,
    },
    /// A newer release wrote it.
    #[error("{} has journal format {found}; this release reads format {known}: use the release that wrote it, or a newer one", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// Its format version.
        found: u32,
        /// The format of this release.
        known: u32,
    },
    /// Durable bytes have changed.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The disk returned an error.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The remedy for a damaged segment.
pub(crate) const DAMAGE_REMEDY: &str = "stop the gateway, examine the journal with `wattpost journal inspect`, and \
    run `wattpost journal salvage --yes`: it keeps the damaged bytes as dead letters, and all other records are \
    delivered";

/// Acknowledged records that cannot be read: where, why, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal is damaged in {} at byte {offset}: {what}; {remedy}", file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// The remedy.
    pub remedy: &'static str,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The next record has been removed; open a new reader at `oldest_seq`.
    #[error("record {wanted} is no longer in the journal; the oldest is {oldest_seq}")]
    Forgotten {
        /// The record that was requested.
        wanted: u64,
        /// The oldest record that is kept.
        oldest_seq: u64,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// A record is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The disk returned an error.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A write or sync has failed; see [`AppendError::Poisoned`].
    #[error("the journal stopped after a disk error: {0}")]
    Poisoned(String),
    /// Only durable records can be forgotten.
    #[error("cannot forget up to {seq}: only {durable} records are durable")]
    NotDurable {
        /// The requested number.
        seq: u64,
        /// The last durable record.
        durable: u64,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}
