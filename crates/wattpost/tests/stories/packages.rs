//! The Debian package and the manifests for Kubernetes. `make deb-test` installs, upgrades and removes the package.

use crate::deployment::Deployment;
use crate::independent_client::python;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wattpost");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text_of(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn manifests_of_kubernetes_fit_its_schemas_and_each_other() {
    let output = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/manifests.py"))
        .arg(repository().join("packaging/kubernetes"))
        .arg(PROGRAM)
        .arg(repository().join("wattpost.example.toml"))
        .output()
        .expect("run Python");
    let faults = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{faults}\n{errors}");
    let resources = faults.trim().parse();
    assert_eq!(resources, Ok(11), "{faults}");
}

/// The image cannot be built here, so its file is linted, and the command of its health check is run.
#[test]
fn health_check_of_the_image_says_whether_the_process_runs() {
    let file = repository().join("packaging/docker/Dockerfile");
    let linter = python().with_file_name("hadolint");
    let linted = Command::new(linter).arg(&file).output();
    let linted = linted.expect("run hadolint; `make setup` installs it");
    let faults = String::from_utf8_lossy(&linted.stdout);
    assert!(linted.status.success(), "{faults}");

    let text = std::fs::read_to_string(&file).expect("read");
    let line = text.lines().find(|line| line.starts_with("HEALTHCHECK "));
    let (_, command) = line.and_then(|line| line.split_once("CMD ")).expect("one");
    let command: Vec<String> = serde_json::from_str(command).expect("a list of words");
    assert_eq!(command.first().map(String::as_str), Some("wattpost"));

    let mut deployment = Deployment::start("");
    let http = deployment.http.to_string();
    let check = || {
        let mut check = Command::new(PROGRAM);
        // In a container the settings have the address.
        check
            .args(&command[1..])
            .env("WATTPOST__HTTP__LISTEN", &http);
        check.env_remove("WATTPOST_CONFIG").current_dir("/");
        check.output().expect("run wattpost")
    };
    let alive = check();
    assert_eq!(
        text_of(&alive),
        format!("a process of Wattpost runs at {http}\n")
    );
    deployment.kill();
    let dead = check();
    let errors = String::from_utf8_lossy(&dead.stderr);
    assert_eq!(dead.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&http), "{errors}");
}

#[test]
fn debian_package_has_the_program_its_units_and_its_settings() {
    let dir = tempfile::tempdir().expect("create a temporary directory");
    let made = Command::new(repository().join("scripts/deb.sh"))
        .arg(PROGRAM)
        .arg(dir.path())
        // Compression would take most of the time.
        .env("DEB_COMPRESSION", "-Znone")
        .env("DEB_VERSION", "9.8.7-1")
        .output()
        .expect("run scripts/deb.sh");
    let package = PathBuf::from(text_of(&made).trim());
    let ask = |option: &str| {
        let mut command = Command::new("dpkg-deb");
        text_of(&command.arg(option).arg(&package).output().expect("run"))
    };

    let fields = ask("--field");
    assert!(fields.contains("\nVersion: 9.8.7-1\n"), "{fields}");
    assert!(fields.contains("libc6"), "{fields}");

    // Path to mode and owner.
    let contents = ask("--contents");
    let files: BTreeMap<&str, (&str, &str)> = contents
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (mode, owner) = (words.next()?, words.next()?);
            Some((words.nth(3)?, (mode, owner)))
        })
        .collect();
    for (path, mode) in [
        ("./usr/bin/wattpost", "-rwxr-xr-x"),
        ("./etc/wattpost/wattpost.toml", "-rw-r-----"),
        ("./usr/share/man/man1/wattpost.1.gz", "-rw-r--r--"),
        ("./usr/share/doc/wattpost/operations.md", "-rw-r--r--"),
        (
            "./usr/share/doc/wattpost/wattpost.example.toml",
            "-rw-r--r--",
        ),
    ] {
        assert_eq!(
            files.get(path),
            Some(&(mode, "root/root")),
            "{path}\n{contents}"
        );
    }

    // Each unit of the repository is in the package, and what it names is there too.
    let units = repository().join("packaging/systemd");
    for unit in std::fs::read_dir(units).expect("read") {
        let unit = unit.expect("read");
        let name = unit.file_name();
        let packed = format!("./lib/systemd/system/{}", name.to_string_lossy());
        assert!(files.contains_key(packed.as_str()), "{packed}\n{contents}");
        let text = std::fs::read_to_string(unit.path()).expect("read");
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let mut words = start.expect("starts a program").split(' ');
        let (program, settings) = (words.next(), words.next_back());
        for path in [program, settings].into_iter().flatten() {
            assert!(
                files.contains_key(format!(".{path}").as_str()),
                "{packed}: {path}"
            );
        }
    }

    let control = dir.path().join("control");
    let extracted = Command::new("dpkg-deb")
        .arg("--control")
        .arg(&package)
        .arg(&control)
        .output();
    text_of(&extracted.expect("run dpkg-deb"));
    let conffiles = std::fs::read_to_string(control.join("conffiles")).expect("read");
    assert_eq!(conffiles, "/etc/wattpost/wattpost.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        let parsed = Command::new("sh")
            .arg("-n")
            .arg(control.join(script))
            .output();
        text_of(&parsed.expect("run sh"));
    }

    // The program accepts the settings that it is installed with.
    let accepted = Command::new(PROGRAM)
        .args(["check", "--show", "--config"])
        .arg(repository().join("packaging/debian/wattpost.toml"))
        .env("WATTPOST__DATA_DIR", dir.path())
        .output()
        .expect("run wattpost");
    let shown = text_of(&accepted);
    assert!(shown.contains("unknown_charger = \"pending\""), "{shown}");
}
