//! A copy of RabbitMQ's installation without plugins, made of symbolic links, so that a node starts in two thirds of the
//! time.
//!
//! At its start a node searches each of its modules in the directories of all installed plugins, even of those that are
//! not enabled. If the installation has an unknown layout, it is used as it is.

use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Creates the copy in `dir` and returns the directory of its scripts (`RABBITMQ_SCRIPTS_DIR`); none if that fails.
pub(crate) fn slim(server: &Path, dir: &Path) -> Option<PathBuf> {
    match make(server, dir) {
        Ok(scripts) => Some(scripts),
        Err(error) => {
            tracing::debug!(%error, "RabbitMQ is started from its whole installation");
            None
        }
    }
}

fn make(server: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let scripts = fs::canonicalize(server)?;
    let scripts = scripts.parent().context("the scripts' directory")?;
    let installed = scripts.parent().context("the installation's directory")?;
    let applications = read_applications(&installed.join("plugins"))?;
    let needed = needed(&applications);
    ensure!(needed.contains(&"rabbit"), "there is no application rabbit");
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir.join("plugins"))?;
    symlink(scripts, dir.join("sbin"))?;
    symlink(installed.join("escript"), dir.join("escript"))?;
    for name in needed {
        if let Some(application) = applications.get(name) {
            let directory = &application.directory;
            let file_name = directory.file_name().context("a directory's name")?;
            symlink(directory, dir.join("plugins").join(file_name))?;
        }
    }
    Ok(dir.join("sbin"))
}

struct Application {
    directory: PathBuf,
    needs: Vec<String>,
}

/// All Erlang applications in `plugins`, by name.
fn read_applications(plugins: &Path) -> anyhow::Result<BTreeMap<String, Application>> {
    let mut applications = BTreeMap::new();
    for entry in fs::read_dir(plugins)? {
        let directory = entry?.path();
        let Ok(files) = fs::read_dir(directory.join("ebin")) else {
            continue;
        };
        for file in files {
            let file = file?.path();
            if file.extension().is_none_or(|extension| extension != "app") {
                continue;
            }
            let Some(name) = file.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            let needs = read_needs(&fs::read_to_string(&file)?);
            let directory = directory.clone();
            applications.insert(name.to_owned(), Application { directory, needs });
        }
    }
    Ok(applications)
}

/// The names in `{applications, […]}` of an application resource file, app(4).
fn read_needs(text: &str) -> Vec<String> {
    let list = text
        .split_once("{applications,")
        .and_then(|(_, rest)| rest.split_once('['))
        .and_then(|(_, rest)| rest.split_once(']'));
    let Some((names, _)) = list else {
        return Vec::new();
    };
    names
        .split(',')
        .map(|name| name.trim().trim_matches('\'').to_owned())
        .collect()
}

/// The server and all applications that it needs. Those that are not in `applications` are part of Erlang.
fn needed(applications: &BTreeMap<String, Application>) -> Vec<&str> {
    let mut needed: Vec<&str> = Vec::new();
    let mut todo = vec!["rabbit"];
    while let Some(name) = todo.pop() {
        let Some((name, application)) = applications.get_key_value(name) else {
            continue;
        };
        if !needed.contains(&name.as_str()) {
            needed.push(name);
            todo.extend(application.needs.iter().map(String::as_str));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_applications_that_the_server_needs_are_linked() {
        let dir = tempfile::tempdir().expect("a directory");
        let installed = dir.path().join("installed");
        for (name, needs) in [
            ("rabbit", "kernel,\n  stdlib, 'ra'"),
            ("ra", "kernel,rabbit"),
            ("management", "rabbit"),
        ] {
            let ebin = installed.join(format!("plugins/{name}-1.0/ebin"));
            fs::create_dir_all(&ebin).expect("create");
            let text = format!("{{application, {name},\n [{{applications, [{needs}]}}]}}.");
            fs::write(ebin.join(format!("{name}.app")), text).expect("write");
        }
        let server = installed.join("sbin/rabbitmq-server");
        fs::create_dir_all(installed.join("sbin")).expect("create");
        fs::write(&server, "").expect("write");

        let home = dir.path().join("home");
        for _twice in 0..2 {
            assert_eq!(slim(&server, &home), Some(home.join("sbin")));
        }
        let mut linked: Vec<_> = fs::read_dir(home.join("plugins"))
            .expect("read")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        linked.sort();
        assert_eq!(linked, ["ra-1.0", "rabbit-1.0"]);
        assert!(home.join("sbin/rabbitmq-server").exists());
    }

    #[test]
    fn installation_with_an_unknown_layout_is_not_copied() {
        let dir = tempfile::tempdir().expect("a directory");
        let server = dir.path().join("rabbitmq-server");
        fs::write(&server, "").expect("write");
        assert_eq!(slim(&server, &dir.path().join("home")), None);
    }
}
