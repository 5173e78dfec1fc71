//! The names of processes in sentences: an id of 36 characters hides what is said, so a name has as much of it as is needed.

use super::Observed;
use std::collections::BTreeMap;

/// Characters of an id at most: its end, because the beginning of a gateway's id is the time at which it was made.
const ID_CHARS: usize = 6;

/// How often each role and machine occurs among all known processes.
pub(crate) struct Names<'a>(BTreeMap<(&'static str, &'a str), usize>);

impl<'a> Names<'a> {
    pub(crate) fn of(processes: &'a [Observed]) -> Self {
        let mut counts = BTreeMap::new();
        for one in processes {
            *counts.entry((one.role(), &*one.report.host)).or_default() += 1;
        }
        Self(counts)
    }

    /// Role and machine, as in `gateway on depot-1`; with the end of its id where another known process has the same.
    pub(crate) fn short(&self, one: &Observed) -> String {
        let (role, host) = (one.role(), &*one.report.host);
        if self.0.get(&(role, host)).is_none_or(|count| *count < 2) {
            return format!("{role} on {host}");
        }
        let id = one.report.id.simple().to_string();
        // An id has 32 characters, all of them ASCII.
        format!("{role} …{} on {host}", &id[id.len() - ID_CHARS..])
    }
}
