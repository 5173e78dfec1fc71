//! A crate in two versions is compiled twice and its types do not fit together, so each duplicate
//! needs a reason.

use super::Package;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The table `[bans]` of `deny.toml`.
#[derive(Deserialize)]
pub(super) struct Rules {
    skip: Vec<Skip>,
}

/// A version that may be in the graph beside another one.
#[derive(Deserialize)]
struct Skip {
    /// `NAME@VERSION`, where the version may leave out its last parts.
    #[serde(rename = "crate")]
    spec: String,
    #[serde(default)]
    reason: String,
}

/// The duplicates without an entry, and the entries without a reason or without a duplicate.
pub(super) fn check(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    let mut problems = Vec::new();
    for (name, versions) in &versions {
        let skipped = |version: &str| rules.skip.iter().any(|s| matches(&s.spec, name, version));
        let free: Vec<&str> = versions.iter().copied().filter(|v| !skipped(v)).collect();
        if free.len() > 1 {
            problems.push(format!(
                "deny.toml: crate {name} is there in the versions {}; update its dependents with \
                 `cargo update` (`cargo tree -i {name}@VERSION` shows them), or add all versions but \
                 one to bans.skip with a reason",
                free.join(", "),
            ));
        }
    }
    for Skip { spec, reason } in &rules.skip {
        let stale = !versions.iter().any(|(name, versions)| {
            versions.len() > 1 && versions.iter().any(|version| matches(spec, name, version))
        });
        if stale {
            problems.push(format!(
                "deny.toml: crate {spec} is no duplicate; remove its entry from bans.skip"
            ));
        } else if reason.trim().is_empty() {
            problems.push(format!(
                "deny.toml: the entry of crate {spec} in bans.skip has no reason; add \
                 `reason = \"…\"`"
            ));
        }
    }
    problems
}

/// Whether `spec`, a `NAME@VERSION`, means this version: `a@0.2` means every `0.2.x`.
fn matches(spec: &str, name: &str, version: &str) -> bool {
    spec.split_once('@').is_some_and(|(wanted, prefix)| {
        wanted == name
            && version
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+']))
    })
}

#[cfg(test)]
mod tests {
    use super::super::package;
    use super::*;

    fn problems(skip: &[(&str, &str)]) -> Vec<String> {
        let skip = skip
            .iter()
            .map(|(spec, reason)| Skip {
                spec: (*spec).to_owned(),
                reason: (*reason).to_owned(),
            })
            .collect();
        let packages = [
            package("a", "0.2.17", None),
            package("a", "0.3.4", None),
            package("a", "0.4.3", None),
            package("b", "1.2.1", None),
        ];
        check(&packages, &Rules { skip })
    }

    #[test]
    fn all_versions_but_one_need_an_entry() {
        assert_eq!(
            problems(&[("a@0.2", "r"), ("a@0.3", "r")]),
            Vec::<String>::new()
        );

        let found = problems(&[("a@0.2", "r")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("crate a is there in the versions 0.3.4, 0.4.3"),
            "{found:?}"
        );
    }

    #[test]
    fn an_entry_needs_a_reason_and_a_duplicate() {
        let good = [("a@0.2", "r"), ("a@0.3", "r")];
        for (stale, what) in [("b@1", "is no duplicate"), ("a@0.1", "is no duplicate")] {
            let found = problems(&[good[0], good[1], (stale, "r")]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].contains(stale) && found[0].contains(what),
                "{found:?}"
            );
        }
        let found = problems(&[good[0], ("a@0.3", " ")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("has no reason"), "{found:?}");
    }

    #[test]
    fn a_version_is_compared_part_by_part() {
        assert!(matches("a@1", "a", "1.2.1"));
        assert!(matches("a@1.2.1", "a", "1.2.1+spec"));
        assert!(!matches("a@1", "a", "10.0.0"));
        assert!(!matches("a@1", "b", "1.0.0"));
        assert!(!matches("a", "a", "1.0.0"));
    }
}
