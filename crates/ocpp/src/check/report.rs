//! Collects violations while a check runs, and remembers where it is without allocating: a place is
//! a chain of steps on the stack, written out only when something is wrong there.

use super::{VIOLATIONS_MAX, Violation, ViolationKind};
use std::fmt;

/// A value's place: how to get there from its parent.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) parent: Option<&'a Place<'a>>,
    pub(super) step: Step<'a>,
    /// Whether the value might as well be absent (rule F-6).
    pub(super) optional: bool,
}

/// The way from a parent to a child.
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
    /// Adds a violation. When the report is full, one that matters takes the place of a tolerated one.
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

/// The beginning of a text from the wire, so that no report grows with its payload.
pub(super) fn clip(text: &str) -> &str {
    const CHARS_MAX: usize = 64;
    text.char_indices()
        .nth(CHARS_MAX)
        .map_or(text, |(end, _)| &text[..end])
}
