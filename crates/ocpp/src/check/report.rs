//! Collects violations while a check runs. The current place is a linked list on the stack, so that tracking it
//! allocates nothing; it becomes a JSON pointer only when a violation is found there.

use super::{VIOLATIONS_MAX, Violation, ViolationKind};
use std::fmt;

/// The place of a value in the payload.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) parent: Option<&'a Place<'a>>,
    pub(super) step: Step<'a>,
    /// Whether the value may be absent (rule F-6).
    pub(super) optional: bool,
}

/// From a parent to its child.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

impl Place<'_> {
    /// Writes the JSON pointer (RFC 6901). Recursion ends at the schema's depth.
    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        out.push('/');
        match self.step {
            Step::Item(index) => out.push_str(&index.to_string()),
            Step::Member(name) => {
                for char in clip(name).chars() {
                    match char {
                        '~' => out.push_str("~0"),
                        '/' => out.push_str("~1"),
                        char => out.push(char),
                    }
                }
            }
        }
    }
}

/// The violations found so far.
#[derive(Default)]
pub(super) struct Report {
    violations: Vec<Violation>,
}

impl Report {
    /// Adds a violation. If the report is full, a violation that is not tolerated replaces one that is.
    pub(super) fn add(
        &mut self,
        at: Option<&Place<'_>>,
        kind: ViolationKind,
        tolerated: bool,
        detail: fmt::Arguments<'_>,
    ) {
        if self.violations.len() >= VIOLATIONS_MAX {
            let Some(spare) = self.violations.iter().rposition(Violation::is_tolerated) else {
                return;
            };
            if tolerated {
                return;
            }
            self.violations.remove(spare);
        }
        let mut path = String::new();
        if let Some(at) = at {
            at.write(&mut path);
        }
        self.violations.push(Violation {
            path,
            kind,
            detail: detail.to_string(),
            tolerated,
        });
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }
}

/// The first 64 characters of a text, so that no report grows with its payload.
pub(super) fn clip(text: &str) -> &str {
    const CHARS_MAX: usize = 64;
    text.char_indices()
        .nth(CHARS_MAX)
        .map_or(text, |(end, _)| &text[..end])
}
