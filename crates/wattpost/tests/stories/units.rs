//! The units of systemd: how little a process that was taken over by an attacker could do.

use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 4] = [
    "wattpost.service",
    "wattpost-gateway.service",
    "wattpost-consumer.service",
    "wattpost-api.service",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The figure that `systemd-analyze security` gives a unit: 0 (nothing is exposed) to 10.
fn exposure(unit: &str) -> f64 {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(repository().join("packaging/systemd").join(unit))
        .output()
        .expect("run systemd-analyze; `make setup` installs systemd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = text
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for "))
        .and_then(|(_, rest)| rest.split(": ").nth(1)?.split(' ').next()?.parse().ok());
    figure.unwrap_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("{unit} has no figure:\n{text}\n{errors}")
    })
}

/// Another version of systemd may know more that can be exposed, so the figure may be lower than the documented one, and
/// a tenth higher.
#[test]
fn each_unit_exposes_no_more_than_the_documentation_says() {
    let page = std::fs::read_to_string(repository().join("docs/operations.md")).expect("read");
    for unit in UNITS {
        let figure = exposure(unit);
        let row = format!("| `{unit}` |");
        let documented = page
            .lines()
            .find(|line| line.starts_with(&row))
            .and_then(|line| line.trim_end_matches(" |").rsplit(' ').next()?.parse().ok());
        let documented: f64 =
            documented.unwrap_or_else(|| panic!("docs/operations.md has no row with {unit}"));
        assert!(
            figure <= documented + 0.15,
            "{unit} has {figure}, and docs/operations.md says {documented}"
        );
    }
}
