//! The restarts of a process with a journal after ends that were not in order, in a file of the data directory.
//!
//! What counts restarts must not die with the process that is restarted: while `serve` is in a crash loop, it is the only one
//! that could notice. The file is written at each start, and at a stop that was asked for. It is synced, so that a power cut
//! leaves the former content or the new one, and never an empty file.

use central::Timestamp;
use central::alert::{RESTARTS_MAX, RESTARTS_WITHIN_S_MAX};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The name of the file.
const FILE: &str = "restarts.json";
/// Restarts that are kept; the newest of them.
const KEPT_MAX: usize = 20;
/// For how long they are kept, in milliseconds: a day.
const KEPT_MS: i64 = 86_400_000;
// As many, and for as long, as the alert `RestartLoop` may have to count.
const _: () = assert!(KEPT_MAX as u64 > RESTARTS_MAX);
const _: () = assert!(KEPT_MS.unsigned_abs() >= RESTARTS_WITHIN_S_MAX * 1_000);

/// The restarts of the process that has this data directory. Only the process with the open journal may use it.
#[derive(Debug, Clone)]
pub(super) struct Restarts {
    path: PathBuf,
    /// Those that the file has.
    kept: Vec<Timestamp>,
    /// Of these, those that are not after the start of this process.
    times: Vec<Timestamp>,
}

/// The content of the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// A process runs, or it has not ended in order.
    runs: bool,
    /// When a process was started after one that had not ended in order, the oldest first.
    restarts: Vec<Timestamp>,
}

impl Restarts {
    /// Notes that this process has started.
    pub(super) fn started(data_dir: &Path, now: Timestamp) -> Self {
        let path = data_dir.join(FILE);
        let mut kept = read(&path);
        // Times after now are kept: this clock may be behind, as it is at a boot before the time is known.
        let is_recent = |at: &Timestamp| now.0.saturating_sub(at.0) < KEPT_MS;
        kept.restarts.retain(is_recent);
        if std::mem::replace(&mut kept.runs, true) {
            kept.restarts.push(now);
        }
        let surplus = kept.restarts.len().saturating_sub(KEPT_MAX);
        kept.restarts.drain(..surplus);
        let this = Self::of(path, kept.restarts.clone(), now);
        this.write(&kept);
        this
    }

    fn of(path: PathBuf, kept: Vec<Timestamp>, now: Timestamp) -> Self {
        let times = kept.iter().copied().filter(|at| *at <= now).collect();
        Self { path, kept, times }
    }

    /// Those of a process that goes on with what another one has given it, which is no restart.
    pub(super) fn taken_over(data_dir: &Path, now: Timestamp) -> Self {
        let path = data_dir.join(FILE);
        let kept = read(&path).restarts;
        Self::of(path, kept, now)
    }

    /// When a process was started after one that had not ended in order: those of the last day, 20 at most.
    pub(super) fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// Notes that this process ends because somebody has asked for it.
    pub(super) fn stopped(&self) {
        self.write(&Kept {
            runs: false,
            restarts: self.kept.clone(),
        });
    }

    fn write(&self, kept: &Kept) {
        // A disk without room must not prevent a start.
        if let Err(error) = write(&self.path, kept) {
            tracing::warn!(
                file = %self.path.display(),
                %error,
                "cannot keep when this process was restarted, so a crash loop may not become an alert"
            );
        }
    }
}

/// What the file has; nothing where it cannot be read.
fn read(path: &Path) -> Kept {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Replaces the file as a whole, so that a kill leaves no part of it. Where the disk has no room for a second file, the content
/// is written over the former one.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let text = serde_json::to_vec(kept)?;
    let new = path.with_extension("tmp");
    let replaced = write_synced(&new, &text).and_then(|()| std::fs::rename(&new, path));
    replaced.or_else(|_| {
        // It may have a part of the text; if it does not exist, nothing is to do.
        let _ = std::fs::remove_file(&new);
        write_synced(path, &text)
    })
}

/// Writes over what the file has and cuts off the rest, so that no room is needed for a text that is not longer.
fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = KEPT_MS;

    #[test]
    fn a_start_after_a_kill_is_a_restart_and_one_after_a_stop_or_a_take_over_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let start = |at: i64| Restarts::started(dir.path(), Timestamp(at));
        let at = |times: &[i64]| times.iter().copied().map(Timestamp).collect::<Vec<_>>();
        assert_eq!(start(1).times(), []);
        assert_eq!(start(2).times(), at(&[2]), "the first one was killed");
        let third = start(3);
        assert_eq!(third.times(), at(&[2, 3]));
        third.stopped();
        let fourth = start(4);
        assert_eq!(fourth.times(), at(&[2, 3]));
        let next = Restarts::taken_over(dir.path(), Timestamp(4));
        assert_eq!(next.times(), at(&[2, 3]));
        assert_eq!(start(5).times(), at(&[2, 3, 5]), "the next one was killed");
        assert_eq!(start(3 + DAY).times(), at(&[5, 3 + DAY]), "a day later");
        assert_eq!(start(4).times(), at(&[4]), "the clock is behind");
        let later = start(4 + DAY);
        assert_eq!(
            later.times(),
            at(&[5, 3 + DAY, 4 + DAY]),
            "it is right again"
        );
        later.stopped();
        let file = dir.path().join(FILE);
        assert_eq!(read(&file).restarts, at(&[5, 3 + DAY, 4 + DAY]));
        for time in 10..60 {
            start(time);
        }
        assert_eq!(start(60).times().len(), KEPT_MAX);
        std::fs::write(&file, "no JSON").expect("written");
        assert_eq!(start(70).times(), []);
    }

    #[test]
    fn without_room_for_a_second_file_the_content_is_written_over_the_former_one() {
        let dir = tempfile::tempdir().expect("a directory");
        // A directory of this name, so that the second file cannot be written.
        std::fs::create_dir_all(dir.path().join("restarts.tmp").join("in it")).expect("made");
        for time in 1..=3 {
            Restarts::started(dir.path(), Timestamp(time));
        }
        let file = dir.path().join(FILE);
        assert_eq!(read(&file).restarts, [Timestamp(2), Timestamp(3)]);
        Restarts::taken_over(dir.path(), Timestamp(4)).stopped();
        let shorter = Kept {
            runs: false,
            restarts: vec![Timestamp(2), Timestamp(3)],
        };
        assert_eq!(read(&file), shorter);
    }
}
