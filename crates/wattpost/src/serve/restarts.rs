//! The restarts of a process with a journal after ends that were not in order, in a file of the data directory.
//!
//! What counts restarts must not die with the process that is restarted: while `serve` is in a crash loop, it is the only one
//! that could notice. The file is written at each start, and at a stop that was asked for. It is not synced: after a power
//! cut, one restart more or less does not matter.

use central::Timestamp;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file.
const FILE: &str = "restarts.json";
/// Restarts that are kept; the newest of them.
const KEPT_MAX: usize = 20;
/// For how long they are kept, in milliseconds: a day.
const KEPT_MS: i64 = 86_400_000;

/// The restarts of the process that has this data directory. Only the process with the open journal may use it.
#[derive(Debug)]
pub(super) struct Restarts {
    path: PathBuf,
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
        // Times after now are from a clock that was ahead.
        let is_recent = |at: &Timestamp| (0..KEPT_MS).contains(&now.0.saturating_sub(at.0));
        kept.restarts.retain(is_recent);
        if std::mem::replace(&mut kept.runs, true) {
            kept.restarts.push(now);
        }
        let surplus = kept.restarts.len().saturating_sub(KEPT_MAX);
        kept.restarts.drain(..surplus);
        let this = Self {
            path,
            times: kept.restarts.clone(),
        };
        this.write(&kept);
        this
    }

    /// Those of a process that goes on with what another one has given it, which is no restart.
    pub(super) fn taken_over(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let times = read(&path).restarts;
        Self { path, times }
    }

    /// When a process was started after one that had not ended in order: those of the last day, 20 at most.
    pub(super) fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// Notes that this process ends because somebody has asked for it.
    pub(super) fn stopped(&self) {
        self.write(&Kept {
            runs: false,
            restarts: self.times.clone(),
        });
    }

    fn write(&self, kept: &Kept) {
        // A full disk must not prevent a start.
        if let Err(error) = write(&self.path, kept) {
            tracing::debug!(%error, "cannot keep when this process was restarted");
        }
    }
}

/// What the file has; nothing where it cannot be read.
fn read(path: &Path) -> Kept {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Replaces the file as a whole, so that a kill leaves no part of it.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let new = path.with_extension("tmp");
    std::fs::write(&new, serde_json::to_vec(kept)?)?;
    std::fs::rename(&new, path)
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
        let next = Restarts::taken_over(dir.path());
        assert_eq!(next.times(), at(&[2, 3]));
        assert_eq!(start(5).times(), at(&[2, 3, 5]), "the next one was killed");
        assert_eq!(start(3 + DAY).times(), at(&[5, 3 + DAY]), "a day later");
        assert_eq!(start(4).times(), at(&[4]), "the clock was ahead");
        for time in 10..60 {
            start(time);
        }
        assert_eq!(start(60).times().len(), KEPT_MAX);
        std::fs::write(dir.path().join(FILE), "no JSON").expect("written");
        assert_eq!(start(70).times(), []);
    }
}
