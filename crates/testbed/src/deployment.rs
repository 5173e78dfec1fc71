//! One settings file, and the commands of the binary that use it.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The binary, a directory, and the settings file in it.
#[derive(Debug)]
pub struct Deployment {
    program: PathBuf,
    dir: PathBuf,
}

impl Deployment {
    /// Writes `settings` (TOML) to `dir/wattpost.toml`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn new(program: &Path, dir: &Path, settings: &str) -> anyhow::Result<Self> {
        let deployment = Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
        };
        deployment.write_settings(settings)?;
        Ok(deployment)
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The settings file.
    pub fn settings_file(&self) -> PathBuf {
        self.path("wattpost.toml")
    }

    /// Replaces the settings; processes that run already keep the earlier ones.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_settings(&self, settings: &str) -> anyhow::Result<()> {
        let file = self.settings_file();
        std::fs::write(&file, settings).with_context(|| format!("write {}", file.display()))
    }

    /// A command of the binary with these settings. `subcommand` may be several words, such as `charger add`.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(subcommand.split_whitespace())
            .arg("--config")
            .arg(self.settings_file())
            .env_remove("RUST_LOG")
            .env_remove("WATTPOST_CONFIG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }
}
