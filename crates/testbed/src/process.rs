//! One server process and its descendants: started so that it cannot outlive us, killed as a power cut would kill it.

use crate::{keeper, programs};
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

/// How long the kernel may take to bury what was killed. A process that hangs on a disk does take its time.
const BURIAL_MS_MAX: u64 = 10_000;
const POLL: Duration = Duration::from_millis(20);
const LOG_TAIL_BYTES: u64 = 4_096;

/// A user to run as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A running program of any kind, as the servers here are. Killed, with all its descendants, when dropped, and by the
/// kernel when the process that started it ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
    name: String,
    /// CPU time of descendants that are gone is counted by their parent; that of the whole lot is kept here at death.
    spent_s: f64,
    /// Set once it has ended.
    status: Option<ExitStatus>,
}

/// A command that runs `program` so that the kernel kills it when this process ends, however it ends.
///
/// With `user`, as that user; it keeps only the one privilege of reaching its files below directories that are closed
/// to others, such as a temporary directory of root's.
pub(crate) fn mortal(program: &Path, user: Option<User>) -> anyhow::Result<Command> {
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
    // A group of its own: Ctrl-C in a terminal goes to us, and we decide in which order things stop.
    command.process_group(0);
    Ok(command)
}

impl Process {
    /// A command for [`Process::start`] that runs `program`; the caller adds arguments and environment.
    ///
    /// # Errors
    ///
    /// `setpriv` is not installed, which is what lets the kernel kill a process along with ours.
    pub fn command(program: &Path) -> anyhow::Result<Command> {
        mortal(program, None)
    }

    /// Starts a command that [`Process::command`] made; what it prints is appended to `log`. Errors and logs call it
    /// `name`.
    ///
    /// # Errors
    ///
    /// The log cannot be opened, or the process cannot be started.
    pub fn start(mut command: Command, name: &str, log: &Path) -> anyhow::Result<Self> {
        let out = open_log(log)?;
        command.stdout(out.try_clone()?).stderr(out);
        Self::spawn(command, name, log)
    }

    /// The same command as one for [`Process::start`]: program, arguments, environment and directory.
    ///
    /// # Errors
    ///
    /// As [`Process::command`].
    pub fn wrap(command: &Command) -> anyhow::Result<Command> {
        let mut wrapped = mortal(Path::new(command.get_program()), None)?;
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

    /// As [`Process::start`], and returns once `is_ready` says so of a line that it printed to stdout. Only stderr goes
    /// to the log.
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
        // Reads to the end, so that the process never waits for a reader.
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
        let child = keeper::spawn(command).with_context(|| format!("start {name}"))?;
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

    /// SIGSTOP: it stands still with everything that it holds, its connections included, until
    /// [`Process::resume`].
    pub fn pause(&self) {
        let _ = kill_process(self.pid, Signal::STOP);
    }

    /// SIGCONT: it goes on after [`Process::pause`].
    pub fn resume(&self) {
        let _ = kill_process(self.pid, Signal::CONT);
    }

    /// SIGKILL to the process and to all its descendants; returns when none of them is left.
    ///
    /// The parent is stopped before its children are counted, so that none is born meanwhile.
    ///
    /// # Errors
    ///
    /// The kernel does not bury them in time.
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
                // Gone by itself already is as good.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let status = self.child.wait();
        self.status = Some(status.with_context(|| format!("wait for {} to end", self.name))?);
        let deadline = Instant::now() + Duration::from_millis(BURIAL_MS_MAX);
        while family
            .iter()
            .any(|pid| stat(*pid).is_some_and(|stat| stat.state != 'Z'))
        {
            if Instant::now() > deadline {
                bail!(
                    "{} left processes behind that do not die: {family:?}",
                    self.name
                );
            }
            std::thread::sleep(POLL);
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

    /// Waits up to `timeout` for it to end by itself; its exit status, or none while it still runs.
    ///
    /// # Errors
    ///
    /// The kernel does not tell its status.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        while self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_none() {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(self.status)
    }

    /// SIGTERM; [`Process::wait`] tells when it has ended.
    pub fn ask_to_stop(&self) {
        let _ = kill_process(self.pid, Signal::TERM);
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    ///
    /// The process ended, or `deadline` passed; with the last lines of its log, or of `other_log` where it writes one.
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
                std::thread::sleep(POLL);
                continue;
            };
            let mut story = tail(&self.log);
            if let Some(other) = other_log {
                story.push_str(&tail(other));
            }
            bail!("{} {complaint}; the end of its log:\n{story}", self.name);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(server = self.name, %error, "a private server could not be killed");
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

/// The address that follows `scheme`, such as `ws://`, in a line that a server prints when it listens.
pub fn address_after(line: &str, scheme: &str) -> Option<SocketAddr> {
    let rest = line.split_once(scheme)?.1;
    rest.split('/').next()?.trim().parse().ok()
}

/// Waits for a condition; returns whether it came true before the deadline.
pub fn until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// The last lines of a log, whole ones.
pub(crate) fn tail(log: &Path) -> String {
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
    /// utime + stime + those of children that it has waited for.
    ticks: u64,
}

/// `/proc/PID/stat`, `proc_pid_stat(5)`. The name in parentheses may hold anything, so we count from its end.
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
        let mut command = mortal(Path::new("/bin/sh"), None).expect("setpriv is installed");
        command.args(["-c", script]);
        Process::start(command, "a shell", &dir.join("log")).expect("start")
    }

    #[test]
    fn children_die_with_their_parent() {
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
    fn a_server_that_does_not_come_up_is_quoted() {
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
    fn a_server_outlives_the_thread_that_asked_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let process = std::thread::spawn(move || shell("sleep 1000", &path))
            .join()
            .expect("join");
        std::thread::sleep(Duration::from_millis(200));
        assert!(process.is_running());
    }

    #[test]
    fn process_is_ready_at_the_line_that_says_so_and_its_exit_status_is_known() {
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
