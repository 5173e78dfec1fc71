//! A bound on log lines that any peer can cause.
//!
//! A peer that reaches a port can be refused any number of times a second. Each kind of line about one subject (a charger, a
//! path) is logged a few times per [`WINDOW`], the lines of one source (an address) are bounded together, and so are all
//! lines. Half of all lines is reserved for the first lines of a source, so that a few sources with many lines do not
//! suppress those of the others. What was not logged is counted, and
//! [`LogBound::take_unlogged`] returns the counts for one summary line.

use crate::lock::lock;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The time to which all bounds refer.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How many lines may be logged in one [`WINDOW`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of one kind about one subject of one source.
    pub per_subject: u32,
    /// Of all kinds about one source.
    pub per_source: u32,
    /// In total. One half is reserved for the first [`FIRST_LINES`] lines of each source. The memory that is used is in
    /// proportion to it.
    pub total: u32,
}

/// So many lines of a source are its first ones in a [`WINDOW`]: a charger connects, disconnects and connects again.
pub const FIRST_LINES: u32 = 3;

/// Counts the lines of the current window.
pub struct LogBound {
    bounds: Bounds,
    hasher: RandomState,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    total: u32,
    /// How many of them were not among the first of their source.
    further: u32,
    /// By the hash of a source, or of a source with its subject and kind. Entries are made for logged lines only.
    logged: HashMap<u64, u32>,
    /// By kind; of this window and of those before it whose summary was not taken.
    unlogged: BTreeMap<&'static str, u64>,
    /// A window with unlogged lines is over.
    is_summary_due: bool,
}

impl LogBound {
    /// A bound under which nothing was logged yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: RandomState::new(),
            window: Mutex::default(),
        }
    }

    /// Whether a line of this kind may be logged now. If not, it is counted.
    pub fn may_log(
        &self,
        kind: &'static str,
        source: &impl Hash,
        subject: &str,
        now: Instant,
    ) -> bool {
        let of_source = self.hasher.hash_one(("source", source));
        let of_subject = self.hasher.hash_one((kind, source, subject));
        let mut window = lock(&self.window);
        window.advance(now);
        let count = |key| window.logged.get(&key).copied().unwrap_or(0);
        let is_first = count(of_source) < FIRST_LINES;
        let may_log = window.total < self.bounds.total
            && (is_first || window.further < self.bounds.total / 2)
            && count(of_source) < self.bounds.per_source
            && count(of_subject) < self.bounds.per_subject;
        if may_log {
            window.total += 1;
            window.further += u32::from(!is_first);
            for key in [of_source, of_subject] {
                *window.logged.entry(key).or_default() += 1;
            }
        } else {
            *window.unlogged.entry(kind).or_default() += 1;
        }
        may_log
    }

    /// The lines that were not logged, once the window is over in which the first of them was counted. Call it regularly.
    pub fn take_unlogged(&self, now: Instant) -> Option<Unlogged> {
        let mut window = lock(&self.window);
        window.advance(now);
        std::mem::take(&mut window.is_summary_due)
            .then(|| std::mem::take(&mut window.unlogged))
            .and_then(Unlogged::of)
    }

    /// As [`LogBound::take_unlogged`], without waiting for the end of the window: the process stops.
    pub fn take_all_unlogged(&self) -> Option<Unlogged> {
        Unlogged::of(std::mem::take(&mut lock(&self.window).unlogged))
    }
}

/// Lines that were not logged: the content of a summary line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlogged {
    /// How many there were.
    pub lines: u64,
    /// How many there were of each kind, for people.
    pub kinds: String,
}

impl Unlogged {
    /// `None` without any.
    fn of(counts: BTreeMap<&'static str, u64>) -> Option<Self> {
        let kinds: Vec<String> = counts
            .iter()
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        (!kinds.is_empty()).then(|| Self {
            lines: counts.values().sum(),
            kinds: kinds.join(", "),
        })
    }
}

impl Window {
    fn advance(&mut self, now: Instant) {
        let is_over = self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= WINDOW);
        if is_over {
            self.began = Some(now);
            self.total = 0;
            self.further = 0;
            self.logged = HashMap::new();
            self.is_summary_due = !self.unlogged.is_empty();
        }
    }
}

/// The text, cut to `chars_max` characters; a cut is marked with `…`. A `tracing` field of type `str` escapes control
/// characters and line ends itself.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        per_subject: 2,
        per_source: 5,
        total: 8,
    };

    #[test]
    fn lines_are_bounded_by_subject_by_source_and_in_total() {
        let bound = LogBound::new(BOUNDS);
        let now = Instant::now();
        let logged = |source: u8, subject: &str| {
            let lines = (0..100).filter(|_| bound.may_log("refused", &source, subject, now));
            lines.count()
        };
        assert_eq!(logged(1, "cp-1"), 2);
        assert_eq!(logged(1, "cp-2"), 2);
        assert_eq!(logged(1, "cp-3"), 1, "the source has its share");
        assert_eq!(logged(2, "cp-1"), 2, "another source is not affected");
        assert_eq!(logged(3, "cp-9"), 1, "the total is reached");
        assert_eq!(logged(4, "cp-9"), 0);
    }

    #[test]
    fn sources_with_many_lines_leave_the_first_lines_to_the_others() {
        let bound = LogBound::new(Bounds {
            per_subject: 3,
            per_source: 60,
            total: 600,
        });
        let now = Instant::now();
        let line = |source: u32, subject: u32| {
            bound.may_log("connected", &source, &subject.to_string(), now)
        };
        let logged = |sources: std::ops::Range<u32>| {
            let lines = sources.flat_map(|source| (0..100).map(move |subject| (source, subject)));
            lines
                .filter(|(source, subject)| line(*source, *subject))
                .count()
        };
        assert_eq!(
            logged(0..30),
            390,
            "one half, and three first lines of each"
        );
        for source in 100..150 {
            assert!((0..3).all(|_| line(source, 0)), "source {source}");
            assert!(!line(source, 0));
        }
        logged(200..1_000);
        assert_eq!(lock(&bound.window).total, 600, "the total is a bound");
        assert!(bound.may_log("connected", &0, "0", now + WINDOW));
        assert_eq!(lock(&bound.window).further, 0);
    }

    #[test]
    fn other_kinds_about_one_subject_have_a_bound_of_their_own() {
        let bound = LogBound::new(BOUNDS);
        let now = Instant::now();
        for _ in 0..10 {
            bound.may_log("refused", &1, "cp-1", now);
        }
        assert!(bound.may_log("connected", &1, "cp-1", now));
    }

    #[test]
    fn what_was_not_logged_is_counted_and_reported_once_when_its_window_is_over() {
        let bound = LogBound::new(BOUNDS);
        let start = Instant::now();
        for _ in 0..10 {
            bound.may_log("refused", &1, "cp-1", start);
        }
        for _ in 0..3 {
            bound.may_log("connected", &1, "cp-1", start);
        }
        assert_eq!(bound.take_unlogged(start), None, "it is not over");
        let later = start + WINDOW;
        let expected = Unlogged {
            lines: 9,
            kinds: "1 × connected, 8 × refused".to_owned(),
        };
        assert_eq!(bound.take_unlogged(later), Some(expected));
        assert_eq!(bound.take_unlogged(later + WINDOW), None);
        assert_eq!(bound.take_all_unlogged(), None);
        assert!(bound.may_log("refused", &1, "cp-1", later + WINDOW));
    }

    #[test]
    fn what_was_not_logged_is_reported_also_if_lines_are_logged_in_the_next_window() {
        let bound = LogBound::new(BOUNDS);
        let start = Instant::now();
        for _ in 0..3 {
            bound.may_log("refused", &1, "cp-1", start);
        }
        assert!(bound.may_log("refused", &1, "cp-1", start + WINDOW));
        let unlogged = bound.take_unlogged(start + WINDOW);
        assert_eq!(unlogged.map(|unlogged| unlogged.lines), Some(1));
    }

    #[test]
    fn any_number_of_subjects_takes_bounded_memory() {
        let bound = LogBound::new(BOUNDS);
        let now = Instant::now();
        for i in 0..10_000 {
            bound.may_log("refused", &i, &i.to_string(), now);
        }
        assert!(lock(&bound.window).logged.len() <= 2 * BOUNDS.total as usize);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äöüß", 3), "äöü…");
    }
}
