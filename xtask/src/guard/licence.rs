//! Each crate's licence must be allowed in `deny.toml`.

use super::Package;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The table `[licenses]` of `deny.toml`.
#[derive(Deserialize)]
pub(super) struct Rules {
    /// SPDX licences that any crate may have.
    allow: Vec<String>,
    /// Licences that only one crate may have.
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

/// The crates whose licence is not allowed, and the rules that no crate needs.
pub(super) fn check(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut problems = Vec::new();
    let mut named = BTreeSet::new();
    for package in packages {
        let Package { name, version, .. } = package;
        let Some(expression) = &package.license else {
            problems.push(format!(
                "deny.toml: crate {name} {version} names no licence; replace the crate"
            ));
            continue;
        };
        let exceptions = rules.exceptions.iter().filter(|e| e.name == *name);
        let exceptions: Vec<&String> = exceptions.flat_map(|e| &e.allow).collect();
        let satisfied = satisfied(expression, &mut |licence| {
            named.insert(licence.to_owned());
            rules.allow.iter().any(|l| l == licence) || exceptions.iter().any(|l| *l == licence)
        });
        match satisfied {
            Ok(true) => {}
            Ok(false) => problems.push(format!(
                "deny.toml: crate {name} {version} has the licence `{expression}`, which \
                 licenses.allow does not satisfy; replace the crate, or allow the licence there"
            )),
            Err(error) => problems.push(format!(
                "deny.toml: crate {name} {version} has the licence `{expression}`, which is no SPDX \
                 expression ({error}); replace the crate"
            )),
        }
    }
    for licence in rules.allow.iter().filter(|l| !named.contains(*l)) {
        problems.push(format!(
            "deny.toml: no crate has the licence {licence}; remove it from licenses.allow"
        ));
    }
    for Exception { name, .. } in &rules.exceptions {
        if !packages.iter().any(|p| p.name == *name) {
            problems.push(format!(
                "deny.toml: crate {name} is not a dependency; remove its entry from \
                 licenses.exceptions"
            ));
        }
    }
    problems
}

/// Whether an SPDX licence expression is satisfied by the licences that `allowed` accepts. `AND`
/// binds stronger than `OR`; `/` is the older spelling of `OR`; `A WITH B` is one licence. `allowed`
/// is called for every licence in the expression.
fn satisfied(expression: &str, allowed: &mut dyn FnMut(&str) -> bool) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let result = any(&mut words, allowed)?;
    match words.pop() {
        None => Ok(result),
        Some(word) => Err(format!("unexpected `{word}`")),
    }
}

/// `all (OR all)*`. The next word is the last of `words`.
fn any(words: &mut Vec<&str>, allowed: &mut dyn FnMut(&str) -> bool) -> Result<bool, String> {
    let mut result = all(words, allowed)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        result |= all(words, allowed)?;
    }
    Ok(result)
}

/// `one (AND one)*`
fn all(words: &mut Vec<&str>, allowed: &mut dyn FnMut(&str) -> bool) -> Result<bool, String> {
    let mut result = one(words, allowed)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        result &= one(words, allowed)?;
    }
    Ok(result)
}

/// `( any )`, a licence, or a licence `WITH` an exception.
fn one(words: &mut Vec<&str>, allowed: &mut dyn FnMut(&str) -> bool) -> Result<bool, String> {
    match words.pop() {
        Some("(") => {
            let result = any(words, allowed)?;
            match words.pop() {
                Some(")") => Ok(result),
                _ => Err("a bracket is not closed".to_owned()),
            }
        }
        None | Some(")" | "OR" | "AND" | "WITH") => Err("a licence is missing".to_owned()),
        Some(licence) => {
            if words.pop_if(|word| *word == "WITH").is_none() {
                return Ok(allowed(licence));
            }
            let exception = words.pop().ok_or("an exception is missing")?;
            Ok(allowed(&format!("{licence} WITH {exception}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::package;
    use super::*;

    fn with(allowed: &[&str], expression: &str) -> Result<bool, String> {
        satisfied(expression, &mut |licence| allowed.contains(&licence))
    }

    #[test]
    fn or_needs_one_licence_and_and_needs_all() {
        assert_eq!(with(&["MIT"], "MIT"), Ok(true));
        assert_eq!(with(&["MIT"], "MIT-0"), Ok(false));
        assert_eq!(with(&["MIT"], "GPL-3.0 OR MIT"), Ok(true));
        assert_eq!(with(&["MIT"], "Apache-2.0/MIT"), Ok(true));
        assert_eq!(with(&["MIT"], "Apache-2.0 / ISC"), Ok(false));
        assert_eq!(with(&["MIT"], "MIT AND ISC"), Ok(false));
        assert_eq!(with(&["MIT", "ISC"], "MIT AND ISC"), Ok(true));
    }

    #[test]
    fn and_binds_stronger_than_or_and_brackets_bind_strongest() {
        assert_eq!(with(&["A"], "A OR B AND C"), Ok(true));
        assert_eq!(with(&["A"], "(A OR B) AND C"), Ok(false));
        assert_eq!(with(&["B", "C"], "(A OR B) AND C"), Ok(true));
    }

    #[test]
    fn a_licence_with_an_exception_is_a_licence_of_its_own() {
        let expression = "Apache-2.0 WITH LLVM-exception";
        assert_eq!(with(&["Apache-2.0"], expression), Ok(false));
        assert_eq!(with(&[expression], expression), Ok(true));
    }

    #[test]
    fn a_broken_expression_is_an_error() {
        for expression in [
            "", "MIT OR", "(MIT", "MIT)", "MIT ISC", "AND MIT", "MIT WITH",
        ] {
            assert!(with(&["MIT"], expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn an_exception_holds_for_its_crate_only_and_unneeded_rules_are_reported() {
        let rules = Rules {
            allow: vec!["MIT".to_owned(), "Zlib".to_owned()],
            exceptions: vec![
                Exception {
                    name: "a".to_owned(),
                    allow: vec!["MPL-2.0".to_owned()],
                },
                Exception {
                    name: "gone".to_owned(),
                    allow: vec!["MPL-2.0".to_owned()],
                },
            ],
        };
        let packages = [
            package("a", "1.0.0", Some("MPL-2.0")),
            package("b", "1.0.0", Some("MPL-2.0")),
            package("c", "1.0.0", Some("MIT")),
            package("d", "1.0.0", None),
        ];
        let problems = check(&packages, &rules);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains("crate b 1.0.0"), "{problems:?}");
        assert!(problems[1].contains("crate d 1.0.0"), "{problems:?}");
        assert!(problems[2].contains("licence Zlib"), "{problems:?}");
        assert!(problems[3].contains("crate gone"), "{problems:?}");
    }
}
