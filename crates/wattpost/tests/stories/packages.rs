//! The container image and the manifests for Kubernetes.

use crate::deployment::Deployment;
use crate::independent_client::python;
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
