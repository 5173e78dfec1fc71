//! The memory of a process, as the kernel counts it.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// The resident memory of a process.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// `/proc/PID`.
    dir: PathBuf,
}

impl Memory {
    pub(super) fn of(process_id: u32) -> Self {
        Self {
            dir: PathBuf::from(format!("/proc/{process_id}")),
        }
    }

    /// Bytes now.
    pub(super) fn now(&self) -> Result<u64> {
        self.bytes("VmRSS:")
    }

    /// The most bytes since the start of the process, or since [`Memory::forget_peak`].
    pub(super) fn peak(&self) -> Result<u64> {
        self.bytes("VmHWM:")
    }

    /// The peak is that of now (`proc_pid_clear_refs(5)`, value 5).
    pub(super) fn forget_peak(&self) -> Result<()> {
        std::fs::write(self.dir.join("clear_refs"), "5").context("reset the peak of the memory")
    }

    fn bytes(&self, key: &str) -> Result<u64> {
        let file = self.dir.join("status");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|rest| rest.trim().split(' ').next());
        let kib: u64 = number
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("{} has no {key}", file.display()))?;
        Ok(kib << 10)
    }
}

/// Bytes for people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_is_at_least_the_memory_of_now_and_can_be_reset() {
        let own = Memory::of(std::process::id());
        let block = vec![1_u8; 64 << 20];
        let with_block = own.peak().unwrap();
        assert!(with_block >= 64 << 20, "{with_block}");
        assert!(own.now().unwrap() >= u64::from(block[1 << 20]));
        drop(block);
        own.forget_peak().unwrap();
        let without = own.peak().unwrap();
        assert!(without < with_block, "{without} {with_block}");
        assert_eq!(mib(3 << 20), "3 MiB");
    }
}
