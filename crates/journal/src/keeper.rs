//! The thread that keeps house, so that the writer never has to: prepares segments ahead, keeps the
//! cursor on disk, and retires forgotten segments (another life, or removal).
//!
//! ```text
//! loop: 1. the writer has ended            → keep the cursor, end
//!       2. a segment is no longer needed   → keep the cursor, then recycle or remove it
//!       3. too few segments are prepared   → make one, slowly unless the writer waits
//!       4. the cursor moved 100 ms ago     → keep it
//!       5. nothing                         → wait
//! ```

use crate::core::Core;
use crate::cursor::CursorFile;
use crate::disk::is_lack_of_room;
use crate::layout::{self, Header};
use crate::shelf::Segment;
use crate::supply::{self, Ready, Supply};
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How lazily the cursor is kept.
const CURSOR_EVERY: Duration = Duration::from_millis(100);
/// How often a full disk is asked again.
const ROOM_EVERY: Duration = Duration::from_millis(250);
/// How long it rests at most: some things happen without a call to it.
const REST_MAX: Duration = Duration::from_secs(1);
/// Between two slices of zeros nobody waits for.
const SLICE_PAUSE: Duration = Duration::from_millis(3);

/// The thread's own state.
pub(crate) struct Keeper {
    core: Arc<Core>,
    cursor_file: CursorFile,
    cursor_due: Instant,
    room_due: Instant,
}

enum Job {
    End,
    Retire(Arc<Segment>),
    Make,
    KeepCursor,
}

impl Keeper {
    pub(crate) fn new(core: Arc<Core>, cursor_file: CursorFile) -> Self {
        let now = Instant::now();
        Self {
            core,
            cursor_file,
            cursor_due: now,
            room_due: now,
        }
    }

    /// Keeps house until the writer has ended or the journal is poisoned.
    pub(crate) fn run(mut self) {
        let core = self.core.clone();
        while core.poisoned().is_none() {
            let result = match self.next_job() {
                None => return,
                Some(Job::End) => {
                    if let Err(error) = self.keep_cursor() {
                        self.fail("keep the cursor in", &error);
                    }
                    return;
                }
                Some(Job::Retire(segment)) => {
                    let index = segment.index;
                    drop(segment);
                    self.retire(index)
                        .map_err(|error| self.fail("retire a segment in", &error))
                }
                Some(Job::Make) => self
                    .make()
                    .map_err(|error| self.fail("make a segment in", &error)),
                Some(Job::KeepCursor) => self
                    .keep_cursor()
                    .map_err(|error| self.fail("keep the cursor in", &error)),
            };
            if result.is_err() {
                return;
            }
        }
    }

    /// Waits for something to do; `None` when the journal is poisoned.
    fn next_job(&self) -> Option<Job> {
        let core = &self.core;
        loop {
            let surplus = core
                .shelf()
                .surplus(core.cursor(), core.limits.retain_bytes);
            let supply = core.supply();
            if core.poisoned().is_some() {
                return None;
            }
            if supply.writer_ended {
                return Some(Job::End);
            }
            if let Some(segment) = surplus {
                return Some(Job::Retire(segment));
            }
            let now = Instant::now();
            let mut until = now + REST_MAX;
            if supply.wanted() > 0 {
                if supply.no_room.is_none() || now >= self.room_due {
                    return Some(Job::Make);
                }
                until = until.min(self.room_due);
            }
            if supply.cursor_moved {
                if now >= self.cursor_due {
                    return Some(Job::KeepCursor);
                }
                until = until.min(self.cursor_due);
            }
            drop(self.wait(supply, until - now));
        }
    }

    fn wait<'a>(
        &'a self,
        supply: MutexGuard<'a, Supply>,
        timeout: Duration,
    ) -> MutexGuard<'a, Supply> {
        self.core
            .supply_changed
            .wait_timeout(supply, timeout)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn keep_cursor(&mut self) -> io::Result<()> {
        // Cleared first: what moves from here on is seen again.
        self.core.supply().cursor_moved = false;
        let cursor = self.core.cursor();
        if cursor > self.cursor_file.kept() {
            self.cursor_file.keep(cursor)?;
        }
        self.cursor_due = Instant::now() + CURSOR_EVERY;
        Ok(())
    }

    /// Takes the oldest segment out of the log.
    fn retire(&mut self, index: u64) -> io::Result<()> {
        // A start must never miss records that, as far as it can know, were not yet forgotten.
        self.keep_cursor()?;
        let Some(segment) = self.core.shelf().take_oldest(index) else {
            return Ok(());
        };
        let disk = &*self.core.disk;
        let name = layout::segment_name(index);
        let is_useful = self.core.supply().has_use_for_one_more();
        if is_useful && self.can_live_again(&segment) {
            match disk.open(&name) {
                Ok(file) => {
                    self.add(supply::recycle(disk, &name, file, self.next_header())?);
                    return Ok(());
                }
                Err(error) if is_lack_of_room(&error) => {}
                Err(error) => return Err(error),
            }
        }
        disk.remove(&name)?;
        // One by one, so that a power cut never leaves a gap between two segments.
        disk.sync_dir()
    }

    /// Nobody reads it, and it is as long as those made now.
    fn can_live_again(&self, segment: &Arc<Segment>) -> bool {
        Arc::strong_count(segment) == 1 && segment.bytes == self.core.limits.segment_bytes
    }

    fn next_header(&self) -> Header {
        Header {
            salt: self.core.disk.random(),
            index: self.core.supply().next_index,
            bytes: self.core.limits.segment_bytes,
            write_bytes_max: self.core.limits.write_bytes_max as u64,
        }
    }

    fn add(&self, ready: Ready) {
        let mut supply = self.core.supply();
        supply.next_index = ready.index + 1;
        supply.push(ready);
        drop(supply);
        self.core.add_spare();
        self.core.supply_changed.notify_all();
    }

    fn make(&mut self) -> io::Result<()> {
        let header = self.next_header();
        let made = supply::make(&*self.core.disk, header, |zeroed| self.pause(zeroed));
        match made {
            Ok(Some(ready)) => self.add(ready),
            Ok(None) => {}
            Err(error) if is_lack_of_room(&error) => return self.do_without_room(&error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The disk is full: what is kept only for convenience gives way; else we say so and wait.
    fn do_without_room(&mut self, error: &io::Error) -> io::Result<()> {
        self.core.supply().zeroed_bytes = 0;
        let forgotten = self.core.shelf().surplus(self.core.cursor(), 0);
        if let Some(segment) = forgotten {
            let index = segment.index;
            drop(segment);
            return self.retire(index);
        }
        self.room_due = Instant::now() + ROOM_EVERY;
        let mut supply = self.core.supply();
        let is_news = supply.no_room.is_none();
        supply.no_room = Some(error.to_string());
        drop(supply);
        if is_news {
            let dir = self.core.disk.path("");
            tracing::warn!(dir = %dir.display(), %error, "no room for another journal segment; trying again");
        }
        self.core.set_no_room();
        self.core.supply_changed.notify_all();
        Ok(())
    }

    /// Lets the writer's syncs go first, unless it waits for this very segment.
    fn pause(&self, zeroed: u64) -> bool {
        let is_nearly_full = self
            .core
            .shelf()
            .last()
            .is_none_or(|active| active.end() > active.bytes / 2);
        let mut supply = self.core.supply();
        supply.zeroed_bytes = zeroed;
        let is_urgent = supply.ready_len() == 0 && is_nearly_full;
        if !supply.writer_waits && !supply.writer_ended && !is_urgent {
            supply = self.wait(supply, SLICE_PAUSE);
        }
        !supply.writer_ended && self.core.poisoned().is_none()
    }

    fn fail(&self, what: &str, error: &io::Error) {
        let dir = self.core.disk.path("");
        self.core
            .poison(format!("cannot {what} {}: {error}", dir.display()));
    }
}
