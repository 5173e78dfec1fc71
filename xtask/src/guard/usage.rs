//! A dependency that no code uses costs build time and trust, and the compiler does not report it.
//!
//! A dependency counts as used when a source file names it as the first part of a path. That is a
//! search in the text: it does not see that a name is a module of the crate, or that only a
//! `cfg(test)` module uses it.

use super::{Dependency, Metadata, Package};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// `[package.metadata.guard]` of a member's manifest.
#[derive(Deserialize, Default)]
struct Guard {
    #[serde(default)]
    keep: Vec<Keep>,
}

/// A dependency that stays although no source file names it.
#[derive(Deserialize)]
struct Keep {
    name: String,
    #[serde(default)]
    reason: String,
}

/// The dependencies that their crate does not use, and the entries of the root manifest that no crate
/// uses.
///
/// # Errors
///
/// When a manifest or a source file cannot be read.
pub(super) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let members = || {
        let is_member = |p: &&Package| metadata.workspace_members.contains(&p.id);
        metadata.packages.iter().filter(is_member)
    };
    for package in members() {
        problems.extend(unused(root, metadata, package)?);
    }

    let manifest: toml::Table = std::fs::read_to_string(root.join("Cargo.toml"))
        .context("read Cargo.toml")?
        .parse()
        .context("parse Cargo.toml")?;
    let shared = manifest
        .get("workspace")
        .and_then(|w| w.get("dependencies"))
        .and_then(toml::Value::as_table);
    for name in shared.into_iter().flat_map(toml::Table::keys) {
        if !members().any(|p| p.dependencies.iter().any(|d| key(d) == name)) {
            problems.push(format!(
                "Cargo.toml: no crate depends on {name}; remove it from [workspace.dependencies]"
            ));
        }
    }
    Ok(problems)
}

/// The problems of one member.
fn unused(root: &Path, metadata: &Metadata, package: &Package) -> Result<Vec<String>> {
    let file = package
        .manifest_path
        .strip_prefix(root)
        .unwrap_or(&package.manifest_path);
    let file = file.display();
    let guard = package
        .metadata
        .as_ref()
        .and_then(|m| m.get("guard"))
        .cloned();
    let guard: Guard = match guard {
        Some(value) => serde_json::from_value(value)
            .with_context(|| format!("{file}: read [package.metadata.guard]"))?,
        None => Guard::default(),
    };
    let folder = package.manifest_path.parent().unwrap_or(root);
    let source = text(&folder.join("src"))?;
    let build = text(&folder.join("build.rs"))?;
    let mut tests = String::new();
    for name in ["tests", "benches", "examples"] {
        tests.push_str(&text(&folder.join(name))?);
    }

    let mut problems = Vec::new();
    let mut kept = Vec::new();
    for dependency in &package.dependencies {
        let name = key(dependency);
        let ident = ident(metadata, package, dependency);
        let (table, used) = match dependency.kind.as_deref() {
            None => ("dependencies", mentions(&source, &ident)),
            Some("build") => ("build-dependencies", mentions(&build, &ident)),
            Some(_) => (
                "dev-dependencies",
                mentions(&tests, &ident) || mentions(&source, &ident),
            ),
        };
        if used {
            continue;
        }
        kept.push(name);
        if guard.keep.iter().any(|keep| keep.name == name) {
            continue;
        }
        let remedy = if dependency.kind.is_none() && mentions(&tests, &ident) {
            "only its tests, benches or examples do: move it to [dev-dependencies]"
        } else {
            "remove it, or give the reason in [package.metadata.guard] \
             keep = [{ name = \"…\", reason = \"…\" }]"
        };
        problems.push(format!(
            "{file}: the code of crate {} does not use {name} of [{table}]; {remedy}",
            package.name
        ));
    }
    for Keep { name, reason } in &guard.keep {
        if !kept.contains(&name.as_str()) {
            problems.push(format!(
                "{file}: the entry {name} in package.metadata.guard.keep of crate {} is not needed; \
                 remove it",
                package.name
            ));
        } else if reason.trim().is_empty() {
            problems.push(format!(
                "{file}: the entry {name} in package.metadata.guard.keep of crate {} has no reason; \
                 add `reason = \"…\"`",
                package.name
            ));
        }
    }
    Ok(problems)
}

/// The name of a dependency in its manifest.
fn key(dependency: &Dependency) -> &str {
    dependency.rename.as_ref().unwrap_or(&dependency.name)
}

/// The name of a dependency in Rust code: a library need not have the name of its package.
fn ident(metadata: &Metadata, package: &Package, dependency: &Dependency) -> String {
    let library = || {
        let node = metadata.resolve.nodes.iter().find(|n| n.id == package.id)?;
        let edge = node.deps.iter().find(|edge| {
            let target = metadata.packages.iter().find(|p| p.id == edge.pkg);
            target.is_some_and(|p| p.name == dependency.name)
        })?;
        Some(edge.name.clone())
    };
    match &dependency.rename {
        Some(rename) => rename.replace('-', "_"),
        None => library().unwrap_or_else(|| dependency.name.replace('-', "_")),
    }
}

/// The Rust code of a file, or of all `.rs` files in a folder and below; empty if there is none.
fn text(path: &Path) -> Result<String> {
    let mut text = String::new();
    if path.is_dir() {
        let entries =
            std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
        for entry in entries {
            text.push_str(&self::text(&entry?.path())?);
        }
    } else if path.extension().is_some_and(|e| e == "rs") && path.exists() {
        text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        text.push('\n');
    }
    Ok(text)
}

/// Whether the code names the crate `name`: `name::…`, `use name;` or `extern crate name`, outside of
/// lines that are comments.
fn mentions(code: &str, name: &str) -> bool {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.match_indices(name)
                .any(|(at, _)| is_crate(&line[..at], &line[at + name.len()..]))
        })
}

/// Whether a name between these two pieces of a line is a crate.
fn is_crate(before: &str, after: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    if before.ends_with(in_word) || after.starts_with(in_word) {
        return false;
    }
    let first = match before.strip_suffix("::") {
        Some(parent) => !parent.ends_with(in_word) && !parent.ends_with('>'),
        None => true,
    };
    let whole = ["use ", "extern crate "]
        .iter()
        .any(|word| before.ends_with(word));
    first && (after.starts_with("::") || (whole && after.starts_with([';', ' '])))
}

#[cfg(test)]
mod tests {
    use super::super::{Edge, Node, Resolve, package};
    use super::*;

    #[test]
    fn a_crate_is_mentioned_by_a_path_that_begins_with_it() {
        for code in [
            "use foo::Bar;",
            "pub use foo;",
            "use foo as f;",
            "extern crate foo;",
            "    let x = ::foo::bar();",
            "#[foo::main]",
            "#[derive(Debug, foo::Serialize)]",
            "use {bar::A, foo::B};",
        ] {
            assert!(mentions(code, "foo"), "{code}");
        }
    }

    #[test]
    fn a_comment_a_longer_name_or_a_module_is_no_mention() {
        for code in [
            "// use foo::Bar;",
            "/// See [`foo::Bar`].",
            "use foobar::Bar;",
            "use my_foo::Bar;",
            "use crate::foo::Bar;",
            "let foo = 1;",
            "foo.bar()",
        ] {
            assert!(!mentions(code, "foo"), "{code}");
        }
    }

    fn dependency(name: &str, kind: Option<&str>) -> Dependency {
        Dependency {
            name: name.to_owned(),
            rename: None,
            kind: kind.map(str::to_owned),
        }
    }

    /// A workspace of one crate on disk that uses `md-5` (library `md5`) in its code and `tested` in a
    /// test.
    fn problems(dependencies: Vec<Dependency>, keep: serde_json::Value) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "Cargo.toml",
            "[workspace.dependencies]\nmd-5 = \"1\"\nnobody = \"1\"\n",
        );
        write("one/src/deep/lib.rs", "use md5::Md5;\n");
        write("one/tests/it.rs", "use tested::Thing;\n");
        let mut one = package("one", "0.1.0", None);
        one.manifest_path = root.path().join("one/Cargo.toml");
        one.dependencies = dependencies;
        one.metadata = Some(serde_json::json!({ "guard": { "keep": keep } }));
        let md5 = package("md-5", "1.0.0", None);
        let deps = vec![Edge {
            name: "md5".to_owned(),
            pkg: md5.id.clone(),
        }];
        let metadata = Metadata {
            workspace_members: vec![one.id.clone()],
            resolve: Resolve {
                nodes: vec![Node {
                    id: one.id.clone(),
                    deps,
                }],
            },
            packages: vec![one, md5],
        };
        check(root.path(), &metadata).unwrap()
    }

    #[test]
    fn an_unused_dependency_is_reported_with_its_manifest() {
        let found = problems(
            vec![
                dependency("md-5", None),
                dependency("tested", Some("dev")),
                dependency("nobody", Some("dev")),
            ],
            serde_json::json!([]),
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(
                "one/Cargo.toml: the code of crate one does not use nobody of [dev-dependencies]"
            ),
            "{found:?}"
        );
    }

    #[test]
    fn a_dependency_that_only_tests_use_is_a_dev_dependency() {
        let found = problems(
            vec![dependency("md-5", None), dependency("tested", None)],
            serde_json::json!([]),
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("move it to [dev-dependencies]"),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("Cargo.toml: no crate depends on nobody"),
            "{found:?}"
        );
    }

    #[test]
    fn an_entry_of_keep_needs_a_reason_and_an_unused_dependency() {
        let all = || vec![dependency("md-5", None), dependency("nobody", None)];
        let keep = serde_json::json!([{ "name": "nobody", "reason": "linked only" }]);
        assert_eq!(problems(all(), keep), Vec::<String>::new());

        let found = problems(
            all(),
            serde_json::json!([{ "name": "nobody" }, { "name": "md-5" }]),
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("nobody") && found[0].contains("no reason"),
            "{found:?}"
        );
        assert!(
            found[1].contains("md-5") && found[1].contains("not needed"),
            "{found:?}"
        );
    }
}
