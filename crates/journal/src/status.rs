//! The journal's state for metrics, and the result of recovery for the log.

use crate::FullReason;
use std::path::PathBuf;
use std::time::Duration;

/// A snapshot of a journal. Cheap enough for several calls a second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Last record that was appended.
    pub appended_seq: u64,
    /// Last record that was written to its file.
    pub written_seq: u64,
    /// Last record that survives a power cut.
    pub durable_seq: u64,
    /// Last forgotten record.
    pub cursor: u64,
    /// First record that can still be read; `durable_seq + 1` when there is none.
    pub oldest_seq: u64,
    /// Bytes of undelivered records; bounded by `bytes_max`.
    pub used_bytes: u64,
    /// The bound of `used_bytes`.
    pub bytes_max: u64,
    /// Bytes of segments that hold only forgotten records.
    pub retained_bytes: u64,
    /// Bytes of all segment files, prepared ones included.
    pub disk_bytes: u64,
    /// Bytes that wait in memory for the writer.
    pub pending_bytes: u64,
    /// Age of the oldest undelivered record in whole seconds; `None` when there is none.
    pub oldest_age: Option<Duration>,
    /// Syncs of record data since the start.
    pub syncs: u64,
    /// Records made durable since the start.
    pub synced_records: u64,
    /// Duration of the last write and sync.
    pub sync_last: Duration,
    /// Mean duration of write and sync since the start.
    pub sync_mean: Duration,
    /// Longest write and sync since the start.
    pub sync_max: Duration,
    /// Segments that are prepared.
    pub segments_ready: u64,
    /// Bytes still to be zeroed until enough segments are prepared; 0 when they are.
    pub zeroing_backlog_bytes: u64,
    /// How often the writer had to wait for a segment.
    pub segment_waits: u64,
    /// Why appends are refused now, if they are.
    pub full: Option<FullReason>,
    /// The operating system's error when no segment can be created.
    pub full_detail: Option<String>,
    /// The first disk error; no record has been accepted since.
    pub poisoned: Option<String>,
}

/// The result of opening a journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The journal was created now: its sequence begins at 1. An owner that identifies records by sequence
    /// number needs a new id for itself, because old record ids would be used again.
    pub created: bool,
    /// First record that can be read; `durable_seq + 1` when there is none.
    pub oldest_seq: u64,
    /// Last forgotten record.
    pub cursor: u64,
    /// Last durable record.
    pub durable_seq: u64,
    /// The torn tail that was truncated; it never contains an acknowledged record.
    pub truncated_tail: Option<TruncatedTail>,
    /// Segments whose records were all verified.
    pub segments_checked: u64,
    /// Segments of which only header and seal were verified; their records are verified when they are read.
    pub segments_trusted: u64,
    /// Duration of the recovery.
    pub took: Duration,
}

/// A torn tail that was truncated after the last valid record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncatedTail {
    /// The segment file.
    pub file: PathBuf,
    /// End of its last valid record.
    pub offset: u64,
    /// Number of bytes after it that were not zero.
    pub bytes: u64,
}
