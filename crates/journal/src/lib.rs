//! An append-only log on the local disk, because a charger may be answered only after the record of its call
//! survives a power cut.
//!
//! [`Journal::append`] gives a record the next sequence number. One writer thread writes all records that have
//! gathered, syncs once for all of them, and wakes their waiters (group commit). Durable records can be read
//! from any position ([`Journal::reader`]). They are *forgotten* once they are delivered
//! ([`Journal::forget_upto`]): their space may be reused.
//!
//! ```text
//!            append               write            sync              forget_upto
//!   record ─────────▶ appended ─────────▶ written ──────▶ durable ──────────────▶ forgotten
//!                     in memory           kill -9 ok      power cut ok            kept a while
//! ```
//!
//! # Promises
//! 1. A record that was reported durable is read back after any crash: complete, in order, and nothing else
//!    with it.
//! 2. A failed write or sync ends the journal ([`Journal::poisoned`]). It is never retried on the same file,
//!    because the operating system may then report success for bytes that it has lost. The next start writes
//!    and syncs again what it relies on, so that such bytes are not taken for durable ones.
//! 3. A full disk is noticed while the next segment is prepared, before a record depends on it:
//!    [`AppendError::Full`], which ends when there is space again.
//! 4. A torn tail is truncated. Acknowledged records that cannot be read are never skipped silently: the error
//!    names file, offset and remedy ([`Damage`]). [`inspect`] lists all damage of a stopped journal, and
//!    [`salvage()`] repairs it: every other record keeps its number and can be read.
//!
//! # Bounds
//! On disk: [`Options::bytes_max`] of records to be delivered, [`Options::retain_bytes`] of forgotten records,
//! and up to six segments that are being prepared or removed (two on an idle machine). In memory: twice
//! [`Options::pending_bytes_max`] (one group fills while the other is written).
//!
//! # Threads
//! `journal-writer` writes and syncs. `journal-maint` prepares segments in small slices, recycles or removes
//! forgotten ones, and saves the cursor.
//!
//! A power cut is assumed to tear writes at sectors of 512 bytes. On copy-on-write file systems (btrfs, ZFS)
//! and thin volumes a write can also fail because the disk is full. That ends the journal like any other write
//! error; no acknowledged record is lost.

mod block_reader;
mod core;
mod cursor;
mod disk;
mod error;
mod extract;
mod inspection;
mod journal;
mod layout;
mod live;
mod maintenance;
mod metrics;
mod options;
mod reader;
mod recovery;
mod salvage;
mod scan;
mod segment_index;
mod segment_pool;
mod status;
mod writer;

#[doc(hidden)]
pub use self::metrics::METRICS;
pub use disk::{Disk, DiskFile, Held, sim};
pub use error::{AppendError, Damage, FullReason, JournalError, OpenError, ReadError};
#[doc(hidden)]
pub use extract::extract_on;
pub use extract::{Extracted, extract};
#[doc(hidden)]
pub use inspection::inspect_on;
pub use inspection::{
    DamagedRange, Inspection, RecordLocation, SegmentInspection, inspect, record_locations,
};
pub use journal::Journal;
#[doc(hidden)]
pub use live::read_live_on;
pub use live::{LiveRecords, read_live};
pub use options::Options;
pub use reader::Reader;
#[doc(hidden)]
pub use salvage::salvage_on;
pub use salvage::{LostRecord, SalvageError, salvage};
pub use status::{Recovery, Status, TruncatedTail};
