//! A small file system in memory that can be filled up without affecting the machine's disk.

use anyhow::{Context as _, bail};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted tmpfs; unmounted when dropped. Needs root.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system of `mebibytes` MiB at `path`, which is created.
    ///
    /// # Errors
    ///
    /// `mount` failed; it needs root.
    pub fn mount(path: &Path, mebibytes: u32) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
        let size = format!("size={mebibytes}m");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(path)
            .stdin(Stdio::null())
            .output()
            .context("run mount")?;
        if !output.status.success() {
            bail!(
                "mount a small file system: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Uses up all free space.
    ///
    /// # Errors
    ///
    /// The file that fills the disk cannot be created.
    pub fn fill_up(&self) -> anyhow::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler())
            .context("open the file that fills the disk")?;
        let block = [7; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..512]).is_ok() {}
        Ok(())
    }

    /// Frees the space that [`SmallDisk::fill_up`] used.
    ///
    /// # Errors
    ///
    /// The file that fills the disk cannot be removed.
    pub fn free(&self) -> anyhow::Result<()> {
        fs::remove_file(self.filler()).context("remove the file that fills the disk")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount, because processes that are about to be killed still have open files there.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(&self.path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
