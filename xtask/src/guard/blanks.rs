//! Svelte removes the blanks at the start and at the end of each block and element, so that
//! `down{#if since} for 3 s{/if}` is shown as "downfor 3 s", and no other tool reports it.
//!
//! In the markup of each `.svelte` file, a blank is a problem
//! - directly behind `{#…}`, `{:…}` or a start tag, and directly before `{:…}`, `{/…}` or an end tag,
//!   on the same line: it is written as if it were shown;
//! - where a block stands directly behind a text and its content begins on the next line, or stands
//!   directly before a word and its content ends on the line before.
//!
//! `{' '}` is a blank that stays. Markup is read without the compiler: what `{…}` contains is skipped.

use anyhow::{Context, Result};
use std::path::Path;

/// The folder that is searched, with its subfolders.
const SOURCES: &str = "dashboard/src";
/// Elements without an end tag.
const VOID: [&str; 6] = ["br", "hr", "img", "input", "link", "meta"];
/// Elements whose blanks are kept.
const KEEPING: [&str; 2] = ["pre", "textarea"];

/// The blanks of all `.svelte` files that Svelte removes. Without the folder there is none.
///
/// # Errors
///
/// When a folder or a file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in super::files(&root.join(SOURCES))? {
        if path.extension().is_none_or(|end| end != "svelte") {
            continue;
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        problems.extend(lost(&text).into_iter().map(|(line, near)| {
            format!(
                "{}:{line}: Svelte removes the blank at `{near}`; write {{' '}} or remove it",
                name.display()
            )
        }));
    }
    problems.sort();
    Ok(problems)
}

/// A part of the markup. Comments, declarations, scripts and styles are none.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Kind {
    Text,
    /// `{…}` with a value.
    Value,
    /// `{#…}`.
    Opens,
    /// `{:…}`.
    Continues,
    /// `{/…}`.
    Closes,
    /// A start tag, and whether the blanks of its content are kept.
    Starts(bool),
    /// A start tag without content.
    Alone,
    /// An end tag.
    Ends,
}

struct Part<'a> {
    kind: Kind,
    text: &'a str,
    /// Where it begins, in bytes.
    at: usize,
}

/// The line of each blank that is removed, and the tag that it is beside.
fn lost(source: &str) -> Vec<(usize, &str)> {
    let parts = parts(source);
    let mut found = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| parts.get(index));
        let after = parts.get(index + 1);
        let opens = matches!(
            part.kind,
            Kind::Opens | Kind::Continues | Kind::Starts(false)
        );
        let closes = matches!(part.kind, Kind::Continues | Kind::Closes | Kind::Ends);
        let is_kept = |at: Option<&Part<'_>>| at.is_some_and(|at| at.kind == Kind::Starts(true));
        // What follows a start tag whose blanks are kept is its text, and then its end tag.
        let ends_kept = closes && is_kept(index.checked_sub(2).and_then(|at| parts.get(at)));
        let leading = after.and_then(leading_blank);
        let trailing = before.and_then(trailing_blank);
        let is_lost = opens && leading == Some(OnLine::Same)
            || closes && !ends_kept && trailing == Some(OnLine::Same)
            || part.kind == Kind::Opens
                && leading == Some(OnLine::Other)
                && before.is_some_and(ends_in_text)
            || part.kind == Kind::Closes
                && trailing == Some(OnLine::Other)
                && after.is_some_and(begins_with_word);
        if is_lost {
            let lines = source.get(..part.at).unwrap_or_default();
            found.push((1 + lines.matches('\n').count(), first_line(part)));
        }
    }
    found
}

/// Where the part on the other side of a blank is.
#[derive(Debug, PartialEq)]
enum OnLine {
    Same,
    Other,
}

fn leading_blank(part: &Part<'_>) -> Option<OnLine> {
    let length = part.text.len() - part.text.trim_start().len();
    blank(part, part.text.get(..length)?)
}

fn trailing_blank(part: &Part<'_>) -> Option<OnLine> {
    blank(part, part.text.get(part.text.trim_end().len()..)?)
}

fn blank(part: &Part<'_>, blank: &str) -> Option<OnLine> {
    let is_blank = part.kind == Kind::Text && !blank.is_empty();
    is_blank.then(|| match blank.contains('\n') {
        true => OnLine::Other,
        false => OnLine::Same,
    })
}

/// Whether a text or a value ends here, and not with a bracket or a blank.
fn ends_in_text(part: &Part<'_>) -> bool {
    let last = part.text.chars().next_back();
    part.kind == Kind::Value
        || part.kind == Kind::Text
            && last.is_some_and(|c| !c.is_whitespace() && !"([“‘".contains(c))
}

/// Whether a word or a value begins here. Punctuation follows the word before it without a blank.
fn begins_with_word(part: &Part<'_>) -> bool {
    part.kind == Kind::Value
        || part.kind == Kind::Text && part.text.starts_with(char::is_alphanumeric)
}

fn first_line<'a>(part: &Part<'a>) -> &'a str {
    part.text.lines().next().unwrap_or_default()
}

fn parts(source: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = next(rest);
        let text = rest.get(..length).unwrap_or(rest);
        if let Some(kind) = kind {
            parts.push(Part { kind, text, at });
        }
        at += text.len();
    }
    parts
}

/// The kind of the part at the start of `rest`, or none for what is not shown, and its length in bytes.
fn next(rest: &str) -> (Option<Kind>, usize) {
    if rest.starts_with("<!--") {
        return (None, through(rest, "-->"));
    }
    for (start, end) in [("<script", "</script>"), ("<style", "</style>")] {
        if rest.starts_with(start) {
            return (None, through(rest, end));
        }
    }
    let second = rest.chars().nth(1).unwrap_or(' ');
    if rest.starts_with("</") {
        return (Some(Kind::Ends), through(rest, ">"));
    }
    if rest.starts_with('<') && second.is_alphabetic() {
        let length = tag(rest);
        let name = rest.get(1..).unwrap_or_default();
        let name = name
            .split(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or_default();
        let is_alone = rest.get(..length).is_some_and(|tag| tag.ends_with("/>"));
        let kind = match is_alone || VOID.contains(&name) {
            true => Kind::Alone,
            false => Kind::Starts(KEEPING.contains(&name)),
        };
        return (Some(kind), length);
    }
    if rest.starts_with('{') {
        let is_declared = ["{@const", "{@debug"]
            .iter()
            .any(|one| rest.starts_with(one));
        let kind = match second {
            _ if is_declared => None,
            '#' => Some(Kind::Opens),
            ':' => Some(Kind::Continues),
            '/' if !rest.starts_with("{/*") && !rest.starts_with("{//") => Some(Kind::Closes),
            _ => Some(Kind::Value),
        };
        return (kind, braces(rest));
    }
    let length = rest
        .char_indices()
        .skip(1)
        .find(|(_, c)| matches!(c, '<' | '{'))
        .map_or(rest.len(), |(at, _)| at);
    (Some(Kind::Text), length)
}

/// The length up to and with `end`.
fn through(rest: &str, end: &str) -> usize {
    rest.find(end).map_or(rest.len(), |at| at + end.len())
}

/// The length of a start tag. Its attributes have strings and code, in which `>` does not end it.
fn tag(rest: &str) -> usize {
    let mut at = 1;
    while let Some(c) = rest.get(at..).and_then(|left| left.chars().next()) {
        at += match c {
            '>' => return at + 1,
            '"' | '\'' => string(rest.get(at..).unwrap_or_default()),
            '{' => braces(rest.get(at..).unwrap_or_default()),
            _ => c.len_utf8(),
        };
    }
    rest.len()
}

/// The length of a string of an attribute or of code, which begins with its quote.
fn string(rest: &str) -> usize {
    let mut chars = rest.char_indices();
    let quote = chars.next().map(|(_, c)| c);
    let mut skipped = 0;
    let mut is_escaped = false;
    for (at, c) in chars {
        if at < skipped {
            continue;
        }
        let left = rest.get(at..).unwrap_or_default();
        if is_escaped {
            is_escaped = false;
        } else if Some(c) == quote {
            return at + c.len_utf8();
        } else if c == '\\' {
            is_escaped = true;
        } else if quote == Some('`') && left.starts_with("${") {
            skipped = at + 1 + braces(left.get(1..).unwrap_or_default());
        }
    }
    rest.len()
}

/// The length of a regular expression, which begins with its slash.
fn pattern(rest: &str) -> usize {
    let mut is_class = false;
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' => is_class = true,
            ']' => is_class = false,
            '/' if !is_class => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `{…}`, whose code may have braces in strings, comments and regular expressions.
fn braces(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(c) = rest.get(at..).and_then(|left| left.chars().next()) {
        let left = rest.get(at..).unwrap_or_default();
        let length = match c {
            '"' | '\'' | '`' => string(left),
            '/' if left.starts_with("/*") => through(left, "*/"),
            '/' if left.starts_with("//") => through(left, "\n"),
            '/' if at > 1 && is_operand_next(rest.get(..at).unwrap_or_default()) => pattern(left),
            _ => c.len_utf8(),
        };
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        at += length;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Whether a slash behind this code begins a regular expression. Behind a value it divides.
fn is_operand_next(code: &str) -> bool {
    let code = code.trim_end();
    let is_value = |c: char| c.is_alphanumeric() || "_$)]}\"'`".contains(c);
    ["#if", " if", "#each", "#key", "return"]
        .iter()
        .any(|word| code.ends_with(word))
        || !code.ends_with(is_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_that_svelte_removes_is_found_with_its_line() {
        for (source, tags) in [
            ("down{#if since} for 3 s{/if}.", vec![(1, "{#if since}")]),
            (
                "<p>\n\n{#each all as one}<b>{one}</b> {/each}",
                vec![(3, "{/each}")],
            ),
            ("a{#if x}, b{:else} c{/if}", vec![(1, "{:else}")]),
            ("a{#if x}b {:else}, c{/if}", vec![(1, "{:else}")]),
            (
                "{#await one then x} {x}{/await}",
                vec![(1, "{#await one then x}")],
            ),
            (
                "3<span class=\"hidden\"> chargers</span>",
                vec![(1, "<span class=\"hidden\">")],
            ),
            ("<b>three </b>chargers", vec![(1, "</b>")]),
            // A declaration and a comment are not shown.
            ("a{#if x}{@const y = 1} {y}{/if}", vec![(1, "{#if x}")]),
            ("a{#if x}<!-- why --> b{/if}", vec![(1, "{#if x}")]),
            // The end of a line is a blank too, if a text or a value stands beside the block.
            (
                "down{#if since}\n  for 3 s\n{/if}.",
                vec![(1, "{#if since}")],
            ),
            (
                "{name}{#if since}\n  for 3 s\n{/if}",
                vec![(1, "{#if since}")],
            ),
            ("{#if since}\n  for 3 s\n{/if}days", vec![(3, "{/if}")]),
        ] {
            let tags: Vec<(usize, &str)> = tags;
            assert_eq!(lost(source), tags, "{source}");
        }
    }

    #[test]
    fn what_is_shown_as_it_is_written_is_no_problem() {
        for source in [
            "down{#if since}{' '}for 3 s{/if}.",
            "down {#if since}for 3 s{/if}.",
            "<p>\n  {#if since}\n    for 3 s\n  {/if}\n</p>",
            "a ({#if x}\n b\n{/if}).",
            "<pre> kept </pre><textarea> kept </textarea>",
            "<br /> a <img src=\"x\"> b <Copy {text} /> c",
            "<script>\n  const a = `{#if x} y`;\n</script>\n<style>\n a { b: c }\n</style>",
            "<!-- a{#if x} b{/if} -->",
            // The code of values and attributes is not markup.
            "{list.map((one) => `{#if ${one} }`).join(', }')}",
            "<b class={{ a: '>', b: `${c > 1 ? '}' : '{'}` }} onclick={() => x > 1 && y()}>z</b>",
            "{text.replace(/[{}'\"/]/g, '{')}{a / b}{/* { */ c}",
            "<A f={() => {\n  // it's { here\n  g();\n}}>x</A>",
            "{#if x > y && z === ' } '}a{/if}",
            "{#if /^`.*`$/.test(a)}b{:else if /}/.test(a)}c{/if}{@const d = (e) => /'/.test(e)}",
        ] {
            assert_eq!(lost(source), [], "{source}");
        }
    }

    #[test]
    fn broken_markup_is_read_to_its_end() {
        for source in [
            "{#if x", "<b", "<b x='", "{`${", "<!--", "a{/x/", "{", "<", "é{ü", "}",
        ] {
            lost(source);
        }
    }

    #[test]
    fn each_file_of_the_dashboard_is_checked() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(check(root.path()).unwrap(), Vec::<String>::new());
        let folder = root.path().join(SOURCES).join("ui");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("A.svelte"), "a{#if x} b{/if}").unwrap();
        std::fs::write(folder.join("a.ts"), "a{#if x} b{/if}").unwrap();
        let problems = check(root.path()).unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0]
                .starts_with("dashboard/src/ui/A.svelte:1: Svelte removes the blank at `{#if x}`"),
            "{problems:?}"
        );
    }
}
