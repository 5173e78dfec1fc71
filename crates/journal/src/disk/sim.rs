//! A disk in memory with every failure that a real disk may have, for tests: a power cut loses any part of what
//! was not synced, space runs out, writes are torn, syncs fail and report success afterwards.
//!
//! A [`SimDisk`] counts the operations that change it. [`SimDisk::cut_power_after`] cuts the power at any of
//! them; [`SimDisk::after_power_cut`] returns the disk that the next start finds.

use super::{Disk, DiskFile};
use common::lock::{lock, wait};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// What a power cut does to writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// None of them is on the disk.
    LoseAll,
    /// All of them are on the disk.
    KeepAll,
    /// The writes in their order, up to a random sector.
    Prefix,
    /// A random choice of sectors.
    Sectors,
}

/// An error to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The n-th write from now (0 = the next) fails with EIO.
    WriteError(u64),
    /// The n-th write from now writes only half of its bytes.
    ShortWrite(u64),
    /// The n-th sync from now fails with EIO. What it should have made durable is lost, and later syncs of the
    /// file succeed without effect on it.
    SyncError(u64),
    /// Every sync of a directory fails from now on.
    SyncDirErrors,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<(Mutex<SimState>, Condvar)>);

struct SimState {
    rng: Rng,
    files: Vec<SimInode>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    locked: bool,
    /// Number of operations that changed something.
    steps: u64,
    power_until: Option<u64>,
    capacity: u64,
    is_stuck: bool,
    has_no_handles: bool,
    faults: Vec<Fault>,
    /// Files that were written or synced again after a failed sync.
    trusted_after_failure: Vec<usize>,
}

#[derive(Default, Clone)]
struct SimInode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
    sync_failed: bool,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

impl SimDisk {
    /// An empty disk with a seed for its random numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(SimState {
            rng: Rng(seed),
            ..SimState::sound()
        })
    }

    fn with(state: SimState) -> Self {
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn state(&self) -> MutexGuard<'_, SimState> {
        lock(&self.0.0)
    }

    /// Number of operations that have changed this disk.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Cuts the power after `steps` more operations; everything later fails.
    pub fn cut_power_after(&self, steps: u64) {
        let mut state = self.state();
        state.power_until = Some(state.steps + steps);
    }

    /// Injects an error.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Sets the capacity of the disk in bytes.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Makes opening and creating files fail with EMFILE, or succeed again.
    pub fn set_no_handles(&self, has_no_handles: bool) {
        self.state().has_no_handles = has_no_handles;
    }

    /// Makes syncs block, or continue.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.state().is_stuck = is_stuck;
        self.0.1.notify_all();
    }

    /// Total size of all files in bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Whether a file was written or synced again after a failed sync.
    #[must_use]
    pub fn was_trusted_after_failed_sync(&self) -> bool {
        !self.state().trusted_after_failure.is_empty()
    }

    /// The disk that the next start finds after a power cut: what was synced, and of the rest what `tear`
    /// leaves.
    #[must_use]
    pub fn after_power_cut(&self, tear: Tear, seed: u64) -> Self {
        let state = self.state();
        let mut rng = Rng(seed);
        let mut names = state.durable.clone();
        let kept_changes = match tear {
            Tear::LoseAll => 0,
            Tear::KeepAll => state.name_changes.len(),
            Tear::Prefix | Tear::Sectors => rng.below(state.name_changes.len() as u64 + 1) as usize,
        };
        for change in &state.name_changes[..kept_changes] {
            change.apply(&mut names);
        }
        let mut files = Vec::new();
        for inode in &state.files {
            let bytes = inode.torn(tear, &mut rng);
            files.push(SimInode {
                live: bytes.clone(),
                durable: bytes,
                ..SimInode::default()
            });
        }
        drop(state);
        Self::with(SimState {
            rng,
            files,
            live: names.clone(),
            durable: names,
            ..SimState::sound()
        })
    }

    /// The disk that the next start finds after the process was killed: everything that was written; what was
    /// not synced is still not durable. Bytes that a failed sync lost can still be read; a later sync makes
    /// them durable only if they are written again.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        Self::with(SimState {
            rng: Rng(state.steps),
            files: state.files.iter().map(SimInode::reopened).collect(),
            live: state.live.clone(),
            durable: state.durable.clone(),
            name_changes: state.name_changes.clone(),
            ..SimState::sound()
        })
    }

    /// Names of the files, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state().live.keys().cloned().collect()
    }

    /// Changes a file's bytes durably, without the journal.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let Some(index) = state.live.get(name).copied() else {
            return;
        };
        let inode = &mut state.files[index];
        change(&mut inode.live);
        inode.durable.clone_from(&inode.live);
        inode.unsynced.clear();
    }
}

impl SimState {
    /// An empty disk without a fault, as a start finds it.
    fn sound() -> Self {
        Self {
            rng: Rng(0),
            files: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            name_changes: Vec::new(),
            locked: false,
            steps: 0,
            power_until: None,
            capacity: u64::MAX,
            is_stuck: false,
            has_no_handles: false,
            faults: Vec::new(),
            trusted_after_failure: Vec::new(),
        }
    }

    fn used(&self) -> u64 {
        self.live
            .values()
            .map(|index| self.files[*index].live.len() as u64)
            .sum()
    }

    /// Counts one operation, if there is power.
    fn step(&mut self) -> io::Result<()> {
        self.power()?;
        self.steps += 1;
        Ok(())
    }

    fn power(&self) -> io::Result<()> {
        if self.power_until.is_some_and(|until| self.steps >= until) {
            return Err(io::Error::other("the power is cut"));
        }
        Ok(())
    }

    /// Whether the fault that `pick` selects is due now; decrements the others of that kind.
    fn due(&mut self, pick: impl Fn(&mut Fault) -> Option<&mut u64>) -> bool {
        let mut due = false;
        self.faults.retain_mut(|fault| match pick(fault) {
            Some(0) => {
                due = true;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        });
        due
    }

    fn handle(&self) -> io::Result<()> {
        if self.has_no_handles {
            return Err(rustix::io::Errno::MFILE.into());
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let found = self.live.get(name).copied();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.name_changes.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, index) => {
                names.retain(|_, other| other != index);
                names.insert(name.clone(), *index);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl SimInode {
    /// The file as the next process finds it in the page cache.
    fn reopened(&self) -> Self {
        Self {
            sync_failed: false,
            ..self.clone()
        }
    }

    fn torn(&self, tear: Tear, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let total: u64 = self.unsynced.iter().map(|(_, b)| b.len() as u64).sum();
        let mut keep = match tear {
            Tear::LoseAll => 0,
            Tear::KeepAll | Tear::Sectors => u64::MAX,
            Tear::Prefix => rng.below(total + 1),
        };
        for (offset, data) in &self.unsynced {
            let mut at = 0;
            while at < data.len() && keep > 0 {
                // Sectors are aligned to the file, not to the write.
                let position = *offset as usize + at;
                let length = (SECTOR - position % SECTOR).min(data.len() - at);
                if tear != Tear::Sectors || rng.below(2) == 0 {
                    put(&mut bytes, position, &data[at..at + length]);
                }
                keep = keep.saturating_sub(length as u64);
                at += length;
            }
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, position: usize, data: &[u8]) {
    if bytes.len() < position + data.len() {
        bytes.resize(position + data.len(), 0);
    }
    bytes[position..position + data.len()].copy_from_slice(data);
}

impl Disk for SimDisk {
    fn lock(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.locked {
            let held = super::Held { pid: None };
            return Err(io::Error::new(io::ErrorKind::WouldBlock, held));
        }
        state.locked = true;
        Ok(())
    }

    fn unlock(&self) {
        self.state().locked = false;
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.power()?;
        Ok(state.live.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.power()?;
        state.handle()?;
        let inode = state.find(name)?;
        drop(state);
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        state.handle()?;
        let inode = state.files.len();
        state.files.push(SimInode::default());
        state.change_name(NameChange::Set(name.to_owned(), inode));
        drop(state);
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = state.find(from)?;
        state.change_name(NameChange::Set(to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.find(name)?;
        state.change_name(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.faults.contains(&Fault::SyncDirErrors) {
            return Err(io::Error::other("injected EIO at directory sync"));
        }
        state.durable = state.live.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim").join(name)
    }

    fn random(&self) -> u64 {
        self.state().rng.next()
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.step()?;
        if state.due(|fault| match fault {
            Fault::WriteError(left) => Some(left),
            _ => None,
        }) {
            return Err(io::Error::other("injected EIO at write"));
        }
        let short = state.due(|fault| match fault {
            Fault::ShortWrite(left) => Some(left),
            _ => None,
        });
        let bytes = if short {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let end = offset + bytes.len() as u64;
        let grown = end.saturating_sub(state.files[self.inode].live.len() as u64);
        if state.used() + grown > state.capacity {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let failed = state.files[self.inode].sync_failed;
        if failed {
            state.trusted_after_failure.push(self.inode);
        }
        let inode = &mut state.files[self.inode];
        put(&mut inode.live, offset as usize, bytes);
        inode.unsynced.push((offset, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.power()?;
        let bytes = &state.files[self.inode].live;
        let from = (offset as usize).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let have = state.files[self.inode].live.len() as u64;
        let grown = bytes.saturating_sub(have);
        if state.used() + grown > state.capacity {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let inode = &mut state.files[self.inode];
        inode.live.resize((have + grown) as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        while state.is_stuck {
            let changed = &self.disk.0.1;
            state = wait(changed, state);
        }
        state.step()?;
        let fails = state.due(|fault| match fault {
            Fault::SyncError(left) => Some(left),
            _ => None,
        });
        if state.files[self.inode].sync_failed {
            state.trusted_after_failure.push(self.inode);
        }
        let inode = &mut state.files[self.inode];
        if fails {
            // Like Linux: the pages count as clean after a failed sync.
            inode.unsynced.clear();
            inode.sync_failed = true;
            return Err(io::Error::other("injected EIO at sync"));
        }
        if inode.sync_failed {
            return Ok(());
        }
        let length = inode.live.len().max(inode.durable.len());
        inode.durable.resize(length, 0);
        for (offset, data) in std::mem::take(&mut inode.unsynced) {
            put(&mut inode.durable, offset as usize, &data);
        }
        Ok(())
    }
}

/// A small pseudo-random generator (splitmix64), so that a test can be repeated.
struct Rng(u64);

impl Rng {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
