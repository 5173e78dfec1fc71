//! One child process and its descendants. It cannot outlive this process, and it can be killed as by a power cut.

use crate::{programs, spawner};
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Killed processes must have ended within this time. One that waits for a disk ends late.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const LOG_TAIL_BYTES: u64 = 4_096;

/// A user to run as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A running program. It is killed with all its descendants when dropped, and by the kernel when the process that started
/// it ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
    name: String,
    /// CPU time of the process and its descendants, once it has ended.
    spent_s: f64,
    /// Set once it has ended.
    status: Option<ExitStatus>,
}

/// A command that runs `program` so that the kernel kills it when this process ends for any reason.
///
/// With `user`, as that user, with one capability: it may access files below directories that are closed to it, such as
/// a temporary directory of root.
pub(crate) fn child_command(program: &Path, user: Option<User>) -> anyhow::Result<Command> {
    let mut command = Command::new(programs::SETPRIV.path()?);
    command.args(["--pdeathsig", "KILL"]);
    if let Some(User { uid, gid }) = user {
        command
            .arg(format!("--reuid={uid}"))
            .arg(format!("--regid={gid}"))
            .arg("--clear-groups");
        command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
    }
    command.arg("--").arg(program).stdin(Stdio::null());
    // A separate process group: Ctrl-C in a terminal signals only this process, which then decides the order of stops.
    command.process_group(0);
    Ok(command)
}

impl Process {
    /// A command for [`Process::start`] that runs `program`; the caller adds arguments and environment.
    ///
    /// # Errors
    ///
    /// `setpriv` is not installed, which makes the kernel kill the process when this one ends.
    pub fn command(program: &Path) -> anyhow::Result<Command> {
        child_command(program, None)
    }

    /// Starts a command that [`Process::command`] made. Its stdout and stderr are appended to `log`. `name` is used in
    /// errors and logs.
    ///
    /// # Errors
    ///
    /// The log cannot be opened, or the process cannot be started.
    pub fn start(mut command: Command, name: &str, log: &Path) -> anyhow::Result<Self> {
        let out = open_log(log)?;
        command.stdout(out.try_clone()?).stderr(out);
        Self::spawn(command, name, log)
    }

    /// Converts any command to one for [`Process::start`]: program, arguments, environment and working directory.
    ///
    /// # Errors
    ///
    /// As [`Process::command`].
    pub fn wrap(command: &Command) -> anyhow::Result<Command> {
        let mut wrapped = child_command(Path::new(command.get_program()), None)?;
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            wrapped.current_dir(dir);
        }
        Ok(wrapped)
    }

    /// As [`Process::start`], but returns when `is_ready` is true for a line of stdout. Only stderr is appended to the log.
    ///
    /// # Errors
    ///
    /// It ended, or `timeout` passed, before such a line; with the last lines of its log.
    pub fn start_until_ready(
        mut command: Command,
        name: &str,
        log: &Path,
        timeout: Duration,
        mut is_ready: impl FnMut(&str) -> bool,
    ) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(open_log(log)?);
        let mut process = Self::spawn(command, name, log)?;
        let stdout = process.child.stdout.take().context("a pipe to read from")?;
        let (send, lines) = mpsc::channel();
        // stdout is read to its end, so that the process never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let deadline = Instant::now() + timeout;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if is_ready(&line) => return Ok(process),
                Ok(_) => {}
                Err(error) => {
                    let complaint = match error {
                        mpsc::RecvTimeoutError::Disconnected => "ended before it was ready",
                        mpsc::RecvTimeoutError::Timeout => "is not ready in time",
                    };
                    bail!("{name} {complaint}; the end of its log:\n{}", tail(log));
                }
            }
        }
    }

    fn spawn(command: Command, name: &str, log: &Path) -> anyhow::Result<Self> {
        let child = spawner::spawn(command).with_context(|| format!("start {name}"))?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id out of range")?;
        Ok(Self {
            child,
            pid,
            log: log.to_owned(),
            name: name.to_owned(),
            spent_s: 0.0,
            status: None,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        self.status.is_none() && stat(self.child.id()).is_some_and(|stat| stat.state != 'Z')
    }

    /// CPU time, user and system, of the process and all its descendants, dead or alive, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        if self.status.is_some() {
            return self.spent_s;
        }
        let all = everyone();
        let mut ticks = 0;
        for pid in std::iter::once(self.child.id()).chain(descendants(&all, self.child.id())) {
            ticks += all.get(&pid).map_or(0, |stat| stat.ticks);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of hundredths of a second is far below 2^52"
        )]
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        seconds
    }

    /// SIGSTOP: it is suspended with its connections open, until [`Process::resume`].
    pub fn pause(&self) {
        let _ = kill_process(self.pid, Signal::STOP);
    }

    /// SIGCONT, after [`Process::pause`].
    pub fn resume(&self) {
        let _ = kill_process(self.pid, Signal::CONT);
    }

    /// SIGKILL to the process and all its descendants; returns when all of them have ended.
    ///
    /// The process is suspended before its descendants are listed, so that it starts no new ones.
    ///
    /// # Errors
    ///
    /// They have not ended after ten seconds.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        let _ = kill_process(self.pid, Signal::STOP);
        self.spent_s = self.cpu_seconds();
        let family = descendants(&everyone(), self.child.id());
        let _ = kill_process(self.pid, Signal::KILL);
        for pid in &family {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                // An error means that it has ended already.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let status = self.child.wait();
        self.status = Some(status.with_context(|| format!("wait for {} to end", self.name))?);
        let deadline = Instant::now() + KILL_TIMEOUT;
        while family
            .iter()
            .any(|pid| stat(*pid).is_some_and(|stat| stat.state != 'Z'))
        {
            if Instant::now() > deadline {
                bail!("{} left processes that do not end: {family:?}", self.name);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// SIGTERM, then up to `timeout` for it to end, then [`Process::kill`].
    ///
    /// # Errors
    ///
    /// As [`Process::kill`].
    pub fn terminate(&mut self, timeout: Duration) -> anyhow::Result<()> {
        self.stop(Signal::TERM, timeout)
    }

    /// `signal` to the process, then up to `timeout` for it to end, then [`Process::kill`].
    pub(crate) fn stop(&mut self, signal: Signal, timeout: Duration) -> anyhow::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        self.spent_s = self.cpu_seconds();
        let _ = kill_process(self.pid, signal);
        match self.wait(timeout)? {
            Some(_) => Ok(()),
            None => self.kill(),
        }
    }

    /// Waits up to `timeout` for it to end; returns its exit status, or none if it still runs.
    ///
    /// # Errors
    ///
    /// Its status cannot be read.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        while self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_none() {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(self.status)
    }

    /// SIGUSR2.
    pub fn ask_to_upgrade(&self) {
        let _ = kill_process(self.pid, Signal::USR2);
    }

    /// SIGTERM; [`Process::wait`] tells when it has ended.
    pub fn ask_to_stop(&self) {
        let _ = kill_process(self.pid, Signal::TERM);
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Waits until `ready` returns true.
    ///
    /// # Errors
    ///
    /// The process ended, or `deadline` passed; with the last lines of its log and of `other_log`.
    pub(crate) fn wait_until(
        &self,
        deadline: Instant,
        other_log: Option<&Path>,
        ready: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        loop {
            if ready() {
                return Ok(());
            }
            let complaint = if !self.is_running() {
                "ended before it was ready"
            } else if Instant::now() > deadline {
                "is not ready in time"
            } else {
                std::thread::sleep(POLL_INTERVAL);
                continue;
            };
            let mut end = tail(&self.log);
            if let Some(other) = other_log {
                end.push_str(&tail(other));
            }
            bail!("{} {complaint}; the end of its log:\n{end}", self.name);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(process = self.name, %error, "a child process could not be killed");
        }
    }
}

fn open_log(log: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))
}

/// The address after `scheme`, such as `ws://`, in a line that a server prints when it listens.
pub fn address_after(line: &str, scheme: &str) -> Option<SocketAddr> {
    let rest = line.split_once(scheme)?.1;
    rest.split('/').next()?.trim().parse().ok()
}

/// Waits until `condition` holds, for `timeout` at most; returns whether it holds.
pub fn until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The last complete lines of a log.
pub fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = if length > LOG_TAIL_BYTES {
            text.split_once('\n').map_or("", |(_, rest)| rest)
        } else {
            &text
        };
        Ok(whole.to_owned())
    };
    read().unwrap_or_else(|error| format!("({}: {error})\n", log.display()))
}

struct Stat {
    parent: u32,
    state: char,
    /// User and system time, including children that it has waited for.
    ticks: u64,
}

/// Whether the process with this id exists and has not ended.
pub fn is_alive(id: u32) -> bool {
    stat(id).is_some_and(|stat| stat.state != 'Z')
}

/// Parses `/proc/PID/stat`, `proc_pid_stat(5)`. The name in parentheses may contain any character, so fields are counted
/// from the last parenthesis.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields
        .get(11..15)?
        .iter()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks,
    })
}

fn everyone() -> BTreeMap<u32, Stat> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

fn descendants(all: &BTreeMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(
            all.iter()
                .filter(|(_, stat)| stat.parent == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    family.remove(0);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Process {
        let mut command = child_command(Path::new("/bin/sh"), None).expect("setpriv is installed");
        command.args(["-c", script]);
        Process::start(command, "a shell", &dir.join("log")).expect("start")
    }

    #[test]
    fn descendants_are_killed_with_the_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = shell("sleep 1000 & sleep 1000 & wait", dir.path());
        let deadline = Instant::now() + Duration::from_secs(5);
        process
            .wait_until(deadline, None, || {
                descendants(&everyone(), process.id()).len() == 2
            })
            .expect("two children");
        let family = descendants(&everyone(), process.id());
        process.kill().expect("kill");
        assert!(!process.is_running());
        assert!(
            family
                .iter()
                .all(|pid| stat(*pid).is_none_or(|stat| stat.state == 'Z'))
        );
    }

    #[test]
    fn error_of_a_failed_start_contains_the_end_of_the_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let process = shell("echo no such turbo encabulator", dir.path());
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = process
            .wait_until(deadline, None, || false)
            .expect_err("it ended")
            .to_string();
        assert!(
            error.contains("a shell ended before it was ready"),
            "{error}"
        );
        assert!(error.contains("turbo encabulator"), "{error}");
    }

    #[test]
    fn process_outlives_the_thread_that_requested_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let process = std::thread::spawn(move || shell("sleep 1000", &path))
            .join()
            .expect("join");
        std::thread::sleep(Duration::from_millis(200));
        assert!(process.is_running());
    }

    #[test]
    fn process_is_ready_after_the_expected_line_and_its_exit_status_is_returned() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut plain = Command::new("/bin/sh");
        plain
            .args(["-c", "echo one; echo ws://127.0.0.1:$PORT/x; exit 3"])
            .env("PORT", "4711");
        let command = Process::wrap(&plain).expect("setpriv is installed");
        let mut address = None;
        let mut process = Process::start_until_ready(
            command,
            "a shell",
            &dir.path().join("log"),
            Duration::from_secs(5),
            |line| {
                address = address_after(line, "ws://");
                address.is_some()
            },
        )
        .expect("it is ready");
        assert_eq!(address.map(|address| address.port()), Some(4711));
        let status = process.wait(Duration::from_secs(5)).expect("a status");
        assert_eq!(status.and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn cpu_time_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let process = shell("while :; do :; done", dir.path());
        let deadline = Instant::now() + Duration::from_secs(10);
        process
            .wait_until(deadline, None, || process.cpu_seconds() > 0.05)
            .expect("it spends time");
    }
}
