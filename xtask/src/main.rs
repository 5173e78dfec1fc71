//! The command line of the generator: `cargo run -p xtask -- codegen`.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::codegen;

const USAGE: &str = "usage: xtask codegen (--schemas DIR | --python PROGRAM) [--out DIR]

Writes the tables of schema facts into crates/ocpp/src/check/tables (or --out).
  --schemas DIR     the folder of the Python package `ocpp`, with v16/schemas, v201/schemas, v21/schemas
  --python PROGRAM  ask this Python where its package `ocpp` is";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("codegen") {
        bail!("{USAGE}");
    }
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
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ocpp/src/check/tables")
}

/// Where this Python keeps the package `ocpp`, without importing it.
fn package_folder(python: &str) -> Result<PathBuf> {
    let find =
        "import importlib.util as u; print(u.find_spec('ocpp').submodule_search_locations[0])";
    let output = Command::new(python)
        .args(["-c", find])
        .output()
        .with_context(|| format!("run {python} (`make setup` installs it)"))?;
    if !output.status.success() {
        bail!("{python} does not know the package ocpp; run `make setup`");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
