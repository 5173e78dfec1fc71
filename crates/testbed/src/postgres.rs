//! One private PostgreSQL server.
//!
//! `initdb` skips its syncs, because an empty cluster can be created again. The server itself runs with `fsync` on, so
//! that a test that kills it sees what a production server keeps. It listens on 127.0.0.1 only and has no Unix socket.

use crate::process::{Process, User, child_command};
use crate::server::{Kind, Server};
use crate::{ports, programs, ready};
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The database, its owner and the owner's password.
const NAME: &str = "wattpost";
const SUPERUSER: &str = "postgres";
const SUPERUSER_PASSWORD: &str = "postgres";
/// PostgreSQL refuses to run as root. The first of these users that exists is used instead.
const OTHER_USERS: [&str; 2] = ["postgres", "nobody"];

/// A private PostgreSQL server with an empty database `wattpost`, owned by the role `wattpost` (password the same),
/// which is no superuser. Dropping it kills it; its directory stays.
///
/// If this process runs as root, the server runs as `postgres` or `nobody`.
pub type Postgres = Server<Cluster>;

/// The data directory and port of one server.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    user: Option<User>,
}

impl Kind for Cluster {
    const NAME: &'static str = "PostgreSQL";
    const START_TIMEOUT: Duration = Duration::from_secs(60);
    const STOP_SIGNAL: Signal = Signal::INT;

    fn port(&self) -> u16 {
        self.port
    }

    fn spawn(&self) -> anyhow::Result<Process> {
        let data = self.dir.join("data");
        let mut command = child_command(&programs::POSTGRES.path()?, self.user)?;
        command.current_dir(&data).arg("-D").arg(&data);
        Process::start(command, "postgres", &self.dir.join("postgres.log"))
    }

    fn is_ready(&self) -> bool {
        ready::speaks_postgres(self.port, SUPERUSER, SUPERUSER)
    }
}

impl Postgres {
    /// Starts a server with its data in `dir/data`, which is created, and waits until it accepts connections: about two
    /// seconds.
    ///
    /// # Errors
    ///
    /// A program is not installed (the error names the Debian package), `initdb` fails, or the server is not ready
    /// within a minute (the error contains the end of its log).
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let port = ports::spare_port().context("find a port for PostgreSQL")?;
        let user = if rustix::process::geteuid().is_root() {
            Some(another_user()?)
        } else {
            None
        };
        let data = dir.join("data");
        fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let dir = fs::canonicalize(dir)?;
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(dir.join("data"), Some(uid), Some(gid))
                .context("change the owner of the data directory")?;
        }
        init(&dir, user)?;
        fs::write(dir.join("data/postgresql.auto.conf"), settings(port))?;
        let server = Self::spawn(Cluster { dir, port, user })?;
        server.wait_started()?;
        server.superuser_psql_in(
            SUPERUSER,
            &format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'"),
        )?;
        server.superuser_psql_in(
            SUPERUSER,
            &format!("CREATE DATABASE {NAME} OWNER {NAME} TEMPLATE template0"),
        )?;
        Ok(server)
    }

    /// The URL for the owner: `postgres://wattpost:wattpost@127.0.0.1:PORT/wattpost`.
    pub fn url(&self) -> String {
        self.url_as(NAME, NAME, NAME)
    }

    /// The URL for another role and database; neither needs to exist.
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        let port = self.port();
        format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Runs `sql` in the database `wattpost` as its owner; returns the rows, one a line, columns separated by `|`.
    ///
    /// # Errors
    ///
    /// The error of `psql`.
    pub fn psql(&self, sql: &str) -> anyhow::Result<String> {
        psql(&self.url(), sql)
    }

    /// Runs `sql` in the database `wattpost` as the superuser.
    ///
    /// # Errors
    ///
    /// The error of `psql`.
    pub fn superuser_psql(&self, sql: &str) -> anyhow::Result<String> {
        self.superuser_psql_in(NAME, sql)
    }

    fn superuser_psql_in(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        psql(&self.url_as(SUPERUSER, SUPERUSER_PASSWORD, database), sql)
    }
}

/// Runs `sql` in the database that `url` names; returns the rows, one a line, columns separated by `|`.
///
/// # Errors
///
/// The error of `psql`.
pub fn psql(url: &str, sql: &str) -> anyhow::Result<String> {
    let output = Command::new(programs::PSQL.path()?)
        .args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--command",
            sql,
            url,
        ])
        .stdin(Stdio::null())
        .output()
        .context("run psql")?;
    if !output.status.success() {
        bail!(
            "psql failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn init(dir: &Path, user: Option<User>) -> anyhow::Result<()> {
    let password_file = dir.join("superuser-password");
    fs::write(&password_file, SUPERUSER_PASSWORD)?;
    let mut command = child_command(&programs::INITDB.path()?, user)?;
    let output = command
        .current_dir(dir.join("data"))
        .args([
            "--no-sync",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ])
        .arg(format!("--username={SUPERUSER}"))
        .arg("--pwfile")
        .arg(&password_file)
        .arg("--pgdata")
        .arg(dir.join("data"))
        .output()
        .context("run initdb")?;
    if !output.status.success() {
        bail!(
            "initdb failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn settings(port: u16) -> String {
    [
        "listen_addresses = '127.0.0.1'",
        &format!("port = {port}"),
        "unix_socket_directories = ''",
        "shared_buffers = '256MB'",
        "max_connections = 100",
        "fsync = on",
        "",
    ]
    .join("\n")
}

fn another_user() -> anyhow::Result<User> {
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    OTHER_USERS
        .iter()
        .find_map(|name| find_user(&users, name))
        .context(
            "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody",
        )
}

/// passwd(5): name, password, uid, gid, …
fn find_user(passwd: &str, wanted: &str) -> Option<User> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(wanted))?;
    let mut fields = line.split(':').skip(2);
    Some(User {
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "postgresql:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let user = find_user(passwd, "postgres").expect("there is one");
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(find_user(passwd, "nobody").is_none());
    }
}
