//! The notebook: bytes that survive a power cut, in order.
//!
//! A charger hears an answer only after the record of its question is durable; this crate is where
//! *durable* happens. [`Journal::append`] takes a record and gives it the next number; one writer
//! thread writes whatever has gathered, syncs once for all of it, and wakes who waits. What is
//! durable can be read from any place ([`Journal::reader`]) and is forgotten when it has been
//! delivered ([`Journal::forget_upto`]).
//!
//! ```text
//!            append               write            sync              forget_upto
//!   record ─────────▶ appended ─────────▶ written ──────▶ durable ──────────────▶ forgotten
//!                     in memory           kill -9 ok      power cut ok            kept a while
//! ```
//!
//! # Promises
//! 1. What was reported durable is read back after any crash: whole, in order, nothing invented.
//! 2. A failed write or sync ends the journal ([`Journal::poisoned`]); it is never tried again on
//!    the same file, because the system may then say yes to bytes that it has lost. The next start
//!    writes what it is about to trust once more, so that such bytes cannot pass for kept ones.
//! 3. A full disk is noticed when the next segment is made ready, before anything depends on it:
//!    [`AppendError::Full`], which passes by itself when there is room again.
//! 4. A torn tail is cut; anything that was acknowledged and cannot be read is refused with file,
//!    offset and what to do ([`Damage`]). [`inspect`] names all such places of a stopped journal, and
//!    [`salvage()`] passes them over: every other record keeps its number and can be read.
//!
//! # Bounds
//! On disk: [`Options::max_bytes`] to be delivered, plus [`Options::retain_bytes`] behind the
//! cursor, plus up to six segments under preparation or about to leave (two on a
//! quiet machine). In memory:
//! [`Options::pending_bytes_max`] twice (one group fills while the other is written).
//!
//! # Threads
//! `journal-writer` writes and syncs. `journal-maint` makes segments ahead in small slices,
//! recycles or removes forgotten ones, and keeps the cursor.
//!
//! A power cut is taken to tear writes at sectors of 512 bytes. On file systems that write into new
//! places (btrfs, ZFS, or thin volumes) a full disk may also show at a write; that ends the journal
//! like any other write error, and nothing that was acknowledged is lost.

mod block_reader;
mod core;
mod cursor;
mod disk;
mod error;
mod inspection;
mod journal;
mod layout;
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
pub use inspection::inspect_on;
pub use inspection::{
    DamagedRange, Inspection, RecordLocation, SegmentInspection, inspect, record_locations,
};
pub use journal::Journal;
pub use options::Options;
pub use reader::Reader;
#[doc(hidden)]
pub use salvage::salvage_on;
pub use salvage::{LostRecord, SalvageError, salvage};
pub use status::{Cut, Recovery, Status};
