//! What was read last of a charger's connection may be too old: its gateway may be dead, or the page without an answer for
//! long. `connectionOf` in `lib/fleet.svelte.ts` knows that, so no other file of the dashboard reads the members of a charger
//! itself. A page that does shows a dead charger as connected, and no other tool reports it.
//!
//! In each `.svelte` and `.ts` file, `.online` and `.connection` are a problem, and so are these names in `{ … } =`, except
//! - `f.online`, `filters.online`: the filter of the page Chargers;
//! - `.connection` with a member of it other than `state`: the connection of another object.
//!
//! Comments are read too: they would name what the code does not do.

use anyhow::{Context, Result};
use std::path::Path;

/// The folder that is searched, with its subfolders.
const SOURCES: &str = "dashboard/src";
/// The files that may read the members: the one that judges them, and the generated types.
const EXCEPT: [&str; 2] = ["lib/fleet.svelte.ts", "lib/api-types.ts"];
const MEMBERS: [&str; 2] = ["online", "connection"];
/// Names of objects whose `online` is a filter.
const FILTERS: [&str; 2] = ["f", "filters"];

/// The places where a connection is read without its age. Without the folder there is none.
///
/// # Errors
///
/// When a folder or a file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let sources = root.join(SOURCES);
    let mut problems = Vec::new();
    for path in super::files(&sources)? {
        let is_source = path
            .extension()
            .is_some_and(|end| end == "svelte" || end == "ts");
        let is_except = EXCEPT.iter().any(|name| path == sources.join(name));
        if !is_source || is_except {
            continue;
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        problems.extend(raw(&text).into_iter().map(|(line, near)| {
            format!(
                "{}:{line}: `{near}` may be too old; use connectionOf, or lastConnected for the past, of \
                 lib/fleet.svelte.ts",
                name.display()
            )
        }));
    }
    problems.sort();
    Ok(problems)
}

/// The line of each place, and what is read there.
fn raw(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        for member in MEMBERS {
            for (at, _) in line.match_indices(member) {
                let before = line.get(..at).unwrap_or_default();
                let after = line.get(at + member.len()..).unwrap_or_default();
                if is_part_of_name(before.chars().next_back())
                    || is_part_of_name(after.chars().next())
                {
                    continue;
                }
                if let Some(object) = object_of(before) {
                    if !is_other(object, member, after) {
                        found.push((index + 1, format!("{object}.{member}")));
                    }
                } else if is_taken_apart(before, after) {
                    found.push((index + 1, format!("{{ {member} }}")));
                }
            }
        }
    }
    found
}

fn is_part_of_name(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

/// The last name before `.` or `?.`, if a member is read here. Of a call or an index it is empty.
fn object_of(before: &str) -> Option<&str> {
    let object = before.strip_suffix('.')?;
    if object.ends_with('.') {
        return None;
    }
    let object = object.strip_suffix('?').unwrap_or(object);
    let begin = object
        .char_indices()
        .rev()
        .take_while(|(_, c)| is_part_of_name(Some(*c)))
        .last()
        .map_or(object.len(), |(at, _)| at);
    object.get(begin..)
}

/// Whether this is a member of something else than a charger.
fn is_other(object: &str, member: &str, after: &str) -> bool {
    if member == "online" {
        return FILTERS.contains(&object);
    }
    let after = after.strip_prefix('?').unwrap_or(after);
    after
        .strip_prefix('.')
        .is_some_and(|rest| !rest.starts_with("state"))
}

/// Whether the name stands in `{ … }` before `=`, or before `)`, where an object is taken apart.
fn is_taken_apart(before: &str, after: &str) -> bool {
    let is_inside = before.rfind('{').is_some_and(|open| {
        before.get(open + 1..).is_some_and(|list| {
            list.chars()
                .all(|c| is_part_of_name(Some(c)) || ", :".contains(c))
        })
    });
    let Some((list, rest)) = after.split_once('}') else {
        return false;
    };
    let is_list = list
        .chars()
        .all(|c| is_part_of_name(Some(c)) || ", :".contains(c));
    let rest = rest.trim_start();
    let is_target = rest.starts_with('=') && !rest.starts_with("==");
    is_inside && is_list && (is_target || rest.starts_with(')') || rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_read_without_its_age_is_found_with_its_line() {
        for (source, places) in [
            (
                "a\n{#if charger.connection === 'open'}",
                vec![(2, "charger.connection")],
            ),
            ("one.connection !== 'open'", vec![(1, "one.connection")]),
            (
                "charger?.connection == null",
                vec![(1, "charger.connection")],
            ),
            ("show(charger.connection)", vec![(1, "charger.connection")]),
            ("charger.connection.state", vec![(1, "charger.connection")]),
            ("all.filter((one) => !one.online)", vec![(1, "one.online")]),
            (
                "rows[0].online && of(id).online",
                vec![(1, ".online"), (1, ".online")],
            ),
            (
                "const { connection } = charger;",
                vec![(1, "{ connection }")],
            ),
            (
                "const { id, online: is } = charger;",
                vec![(1, "{ online }")],
            ),
            (
                "chargers.every(({ connection, id }) => id)",
                vec![(1, "{ connection }")],
            ),
            ("({ online }: Charger) => online", vec![(1, "{ online }")]),
            ("// As charger.online says.", vec![(1, "charger.online")]),
        ] {
            let places: Vec<_> = places
                .into_iter()
                .map(|(line, place): (usize, &str)| (line, place.to_owned()))
                .collect();
            assert_eq!(raw(source), places, "{source}");
        }
    }

    #[test]
    fn what_is_no_connection_of_a_charger_is_no_problem() {
        for source in [
            "f.online === 'true' && filters.online",
            "connectionOf(charger) === 'open'",
            "one.connection?.reason ?? one.connection.at",
            "charger.connections.length + charger.onlineSince + charger.connection_state",
            "const connection = $derived(connectionOf(charger));",
            "{ connection: { title: 'Connection' }, online: filters.q }",
            "route.set({ online: 'true' })",
            "import { connection } from './x';",
            "<dt>Connection</dt> A connection. Is it online?",
        ] {
            assert_eq!(raw(source), [], "{source}");
        }
    }

    #[test]
    fn each_file_of_the_dashboard_but_the_one_that_judges_is_checked() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(check(root.path()).unwrap(), Vec::<String>::new());
        for folder in ["lib", "ui"] {
            std::fs::create_dir_all(root.path().join(SOURCES).join(folder)).unwrap();
        }
        for name in ["lib/fleet.svelte.ts", "lib/a.ts", "ui/A.svelte", "ui/a.md"] {
            let path = root.path().join(SOURCES).join(name);
            std::fs::write(path, "a\ncharger.online").unwrap();
        }
        let problems = check(root.path()).unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].starts_with("dashboard/src/lib/a.ts:2: `charger.online` may be too old"),
            "{problems:?}"
        );
    }
}
