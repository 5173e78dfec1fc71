//! Compares the generated tables with the official schemas, and the engine's verdicts with those of a reference
//! validator, Python's `jsonschema`.

use ocpp::Version;
use ocpp::check::{self, Violation, ViolationKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Python that `make setup` installs.
fn python() -> PathBuf {
    let python = std::env::var_os("WATTPOST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "there is no Python at {}; run `make setup`, which makes it",
        python.display()
    );
    python
}

#[test]
fn the_committed_tables_equal_freshly_generated_ones() {
    let find =
        "import importlib.util as u; print(u.find_spec('ocpp').submodule_search_locations[0])";
    let output = Command::new(python())
        .args(["-c", find])
        .output()
        .expect("run Python");
    assert!(output.status.success(), "run `make setup`: {output:?}");
    let package = String::from_utf8(output.stdout).expect("a path in UTF-8");

    let fresh = tempfile::tempdir().expect("make a folder");
    xtask::codegen::run(Path::new(package.trim()), fresh.path()).expect("generate the tables");

    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tables");
    let fresh_names = names(fresh.path()).expect("list the fresh tables");
    let committed_names = names(&committed).expect("list the committed tables");
    assert_eq!(
        fresh_names, committed_names,
        "other files than committed: run `make codegen`"
    );
    for name in committed_names {
        let fresh = std::fs::read(fresh.path().join(&name)).expect("read the fresh table");
        let committed = std::fs::read(committed.join(&name)).expect("read the committed table");
        assert!(
            fresh == committed,
            "{} is not what the generator writes: run `make codegen`",
            name.display()
        );
    }
}

fn names(folder: &Path) -> std::io::Result<BTreeSet<OsString>> {
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

/// One line of `schema_cases.py`: version, action, whether it is a response, the payload, and each
/// error's place and kind.
type Case = (String, String, bool, String, Vec<(String, String)>);

#[test]
fn verdicts_equal_those_of_a_reference_validator() {
    // Of about 250,000 cases, 19,000 are drawn by default, and nearly all with WATTPOST_FULL.
    let full = std::env::var_os("WATTPOST_FULL").is_some();
    let cases_per_schema = if full { "5000" } else { "50" };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/schema_cases.py");
    let mut child = Command::new(python())
        .arg(script)
        .arg(cases_per_schema)
        .stdout(Stdio::piped())
        .spawn()
        .expect("run Python");
    let lines = BufReader::new(child.stdout.take().expect("the output is a pipe")).lines();

    let mut seen: BTreeMap<(Version, bool), usize> = BTreeMap::new();
    let mut formats = 0;
    let mut differences = Vec::new();
    let shown: BTreeMap<(Version, &str, bool), jsonschema::Validator> = shown_schemas();
    let mut shown_differences = Vec::new();
    for line in lines {
        let line = line.expect("read a case");
        let (version, action, is_response, payload, errors): Case =
            serde_json::from_str(&line).expect("understand a case");
        if payload == "null" {
            continue; // It counts as `{}` (rule F-5), which unit tests cover.
        }
        let version = Version::from_number(&version).expect("know the version");
        *seen.entry((version, errors.is_empty())).or_default() += 1;

        let shown = &shown[&(version, action.as_str(), is_response)];
        let value: serde_json::Value = serde_json::from_str(&payload).expect("read the payload");
        if shown.is_valid(&value) != errors.is_empty()
            && !has_other_numbers(version, &errors, &payload)
        {
            shown_differences.push(format!(
                "{version} {action} (response: {is_response}) {payload}: {errors:?}"
            ));
        }
        let violations = if is_response {
            check::response(version, &action, &payload)
        } else {
            check::request(version, &action, &payload)
        };
        let (format, others): (Vec<_>, Vec<_>) = violations
            .iter()
            .partition(|violation| violation.kind == ViolationKind::Format);
        formats += usize::from(!format.is_empty());

        let ours: BTreeSet<_> = others.into_iter().map(place_and_kind).collect();
        let theirs: BTreeSet<_> = errors.into_iter().collect();
        if ours != theirs && ours.len() < check::VIOLATIONS_MAX {
            differences.push(format!(
                "{version} {action} (response: {is_response}) {payload}\n  ours: {ours:?}\n  theirs: {theirs:?}"
            ));
        }
    }
    assert!(
        child.wait().expect("wait for Python").success(),
        "Python failed: run `make setup`"
    );

    println!("payloads by version and validity: {seen:?}; with a violated format: {formats}");
    differences.sort_by_key(String::len);
    assert!(
        differences.is_empty(),
        "{} differences, the shortest:\n{}",
        differences.len(),
        differences[..differences.len().min(10)].join("\n")
    );
    assert!(
        shown_differences.is_empty(),
        "{} differences of the shown schemas:\n{}",
        shown_differences.len(),
        shown_differences[..shown_differences.len().min(10)].join("\n")
    );
    for version in Version::ALL {
        for valid in [true, false] {
            let count = seen.get(&(version, valid)).copied().unwrap_or(0);
            assert!(count > 300, "only {count} payloads of {version}");
        }
    }
}

/// The schemas of `ocpp::schema`, compiled: by version, action and whether it is the response.
fn shown_schemas() -> BTreeMap<(Version, &'static str, bool), jsonschema::Validator> {
    let compile = |schema: &serde_json::Value| {
        assert_eq!(schema["$schema"], ocpp::schema::DIALECT);
        jsonschema::validator_for(schema).unwrap_or_else(|error| panic!("{schema}: {error}"))
    };
    let mut schemas = BTreeMap::new();
    for version in Version::ALL {
        for info in ocpp::action::all(version) {
            let request = compile(&ocpp::schema::request(version, info));
            schemas.insert((version, info.name, false), request);
            let response = ocpp::schema::response(version, info);
            let is_send = info.class == ocpp::action::DeliveryClass::S;
            assert_eq!(response.is_none(), is_send, "{}", info.name);
            schemas.extend(response.map(|schema| ((version, info.name, true), compile(&schema))));
        }
    }
    schemas
}

/// Whether draft 2020-12 reads a number of the payload differently: 1.0 and 1e+16 are integers there but not in draft-04, and
/// steps of 0.1 are binary fractions.
fn has_other_numbers(version: Version, errors: &[(String, String)], payload: &str) -> bool {
    let is_whole = |text| payload.contains(text);
    let is_point_zero = version == Version::V16 && [".0", "e+"].into_iter().any(is_whole);
    let is_step = errors.iter().all(|(_, kind)| kind == "Range") && payload.contains('.');
    is_point_zero || is_step
}

/// A violation as the reference validator reports it: a missing or extra member is an error of the object, and a payload
/// that is not an object has the wrong type.
fn place_and_kind(violation: &Violation) -> (String, String) {
    let path = &violation.path;
    let (path, kind) = match violation.kind {
        kind @ (ViolationKind::Missing | ViolationKind::Extra) => {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            (parent, kind)
        }
        ViolationKind::NotObject => ("", ViolationKind::Type),
        kind => (path.as_str(), kind),
    };
    (path.to_owned(), format!("{kind:?}"))
}
