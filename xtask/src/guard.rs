//! Checks the dependencies, and two rules of the dashboard's sources, without a tool that must be
//! installed first.
//!
//! The rules are in `deny.toml`, in the format of cargo-deny, so that `cargo deny check` reads the
//! same file. This checks licences, duplicate versions and sources from the output of
//! `cargo metadata`, and that each declared dependency is used. Security advisories are not checked:
//! they need a database from the network.

mod blanks;
mod connections;
mod licence;
mod usage;
mod versions;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `deny.toml`: the members that are read here. cargo-deny knows more.
#[derive(Deserialize)]
struct Deny {
    graph: Graph,
    licenses: licence::Rules,
    bans: versions::Rules,
    sources: Sources,
}

#[derive(Deserialize)]
struct Graph {
    /// The target triples whose dependencies are checked.
    targets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    /// The addresses of the registries that dependencies may come from.
    allow_registry: Vec<String>,
}

/// The output of `cargo metadata --format-version 1`: the members that are read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// None for a package of this workspace or of another local path.
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    metadata: Option<serde_json::Value>,
}

/// One line of a package's manifest.
#[derive(Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
    /// None for `[dependencies]`, else `dev` or `build`.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    /// The name that Rust code uses for the dependency.
    name: String,
    pkg: String,
}

/// Checks the workspace in the folder `root`. Each item of the result is one problem, with the file,
/// the crate or line, and the remedy; an empty result means that there is none.
///
/// # Errors
///
/// When `deny.toml`, a manifest or a source file cannot be read, or `cargo metadata` fails.
pub fn run(root: &Path) -> Result<Vec<String>> {
    let file = root.join("deny.toml");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let deny: Deny = toml::from_str(&text).with_context(|| format!("parse {}", file.display()))?;
    let metadata = metadata(root, &deny.graph.targets)?;

    let mut problems = licence::check(&metadata.packages, &deny.licenses);
    problems.extend(versions::check(&metadata.packages, &deny.bans));
    problems.extend(foreign_sources(&metadata, &deny.sources));
    problems.extend(usage::check(root, &metadata)?);
    problems.extend(blanks::check(root)?);
    problems.extend(connections::check(root)?);
    Ok(problems)
}

/// The files of a folder and its subfolders, in any order. Without the folder there is none.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let read = || format!("read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(read)? {
            let path = entry.with_context(read)?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    Ok(files)
}

fn metadata(root: &Path, targets: &[String]) -> Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--locked"]);
    for target in targets {
        command.args(["--filter-platform", target]);
    }
    let output = command.output().context("run cargo metadata")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cargo metadata failed: {}", said.trim());
    }
    serde_json::from_slice(&output.stdout).context("parse the output of cargo metadata")
}

/// The packages that come neither from an allowed registry nor from the workspace.
fn foreign_sources(metadata: &Metadata, rules: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let allowed = match &package.source {
            None => metadata.workspace_members.contains(&package.id),
            Some(source) => source
                .strip_prefix("registry+")
                .is_some_and(|registry| rules.allow_registry.iter().any(|r| r == registry)),
        };
        if !allowed {
            problems.push(format!(
                "Cargo.lock: crate {} {} comes from {}; use a release from crates.io, or list the \
                 registry in deny.toml under sources.allow-registry",
                package.name,
                package.version,
                package
                    .source
                    .as_deref()
                    .unwrap_or("a path outside the workspace"),
            ));
        }
    }
    problems
}

#[cfg(test)]
fn package(name: &str, version: &str, license: Option<&str>) -> Package {
    Package {
        id: format!("{name}@{version}"),
        name: name.to_owned(),
        version: version.to_owned(),
        license: license.map(str::to_owned),
        source: Some("registry+https://example.org/index".to_owned()),
        manifest_path: PathBuf::new(),
        dependencies: Vec::new(),
        metadata: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_registries_and_workspace_members_are_sources() {
        let mut member = package("member", "0.1.0", None);
        member.source = None;
        let mut path = package("path", "0.1.0", None);
        path.source = None;
        let mut git = package("git", "0.1.0", None);
        git.source = Some("git+https://example.org/index".to_owned());
        let metadata = Metadata {
            workspace_members: vec![member.id.clone()],
            packages: vec![member, path, git, package("good", "0.1.0", None)],
            resolve: Resolve { nodes: Vec::new() },
        };

        let rules = Sources {
            allow_registry: vec!["https://example.org/index".to_owned()],
        };
        let problems = foreign_sources(&metadata, &rules);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("crate path 0.1.0"), "{problems:?}");
        assert!(problems[1].contains("crate git 0.1.0"), "{problems:?}");

        let none = Sources {
            allow_registry: Vec::new(),
        };
        assert_eq!(foreign_sources(&metadata, &none).len(), 3);
    }
}
