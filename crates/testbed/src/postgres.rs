//! One PostgreSQL server of one's own.
//!
//! `initdb` skips its syncs, since an empty cluster can be made again; the server itself runs with `fsync` on, since
//! whoever kills it wants to see what a real one keeps. It listens on 127.0.0.1 only and has no Unix socket.

use crate::process::{Process, User, mortal};
use crate::{ports, programs, ready};
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The owner of the database, its password and the database.
const NAME: &str = "wattpost";
const SUPERUSER: &str = "postgres";
const SUPERUSER_PASSWORD: &str = "postgres";
const START_S_MAX: u64 = 60;
const STOP_S_MAX: u64 = 30;
/// PostgreSQL refuses to run as root; these are the users that we take instead, the first that exists.
const OTHER_USERS: [&str; 2] = ["postgres", "nobody"];

/// A private PostgreSQL server with an empty database `wattpost`, owned by the role `wattpost` (password the same),
/// which is no superuser. Dropping it kills it; its directory stays with the caller.
///
/// When we are root it runs as `postgres` or `nobody`.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    port: u16,
    user: Option<User>,
    process: Process,
    /// Of servers that were killed.
    spent_s: f64,
}

impl Postgres {
    /// Starts a server with its data in `dir/data`, which is created, and waits until it takes connections: about two
    /// seconds.
    ///
    /// # Errors
    ///
    /// A program is not installed (the error names the Debian package), `initdb` fails, or the server does not come up
    /// within a minute (the error shows the end of its log).
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
                .context("hand over the data directory")?;
        }
        init(&dir, user)?;
        fs::write(dir.join("data/postgresql.auto.conf"), settings(port))?;
        let process = spawn(&dir, user)?;
        let server = Self {
            dir,
            port,
            user,
            process,
            spent_s: 0.0,
        };
        server.wait_ready(soon())?;
        server.psql_as(
            SUPERUSER,
            SUPERUSER_PASSWORD,
            SUPERUSER,
            &format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'"),
        )?;
        server.superuser_psql_in(
            SUPERUSER,
            &format!("CREATE DATABASE {NAME} OWNER {NAME} TEMPLATE template0"),
        )?;
        Ok(server)
    }

    /// Where to connect, as the owner: `postgres://wattpost:wattpost@127.0.0.1:PORT/wattpost`.
    pub fn url(&self) -> String {
        self.url_as(NAME, NAME, NAME)
    }

    /// The same for another role and database, who need not exist.
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// The port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Is the process there? (Not: does it take connections.)
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// SIGKILL to the postmaster and all its children. What was not synced is not.
    ///
    /// # Errors
    ///
    /// The kernel does not bury them in time.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Ends it in good order (a "fast shutdown", which breaks connections), or kills it after half a minute. A second
    /// call does nothing.
    pub fn stop(&mut self) {
        if let Err(error) = self
            .process
            .stop(Signal::INT, Duration::from_secs(STOP_S_MAX))
        {
            tracing::warn!(%error, "PostgreSQL did not stop");
        }
    }

    /// Starts it again, with the same data on the same port, and waits until it takes connections. Killed first if it
    /// still runs.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.start_again()?;
        self.wait_ready(soon())
    }

    /// As [`Postgres::restart`], but returns at once.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.spent_s += self.process.cpu_seconds();
        self.process = spawn(&self.dir, self.user)?;
        Ok(())
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    ///
    /// The process ended or `deadline` passed; with the end of its log.
    pub fn wait_ready(&self, deadline: Instant) -> anyhow::Result<()> {
        self.process.wait_until(deadline, None, || {
            ready::speaks_postgres(self.port, SUPERUSER, SUPERUSER)
        })
    }

    /// Runs `sql` in the database `wattpost` as its owner; the rows, one a line, columns parted by `|`.
    ///
    /// # Errors
    ///
    /// What `psql` complains of.
    pub fn psql(&self, sql: &str) -> anyhow::Result<String> {
        self.psql_as(NAME, NAME, NAME, sql)
    }

    /// Runs `sql` in the database `wattpost` as the superuser.
    ///
    /// # Errors
    ///
    /// What `psql` complains of.
    pub fn superuser_psql(&self, sql: &str) -> anyhow::Result<String> {
        self.superuser_psql_in(NAME, sql)
    }

    /// CPU time, user and system, that this server has spent so far, restarts included, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.spent_s + self.process.cpu_seconds()
    }

    fn superuser_psql_in(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        self.psql_as(SUPERUSER, SUPERUSER_PASSWORD, database, sql)
    }

    fn psql_as(
        &self,
        role: &str,
        password: &str,
        database: &str,
        sql: &str,
    ) -> anyhow::Result<String> {
        let output = Command::new(programs::PSQL.path()?)
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--command",
                sql,
            ])
            .arg(self.url_as(role, password, database))
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
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(START_S_MAX)
}

fn init(dir: &Path, user: Option<User>) -> anyhow::Result<()> {
    let password_file = dir.join("superuser-password");
    fs::write(&password_file, SUPERUSER_PASSWORD)?;
    let mut command = mortal(&programs::INITDB.path()?, user)?;
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

fn spawn(dir: &Path, user: Option<User>) -> anyhow::Result<Process> {
    let mut command = mortal(&programs::POSTGRES.path()?, user)?;
    command
        .current_dir(dir.join("data"))
        .arg("-D")
        .arg(dir.join("data"));
    Process::start(command, "postgres", &dir.join("postgres.log"))
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
