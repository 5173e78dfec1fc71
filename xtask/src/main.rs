//! The command line: `cargo run -p xtask -- codegen` and `cargo run -p xtask -- guard`.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use xtask::{codegen, guard};

const USAGE: &str = "usage: xtask codegen (--schemas DIR | --python PROGRAM) [--out DIR]
       xtask guard

codegen writes the tables of actions and schema facts into crates/ocpp/src/tables (or --out).
  --schemas DIR     the folder of the Python package `ocpp`, with v16/schemas, v201/schemas, v21/schemas
  --python PROGRAM  find the package `ocpp` of this Python

guard checks the dependencies against deny.toml and the sources; in the dashboard, the blanks of the
markup that Svelte removes, and that no page reads a charger's connection without its age. It fails if
it finds a problem.";

fn main() -> Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("codegen") => run_codegen(args).map(|()| ExitCode::SUCCESS),
        Some("guard") if args.next().is_none() => run_guard(),
        _ => bail!("{USAGE}"),
    }
}

fn run_guard() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let problems = guard::run(root.context("xtask is in a workspace")?)?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_codegen(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut schemas = None;
    let mut out = default_out();
    while let Some(flag) = args.next() {
        let value = args.next().with_context(|| USAGE.to_owned())?;
        match flag.as_str() {
            "--schemas" => schemas = Some(PathBuf::from(value)),
            "--python" => schemas = Some(package_folder(&value)?),
            "--out" => out = PathBuf::from(value),
            _ => bail!("{USAGE}"),
        }
    }
    codegen::run(&schemas.with_context(|| USAGE.to_owned())?, &out)
}

fn default_out() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ocpp/src/tables")
}

/// The folder of this Python's package `ocpp`; does not import it.
fn package_folder(python: &str) -> Result<PathBuf> {
    let find =
        "import importlib.util as u; print(u.find_spec('ocpp').submodule_search_locations[0])";
    let output = Command::new(python)
        .args(["-c", find])
        .output()
        .with_context(|| format!("run {python} (`make setup` installs it)"))?;
    if !output.status.success() {
        bail!("{python} has no package ocpp; run `make setup`");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
