//! How far a long export is, on stderr. A thread of its own looks at a counter, so that there is also
//! something to see while the database searches long for the next page; a short export says nothing.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Says how far it is, from time to time.
pub(crate) struct Progress {
    what: &'static str,
    /// Nothing is said before.
    silence: Duration,
    /// Time from one saying to the next.
    every: Duration,
    say: Option<Say>,
}

/// Where it is said.
type Say = Box<dyn Fn(Said<'_>) + Sync>;

/// What there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// How far it is now; replaces what was said before.
    Underway(&'a str),
    /// How it ended.
    Ended(&'a str),
}

impl Progress {
    /// On stderr, when it lasts longer than 2 s: a line that changes on a terminal, else a line every
    /// 10 s.
    pub(crate) fn on_stderr(what: &'static str, quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self {
            what,
            silence: Duration::from_secs(2),
            every: match is_terminal {
                true => Duration::from_millis(500),
                false => Duration::from_secs(10),
            },
            say: match quiet {
                true => None,
                false => Some(Box::new(move |said| {
                    let mut stderr = io::stderr().lock();
                    // Nobody may be listening; the export is what matters.
                    let _ = match said {
                        Said::Underway(text) if is_terminal => write!(stderr, "\r\x1b[K{text}"),
                        Said::Ended(text) if is_terminal => writeln!(stderr, "\r\x1b[K{text}"),
                        Said::Underway(text) | Said::Ended(text) => writeln!(stderr, "{text}"),
                    };
                    let _ = stderr.flush();
                })),
            },
        }
    }

    /// Runs `work`, which tells how many rows are done, and says how far it is meanwhile. `count`
    /// says how many rows there are about; it is asked beside the work, once there is anything to say.
    pub(crate) fn during<T>(
        &self,
        count: impl FnOnce() -> Option<u64> + Send,
        work: impl FnOnce(&mut dyn FnMut(u64)) -> T,
    ) -> T {
        let Some(say) = &self.say else {
            return work(&mut |_| ());
        };
        let (began, rows) = (Instant::now(), AtomicU64::new(0));
        let (ended, until_ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let rows = &rows;
            scope.spawn(move || {
                if !is_underway(&until_ended, self.silence) {
                    return;
                }
                let total = count();
                loop {
                    let done = rows.load(Ordering::Relaxed);
                    say(Said::Underway(&underway(
                        self.what,
                        done,
                        total,
                        began.elapsed(),
                    )));
                    if !is_underway(&until_ended, self.every) {
                        break;
                    }
                }
                let done = rows.load(Ordering::Relaxed);
                say(Said::Ended(&over(self.what, done, began.elapsed())));
            });
            let result = work(&mut |done| rows.store(done, Ordering::Relaxed));
            drop(ended);
            result
        })
    }
}

/// Waits; `false` once the work has ended.
fn is_underway(until_ended: &mpsc::Receiver<()>, wait: Duration) -> bool {
    until_ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
}

fn underway(what: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    let done_text = grouped(done);
    match total {
        // The total is an estimate; once it is passed it says nothing any more.
        Some(total) if total >= done => {
            let left = match (total - done).checked_div(rate) {
                Some(seconds) if done > 0 => format!(", about {} left", duration(seconds)),
                _ => String::new(),
            };
            let (total, rate) = (grouped(total), grouped(rate));
            format!("exported {done_text} of about {total} {what}, {rate}/s{left}")
        }
        _ => format!("exported {done_text} {what}, {}/s", grouped(rate)),
    }
}

fn over(what: &str, done: u64, elapsed: Duration) -> String {
    format!(
        "exported {} {what} in {:.1} s, {}/s",
        grouped(done),
        elapsed.as_secs_f64(),
        grouped(rate(done, elapsed))
    )
}

fn rate(done: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(done) * 1_000 / millis).unwrap_or(u64::MAX)
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn what_is_said_is_easy_to_read() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            underway("messages", 120_000, Some(1_000_000), ten),
            "exported 120,000 of about 1,000,000 messages, 12,000/s, about 73 s left"
        );
        assert_eq!(
            underway("messages", 0, Some(1_000_000), ten),
            "exported 0 of about 1,000,000 messages, 0/s"
        );
        assert_eq!(
            underway("messages", 50, None, ten),
            "exported 50 messages, 5/s"
        );
        assert_eq!(
            underway("messages", 50, Some(7), ten),
            "exported 50 messages, 5/s"
        );
        assert_eq!(
            over("transactions", 1_234, Duration::from_millis(2_500)),
            "exported 1,234 transactions in 2.5 s, 493/s"
        );
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(rate(u64::MAX, Duration::ZERO), u64::MAX);
        assert_eq!(
            (duration(119), duration(120), duration(7_200)),
            ("119 s".into(), "2 min".into(), "2 h".into())
        );
    }

    /// A progress that writes down what it says.
    fn noted(silence: Duration) -> (Progress, Arc<Mutex<Vec<String>>>) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notes);
        let progress = Progress {
            what: "messages",
            silence,
            every: Duration::from_millis(1),
            say: Some(Box::new(move |said| {
                kept.lock().expect("not poisoned").push(format!("{said:?}"));
            })),
        };
        (progress, notes)
    }

    #[test]
    fn a_short_export_says_nothing_and_counts_nothing() {
        let (progress, notes) = noted(Duration::from_secs(3_600));
        let result = progress.during(
            || panic!("not counted"),
            |done| {
                done(5);
                7
            },
        );
        assert_eq!(result, 7);
        assert_eq!(notes.lock().expect("not poisoned").len(), 0);
    }

    #[test]
    fn a_long_export_says_how_far_it_is_even_when_nothing_moves() {
        let (progress, notes) = noted(Duration::ZERO);
        progress.during(
            || Some(10),
            |done| {
                done(5);
                let deadline = Instant::now() + Duration::from_secs(20);
                while notes.lock().expect("not poisoned").len() < 3 {
                    assert!(Instant::now() < deadline, "nothing is said");
                    thread::yield_now();
                }
            },
        );
        let notes = notes.lock().expect("not poisoned");
        assert!(
            notes[1].contains("exported 5 of about 10 messages"),
            "{notes:?}"
        );
        let last = notes.last().expect("something");
        assert!(last.starts_with("Ended(\"exported 5 messages in"), "{last}");
    }
}
