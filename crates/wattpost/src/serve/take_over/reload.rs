//! SIGUSR2 (`systemctl reload`): starts the program again, from the path from which this process was started, with
//! `--take-over`. By then an upgrade has put the new program there.

use super::giving::PREPARE;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A new process that is not prepared by then is killed.
const START: Duration = PREPARE;

/// How this process was started, and the new process that a signal has started.
#[derive(Debug)]
pub(crate) struct Reload {
    signal: Signal,
    program: PathBuf,
    arguments: Vec<OsString>,
    child: Option<(Child, Instant)>,
}

impl Reload {
    /// Must be called early: the program's path is resolved against the current directory.
    ///
    /// # Errors
    /// When the signal cannot be received, or the program's path is not known.
    pub(crate) fn listen() -> Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().unwrap_or_default();
        // The path as it was given, so that a symbolic link leads to the new program.
        let program = match Path::new(&named).components().count() {
            0 | 1 => std::env::current_exe().context("find the path of this program")?,
            _ => std::path::absolute(&named).context("find the path of this program")?,
        };
        let mut arguments: Vec<OsString> = arguments.collect();
        if !arguments.iter().any(|argument| argument == "--take-over") {
            arguments.push("--take-over".into());
        }
        Ok(Self {
            signal: signal(SignalKind::user_defined2()).context("listen for SIGUSR2")?,
            program,
            arguments,
            child: None,
        })
    }

    /// Starts the new process at each signal; one that is still preparing is killed before. Never returns.
    pub(crate) async fn run(&mut self) -> std::convert::Infallible {
        loop {
            let Some((child, end)) = &mut self.child else {
                self.signal.recv().await;
                self.start();
                continue;
            };
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::error!(
                        program = %self.program.display(),
                        status,
                        "the new process has ended before it took over; this one goes on"
                    );
                    self.child = None;
                }
                _ = self.signal.recv() => {
                    tracing::warn!("another SIGUSR2: the new process that is not prepared yet is killed");
                    let _ = child.kill().await;
                    self.start();
                }
                () = tokio::time::sleep_until(*end) => {
                    tracing::error!(
                        program = %self.program.display(),
                        seconds = START.as_secs(),
                        "the new process was not prepared in time and is killed; this one goes on"
                    );
                    let _ = child.kill().await;
                    self.child = None;
                }
            }
        }
    }

    fn start(&mut self) {
        let started = Command::new(&self.program)
            .args(&self.arguments)
            // systemd's watchdog is meant for the process that this variable names, and after the take-over for the new
            // one.
            .env_remove("WATCHDOG_PID")
            .stdin(std::process::Stdio::null())
            .spawn();
        match started {
            Ok(child) => {
                tracing::info!(
                    program = %self.program.display(),
                    pid = child.id(),
                    "SIGUSR2: started the process that takes over"
                );
                self.child = Some((child, Instant::now() + START));
            }
            Err(error) => {
                self.child = None;
                tracing::error!(
                    program = %self.program.display(),
                    %error,
                    "SIGUSR2: the program cannot be started; this process goes on"
                );
            }
        }
    }
}
