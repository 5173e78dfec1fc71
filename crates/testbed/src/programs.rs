//! The paths of the servers' programs, and the packages that provide them.

use std::path::{Path, PathBuf};

/// A program, the Debian package that provides it, and the directories where Debian installs it.
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    /// Searched before `PATH`. `*` stands for one path element; the highest version is used.
    homes: &'static [&'static str],
}

// `/usr/sbin/rabbitmq-server` is Debian's wrapper, which changes the user; RabbitMQ's own scripts are in this directory.
pub(crate) const RABBITMQ_SERVER: Program = Program {
    name: "rabbitmq-server",
    package: "rabbitmq-server",
    homes: &["/usr/lib/rabbitmq/bin"],
};
pub(crate) const RABBITMQCTL: Program = Program {
    name: "rabbitmqctl",
    package: "rabbitmq-server",
    homes: &["/usr/lib/rabbitmq/bin"],
};
pub(crate) const EPMD: Program = Program {
    name: "epmd",
    package: "erlang-base",
    homes: &["/usr/lib/erlang/bin"],
};
pub(crate) const INITDB: Program = Program {
    name: "initdb",
    package: "postgresql",
    homes: &["/usr/lib/postgresql/*/bin"],
};
pub(crate) const POSTGRES: Program = Program {
    name: "postgres",
    package: "postgresql",
    homes: &["/usr/lib/postgresql/*/bin"],
};
pub(crate) const PSQL: Program = Program {
    name: "psql",
    package: "postgresql-client",
    homes: &["/usr/lib/postgresql/*/bin"],
};
pub(crate) const SETPRIV: Program = Program {
    name: "setpriv",
    package: "util-linux",
    homes: &["/usr/bin"],
};

/// Checks that all programs that this crate starts are installed.
///
/// # Errors
///
/// One sentence that names the missing programs and the Debian packages that provide them.
pub fn installed() -> Result<(), String> {
    let missing: Vec<&Program> = [
        &RABBITMQ_SERVER,
        &RABBITMQCTL,
        &EPMD,
        &INITDB,
        &POSTGRES,
        &PSQL,
        &SETPRIV,
    ]
    .into_iter()
    .filter(|program| program.path().is_err())
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(complaint(&missing))
}

impl Program {
    /// The program's path.
    ///
    /// # Errors
    ///
    /// It is not installed; the error names the program and its package.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        self.homes
            .iter()
            .flat_map(|home| expand(home))
            .chain(std::env::split_paths(&search))
            .map(|directory| directory.join(self.name))
            .find(|path| path.is_file())
            .ok_or_else(|| anyhow::anyhow!(complaint(&[self])))
    }
}

fn complaint(missing: &[&Program]) -> String {
    let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
    let mut packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    packages.dedup();
    format!(
        "{} not found; on Debian: apt-get install {}",
        names.join(", "),
        packages.join(" ")
    )
}

/// The directories that match `pattern`, the highest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*/") else {
        return vec![PathBuf::from(pattern)];
    };
    let mut versions: Vec<PathBuf> = std::fs::read_dir(before)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
    versions.into_iter().map(|path| path.join(after)).collect()
}

/// The version in a path such as `…/15`, as a number, so that 15 is higher than 9.
fn version(path: &Path) -> u32 {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_missing_program_and_its_package() {
        let program = Program {
            name: "rabbitmq-saucer",
            package: "rabbitmq-server",
            homes: &["/nowhere/*/bin"],
        };
        let error = program.path().expect_err("not there").to_string();
        assert_eq!(
            error,
            "rabbitmq-saucer not found; on Debian: apt-get install rabbitmq-server"
        );
    }

    #[test]
    fn newest_version_is_searched_first() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["9", "15", "14"] {
            std::fs::create_dir(dir.path().join(name)).expect("create");
        }
        let found = expand(&format!("{}/*/bin", dir.path().display()));
        assert_eq!(found.first(), Some(&dir.path().join("15/bin")));
        assert_eq!(found.last(), Some(&dir.path().join("9/bin")));
    }
}
