//! What can be seen of a journal from outside, for metrics and for the start's log line.

use crate::FullReason;
use std::path::PathBuf;
use std::time::Duration;

/// How a journal is now. Cheap enough to ask for some times a second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Last record taken by `append`.
    pub appended_seq: u64,
    /// Last record handed to the disk.
    pub written_seq: u64,
    /// Last record that survives a power cut.
    pub durable_seq: u64,
    /// Records up to here are forgotten.
    pub cursor: u64,
    /// First record that can still be read; `durable_seq + 1` when there is none.
    pub oldest_seq: u64,
    /// Bytes kept for delivery: what counts against `max_bytes`.
    pub used_bytes: u64,
    /// The bound of `used_bytes`.
    pub max_bytes: u64,
    /// Forgotten bytes still kept behind the cursor.
    pub retained_bytes: u64,
    /// Bytes of all segment files, prepared ones included.
    pub disk_bytes: u64,
    /// Bytes that wait in memory for the writer.
    pub pending_bytes: u64,
    /// Age of the oldest record that is not forgotten, to the second; `None` when all are.
    pub oldest_age: Option<Duration>,
    /// Syncs of record data since the start.
    pub syncs: u64,
    /// Records made durable since the start; divided by `syncs`: records per sync.
    pub synced_records: u64,
    /// Duration of the last write and sync.
    pub sync_last: Duration,
    /// Mean duration of write and sync since the start.
    pub sync_mean: Duration,
    /// Longest write and sync since the start.
    pub sync_max: Duration,
    /// Segments prepared ahead, ready to be written.
    pub segments_ready: u64,
    /// Bytes still to be zeroed before enough segments are prepared; 0 when they are.
    pub zeroing_backlog_bytes: u64,
    /// How often the writer had to wait for a segment.
    pub segment_waits: u64,
    /// Why appends are refused now, if they are.
    pub full: Option<FullReason>,
    /// The system's words when no segment can be made.
    pub full_detail: Option<String>,
    /// The first disk error; the journal takes nothing since.
    pub poisoned: Option<String>,
}

/// What opening a journal found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The journal was made just now: its sequence begins at 1. An owner that names records by
    /// sequence number needs a new name for itself, or old names would be used twice.
    pub created: bool,
    /// First record that can be read; `durable_seq + 1` when there is none.
    pub oldest_seq: u64,
    /// Records up to here are forgotten.
    pub cursor: u64,
    /// Last record.
    pub durable_seq: u64,
    /// The torn tail that was cut, if there was one: never anything that was acknowledged.
    pub cut: Option<Cut>,
    /// Segments of which every record was checked now.
    pub segments_checked: u64,
    /// Segments of which only header and seal were checked; their records are checked when read.
    pub segments_trusted: u64,
    /// How long it took.
    pub took: Duration,
}

/// A torn tail, cut back to the last whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Which segment.
    pub file: PathBuf,
    /// The end of its last whole record.
    pub offset: u64,
    /// How many bytes behind it were not zero and are now.
    pub bytes: u64,
}
