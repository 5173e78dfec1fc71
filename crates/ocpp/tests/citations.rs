//! Every rule and quirk that the code cites has its heading in `docs/ocpp-rules.md` or `docs/quirks.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The letters of rule ids: frames, connections, queueing, not queued, boot, heartbeat, security.
const LETTERS: &str = "FCQNBHS";

#[test]
fn every_cited_rule_and_quirk_has_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let known: BTreeSet<String> = ["docs/ocpp-rules.md", "docs/quirks.md"]
        .iter()
        .flat_map(|page| headings(&read(&root.join(page))))
        .collect();
    assert!(known.contains("Q-12") && known.contains("quirk 5") && known.contains("seen 3"));

    let mut unknown = Vec::new();
    let mut citations = 0;
    for file in sources(&root.join("crates")) {
        for (index, line) in read(&file).lines().enumerate() {
            for id in cited(line) {
                citations += 1;
                if !known.contains(&id) {
                    let file = file.strip_prefix(&root).unwrap_or(&file).display();
                    unknown.push(format!("{file}:{}: {id}", index + 1));
                }
            }
            if cites_a_section(line) {
                let file = file.strip_prefix(&root).unwrap_or(&file).display();
                unknown.push(format!("{file}:{}: a section number", index + 1));
            }
        }
    }
    assert!(citations > 100, "only {citations} citations were found");
    assert!(
        unknown.is_empty(),
        "cited without a heading:\n{}",
        unknown.join("\n")
    );
}

#[test]
fn citations_are_found_in_all_their_forms() {
    let found = |line| cited(line).into_iter().collect::<Vec<_>>();
    assert_eq!(found("/// (rules B-1 to B-6, H-5)"), ["B-1", "B-6", "H-5"]);
    assert_eq!(found("fn quirk_05_a_hex_key()"), ["quirk 5"]);
    assert_eq!(
        found("// as quirk 11 and seen_03_short"),
        ["quirk 11", "seen 3"]
    );
    assert!(cites_a_section("//! the charger's side of ocpp-rules 2.1"));
    assert!(cites_a_section("(docs/ocpp-rules.md, 0.1)"));
    assert!(!cites_a_section("docs/ocpp-rules.md: Q-12"));
    assert!(found("UTF-8, XF-5, F-12a, a_quirk_7x, quirk_invalid").is_empty());
}

/// The rule and quirk ids of a page's headings: `### Q-12 …`, `### Quirk 5: …`, `### Seen 3: …`.
fn headings(page: &str) -> Vec<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("### "))
        .flat_map(|heading| {
            cited(
                &heading
                    .replace("Quirk ", "quirk ")
                    .replace("Seen ", "seen "),
            )
            .into_iter()
            .take(1)
        })
        .collect()
}

/// The ids in a line of source.
fn cited(line: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric();
    let mut ids = Vec::new();
    for (at, _) in line.char_indices() {
        if line[..at]
            .chars()
            .next_back()
            .is_some_and(|c| is_word(c) || c == '_')
        {
            continue;
        }
        let rest = &line[at..];
        let (name, number) = if let Some((letter, number)) = rest.split_at_checked(2)
            && letter.ends_with('-')
            && LETTERS.contains(&letter[..1])
        {
            (letter.to_owned(), number)
        } else if let Some(number) = after(rest, "quirk") {
            ("quirk ".to_owned(), number)
        } else if let Some(number) = after(rest, "seen") {
            ("seen ".to_owned(), number)
        } else {
            continue;
        };
        let digits = number.chars().take_while(char::is_ascii_digit).count();
        if digits > 0
            && !number[digits..].starts_with(is_word)
            && let Ok(number) = number[..digits].parse::<u32>()
        {
            ids.push(format!("{name}{number}"));
        }
    }
    ids
}

/// Whether the line cites a section of `ocpp-rules` by its number. The page has no numbered sections.
fn cites_a_section(line: &str) -> bool {
    line.split("ocpp-rules").skip(1).any(|rest| {
        let rest = rest.strip_prefix(".md").unwrap_or(rest);
        rest.trim_start_matches(|c: char| !c.is_alphanumeric())
            .starts_with(|c: char| c.is_ascii_digit())
    })
}

/// What follows `word` and a blank or an underscore.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word)?.strip_prefix([' ', '_'])
}

/// The Rust files below `src`, `tests` and `benches` of every crate.
fn sources(crates: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for member in entries(crates) {
        let mut folders: Vec<PathBuf> = ["src", "tests", "benches"]
            .iter()
            .map(|name| member.join(name))
            .filter(|path| path.is_dir())
            .collect();
        while let Some(folder) = folders.pop() {
            for path in entries(&folder) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("ocpp/tests/citations.rs")
                {
                    files.push(path);
                }
            }
        }
    }
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
        .map(|entry| {
            entry
                .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
                .path()
        })
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}
