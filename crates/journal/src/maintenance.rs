//! The thread that prepares segments, saves the cursor, and recycles or removes forgotten segments, so that the
//! writer never waits for any of this.
//!
//! ```text
//! loop: 1. the writer has ended               → save the cursor, end
//!       2. a segment is no longer needed      → save the cursor, then recycle or remove it
//!       3. too few segments are prepared      → create one, slowly unless the writer waits
//!       4. the cursor has changed 100 ms ago  → save it
//!       5. nothing to do                      → wait
//! ```

use crate::core::Core;
use crate::cursor::CursorFile;
use crate::disk::is_out_of_space;
use crate::layout::{self, Header};
use crate::segment_index::Segment;
use crate::segment_pool::{self, ReadySegment, SegmentPool};
use common::lock::wait_timeout;
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// Minimum interval between two writes of the cursor.
const CURSOR_SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// Interval between two attempts to create a segment on a full disk.
const DISK_FULL_RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum wait, because not every change notifies this thread.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Pause between two slices of zeros when the writer does not wait.
const SLICE_PAUSE: Duration = Duration::from_millis(3);

/// The thread's own state.
pub(crate) struct Maintenance {
    core: Arc<Core>,
    cursor_file: CursorFile,
    cursor_due: Instant,
    retry_at: Instant,
}

enum Job {
    End,
    Reclaim(Arc<Segment>),
    CreateSegment,
    SaveCursor,
}

impl Maintenance {
    pub(crate) fn new(core: Arc<Core>, cursor_file: CursorFile) -> Self {
        let now = Instant::now();
        Self {
            core,
            cursor_file,
            cursor_due: now,
            retry_at: now,
        }
    }

    /// Runs until the writer has ended or the journal is poisoned.
    pub(crate) fn run(mut self) {
        let core = self.core.clone();
        while core.poisoned().is_none() {
            let result = match self.next_job() {
                None => return,
                Some(Job::End) => {
                    if let Err(error) = self.save_cursor() {
                        self.fail("save the cursor in", &error);
                    }
                    return;
                }
                Some(Job::Reclaim(segment)) => {
                    let index = segment.index;
                    drop(segment);
                    self.reclaim(index)
                        .map_err(|error| self.fail("reclaim a segment in", &error))
                }
                Some(Job::CreateSegment) => self
                    .create_segment()
                    .map_err(|error| self.fail("create a segment in", &error)),
                Some(Job::SaveCursor) => self
                    .save_cursor()
                    .map_err(|error| self.fail("save the cursor in", &error)),
            };
            if result.is_err() {
                return;
            }
        }
    }

    /// Waits for the next job; `None` when the journal is poisoned.
    fn next_job(&self) -> Option<Job> {
        let core = &self.core;
        loop {
            let reclaimable = core
                .segments()
                .reclaimable(core.cursor(), core.limits.retain_bytes);
            let pool = core.pool();
            if core.poisoned().is_some() {
                return None;
            }
            if pool.writer_ended {
                return Some(Job::End);
            }
            if let Some(segment) = reclaimable {
                return Some(Job::Reclaim(segment));
            }
            let now = Instant::now();
            let mut until = now + WAIT_MAX;
            if pool.wanted() > 0 {
                if pool.disk_full.is_none() || now >= self.retry_at {
                    return Some(Job::CreateSegment);
                }
                until = until.min(self.retry_at);
            }
            if pool.cursor_moved {
                if now >= self.cursor_due {
                    return Some(Job::SaveCursor);
                }
                until = until.min(self.cursor_due);
            }
            drop(self.wait(pool, until - now));
        }
    }

    fn wait<'a>(
        &'a self,
        pool: MutexGuard<'a, SegmentPool>,
        timeout: Duration,
    ) -> MutexGuard<'a, SegmentPool> {
        wait_timeout(&self.core.pool_changed, pool, timeout)
    }

    fn save_cursor(&mut self) -> io::Result<()> {
        // Cleared first, so that a later change is seen.
        self.core.pool().cursor_moved = false;
        let cursor = self.core.cursor();
        if cursor > self.cursor_file.saved() {
            self.cursor_file.save(cursor)?;
        }
        self.cursor_due = Instant::now() + CURSOR_SAVE_INTERVAL;
        Ok(())
    }

    /// Removes the oldest segment from the log.
    fn reclaim(&mut self, index: u64) -> io::Result<()> {
        // The saved cursor must cover the segment: otherwise the next start would miss records that it takes
        // for undelivered.
        self.save_cursor()?;
        let Some(segment) = self.core.segments().remove_oldest(index) else {
            return Ok(());
        };
        let disk = &*self.core.disk;
        let name = layout::segment_name(index);
        let is_useful = self.core.pool().has_use_for_another();
        if is_useful && self.is_recyclable(&segment) {
            match disk.open(&name) {
                Ok(file) => {
                    self.add(segment_pool::recycle(
                        disk,
                        &name,
                        file,
                        self.next_header(),
                    )?);
                    return Ok(());
                }
                Err(error) if is_out_of_space(&error) => {}
                Err(error) => return Err(error),
            }
        }
        disk.remove(&name)?;
        // Synced after each removal, so that a power cut never leaves a gap between two segments.
        disk.sync_dir()
    }

    /// Whether no reader holds it and its length is that of new segments.
    fn is_recyclable(&self, segment: &Arc<Segment>) -> bool {
        Arc::strong_count(segment) == 1 && segment.bytes == self.core.limits.segment_bytes
    }

    fn next_header(&self) -> Header {
        Header {
            salt: self.core.disk.random(),
            index: self.core.pool().next_index,
            bytes: self.core.limits.segment_bytes,
            write_bytes_max: self.core.limits.write_bytes_max as u64,
        }
    }

    fn add(&self, ready: ReadySegment) {
        let mut pool = self.core.pool();
        pool.next_index = ready.index + 1;
        pool.push(ready);
        drop(pool);
        self.core.add_spare_segment();
        self.core.pool_changed.notify_all();
    }

    fn create_segment(&mut self) -> io::Result<()> {
        let header = self.next_header();
        let made = segment_pool::create(&*self.core.disk, header, |zeroed| self.pause(zeroed));
        match made {
            Ok(Some(ready)) => self.add(ready),
            Ok(None) => {}
            Err(error) if is_out_of_space(&error) => return self.handle_disk_full(&error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The disk is full: reclaims a segment that is only retained, or else reports the lack of space and
    /// retries later.
    fn handle_disk_full(&mut self, error: &io::Error) -> io::Result<()> {
        self.core.pool().zeroed_bytes = 0;
        let forgotten = self.core.segments().reclaimable(self.core.cursor(), 0);
        if let Some(segment) = forgotten {
            let index = segment.index;
            drop(segment);
            return self.reclaim(index);
        }
        self.retry_at = Instant::now() + DISK_FULL_RETRY_INTERVAL;
        let mut pool = self.core.pool();
        let is_first = pool.disk_full.is_none();
        pool.disk_full = Some(error.to_string());
        drop(pool);
        if is_first {
            let dir = self.core.disk.path("");
            tracing::warn!(dir = %dir.display(), %error, "no space for another journal segment; trying again");
        }
        self.core.set_disk_full();
        self.core.pool_changed.notify_all();
        Ok(())
    }

    /// Waits between two slices so that the writer's syncs go first, unless the writer needs this segment now.
    fn pause(&self, zeroed: u64) -> bool {
        let is_nearly_full = self
            .core
            .segments()
            .last()
            .is_none_or(|active| active.end() > active.bytes / 2);
        let mut pool = self.core.pool();
        pool.zeroed_bytes = zeroed;
        let is_urgent = pool.ready_len() == 0 && is_nearly_full;
        if !pool.writer_waits && !pool.writer_ended && !is_urgent {
            pool = self.wait(pool, SLICE_PAUSE);
        }
        !pool.writer_ended && self.core.poisoned().is_none()
    }

    fn fail(&self, what: &str, error: &io::Error) {
        let dir = self.core.disk.path("");
        self.core
            .poison(format!("cannot {what} {}: {error}", dir.display()));
    }
}
