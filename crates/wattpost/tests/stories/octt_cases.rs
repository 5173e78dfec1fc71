//! The cases of the official test tool with `wattpost serve`, and the page that lists them.

use crate::deployment::Deployment;
use crate::octt::{SETTINGS, System, play_all, scripts};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The three columns of each row of `docs/octt.md`: version, id, and what is checked or why not.
fn page() -> Vec<[String; 3]> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/octt.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let rows = text.lines().filter(|line| line.contains("| TC_"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        [(); 3].map(|()| cells.next().expect("three cells").to_owned())
    })
    .collect()
}

#[test]
fn the_page_of_octt_cases_lists_exactly_the_cases_that_are_checked() {
    let rows = page();
    let mut ids = BTreeSet::new();
    for [version, id, _] in &rows {
        assert!(ids.insert((version, id)), "{version} {id} is listed twice");
    }
    let (skipped, checked): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|[_, _, what]| what.starts_with("Not checked: "));
    let listed: BTreeSet<_> = checked
        .iter()
        .map(|[version, id, what]| (version.as_str(), id.as_str(), what.as_str()))
        .collect();
    let [of_16, of_201, _] = scripts();
    let scripts = [of_16, of_201];
    let played: BTreeSet<_> = scripts
        .iter()
        .flat_map(|script| {
            let cases = script.cases.iter();
            cases.map(|case| (script.version, case.id.as_str(), case.title.as_str()))
        })
        .collect();
    let differences: Vec<_> = listed.symmetric_difference(&played).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    for [version, id, what] in skipped {
        assert!(what.len() > 30, "{version} {id} has no reason: {what}");
    }
}

#[test]
fn cases_of_the_official_test_tool_pass() {
    let deployment = Deployment::start(SETTINGS);
    let system = System {
        ocpp: deployment.ocpp,
        http: deployment.http,
        wattpost: &|subcommand, arguments| {
            deployment.run(subcommand, arguments);
        },
    };
    play_all(&system, &scripts());
}
