//! The progress of a long export, on stderr. A separate thread reads a counter, so that progress is also printed while
//! the database takes long for the next page. A short export prints nothing.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Prints progress at intervals.
pub(crate) struct Progress {
    /// What was done: `exported`.
    verb: &'static str,
    what: &'static str,
    /// The delay before the first message.
    delay: Duration,
    /// The interval between messages.
    every: Duration,
    /// None: nothing is printed.
    print: Option<Print>,
}

type Print = Box<dyn Fn(Message<'_>) + Sync>;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// The progress so far; replaces the previous message.
    Running(&'a str),
    /// The result.
    Ended(&'a str),
}

impl Progress {
    /// Prints to stderr if the export takes longer than 2 s: on a terminal one line that changes, otherwise one line
    /// every 10 s.
    pub(crate) fn on_stderr(verb: &'static str, what: &'static str, quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self {
            verb,
            what,
            delay: Duration::from_secs(2),
            every: match is_terminal {
                true => Duration::from_millis(500),
                false => Duration::from_secs(10),
            },
            print: match quiet {
                true => None,
                false => Some(Box::new(move |message| {
                    let mut stderr = io::stderr().lock();
                    // An error of stderr must not end the export.
                    let _ = match message {
                        Message::Running(text) if is_terminal => write!(stderr, "\r\x1b[K{text}"),
                        Message::Ended(text) if is_terminal => writeln!(stderr, "\r\x1b[K{text}"),
                        Message::Running(text) | Message::Ended(text) => {
                            writeln!(stderr, "{text}")
                        }
                    };
                    let _ = stderr.flush();
                })),
            },
        }
    }

    /// Runs `work`, which passes the number of finished rows to its argument, and prints progress meanwhile. `count`
    /// estimates the total number of rows; it is called in the other thread, before the first message.
    pub(crate) fn during<T>(
        &self,
        count: impl FnOnce() -> Option<u64> + Send,
        work: impl FnOnce(&mut dyn FnMut(u64)) -> T,
    ) -> T {
        let Some(print) = &self.print else {
            return work(&mut |_| ());
        };
        let (began, rows) = (Instant::now(), AtomicU64::new(0));
        let (ended, until_ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let rows = &rows;
            scope.spawn(move || {
                if !is_running_after(&until_ended, self.delay) {
                    return;
                }
                let total = count();
                loop {
                    let done = rows.load(Ordering::Relaxed);
                    print(Message::Running(&running(
                        (self.verb, self.what),
                        done,
                        total,
                        began.elapsed(),
                    )));
                    if !is_running_after(&until_ended, self.every) {
                        break;
                    }
                }
                let done = rows.load(Ordering::Relaxed);
                print(Message::Ended(&ended_text(
                    (self.verb, self.what),
                    done,
                    began.elapsed(),
                )));
            });
            let result = work(&mut |done| rows.store(done, Ordering::Relaxed));
            drop(ended);
            result
        })
    }
}

/// Waits for `wait`, or until the work ends; whether it still runs.
fn is_running_after(until_ended: &mpsc::Receiver<()>, wait: Duration) -> bool {
    until_ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
}

fn running((verb, what): (&str, &str), done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    let done_text = grouped(done);
    match total {
        // The total is an estimate; it is not printed once `done` has passed it.
        Some(total) if total >= done => {
            let left = match (total - done).checked_div(rate) {
                Some(seconds) if done > 0 => format!(", about {} left", duration(seconds)),
                _ => String::new(),
            };
            let (total, rate) = (grouped(total), grouped(rate));
            format!("{verb} {done_text} of about {total} {what}, {rate}/s{left}")
        }
        _ => format!("{verb} {done_text} {what}, {}/s", grouped(rate)),
    }
}

fn ended_text((verb, what): (&str, &str), done: u64, elapsed: Duration) -> String {
    format!(
        "{verb} {} {what} in {:.1} s, {}/s",
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
pub(crate) fn grouped(number: u64) -> String {
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
    use common::lock::lock;
    use std::sync::{Arc, Mutex};

    #[test]
    fn messages_group_digits_and_estimate_the_time_left() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            running(("exported", "messages"), 120_000, Some(1_000_000), ten),
            "exported 120,000 of about 1,000,000 messages, 12,000/s, about 73 s left"
        );
        assert_eq!(
            running(("exported", "messages"), 0, Some(1_000_000), ten),
            "exported 0 of about 1,000,000 messages, 0/s"
        );
        assert_eq!(
            running(("exported", "messages"), 50, None, ten),
            "exported 50 messages, 5/s"
        );
        assert_eq!(
            running(("exported", "messages"), 50, Some(7), ten),
            "exported 50 messages, 5/s"
        );
        assert_eq!(
            ended_text(
                ("exported", "transactions"),
                1_234,
                Duration::from_millis(2_500)
            ),
            "exported 1,234 transactions in 2.5 s, 493/s"
        );
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(rate(u64::MAX, Duration::ZERO), u64::MAX);
        assert_eq!(
            (duration(119), duration(120), duration(7_200)),
            ("119 s".into(), "2 min".into(), "2 h".into())
        );
    }

    /// A progress that collects its messages.
    fn collecting(delay: Duration) -> (Progress, Arc<Mutex<Vec<String>>>) {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&messages);
        let progress = Progress {
            verb: "exported",
            what: "messages",
            delay,
            every: Duration::from_millis(1),
            print: Some(Box::new(move |message| {
                lock(&collected).push(format!("{message:?}"));
            })),
        };
        (progress, messages)
    }

    #[test]
    fn short_export_prints_nothing_and_counts_nothing() {
        let (progress, messages) = collecting(Duration::from_secs(3_600));
        let result = progress.during(
            || panic!("not counted"),
            |done| {
                done(5);
                7
            },
        );
        assert_eq!(result, 7);
        assert_eq!(lock(&messages).len(), 0);
    }

    #[test]
    fn long_export_prints_progress_even_while_no_row_is_read() {
        let (progress, messages) = collecting(Duration::ZERO);
        progress.during(
            || Some(10),
            |done| {
                done(5);
                let deadline = Instant::now() + Duration::from_secs(20);
                while lock(&messages).len() < 3 {
                    assert!(Instant::now() < deadline, "nothing is printed");
                    thread::yield_now();
                }
            },
        );
        let messages = lock(&messages);
        assert!(
            messages[1].contains("exported 5 of about 10 messages"),
            "{messages:?}"
        );
        let last = messages.last().expect("three messages");
        assert!(last.starts_with("Ended(\"exported 5 messages in"), "{last}");
    }
}
