//! Says which process keeps a database locked, so that a person can end it.
//!
//! SQLite tells only that the file is locked. Linux lists the locks of all processes in `/proc/locks`; where the holder is
//! not found there (another system, a process of another container), the error says how to find it.

use crate::refusal::Refusal;
use central::ports::UnavailableKind;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that holds a lock.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// Its name, if it is known.
    name: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// Names the file, the process that keeps it locked, and the cure; other refusals stay as they are.
pub(crate) fn name_holder(refusal: Refusal, path: &Path) -> Refusal {
    match refusal {
        Refusal::Unavailable(error) if error.kind == UnavailableKind::Locked => {
            let file = path.display();
            let detail = match holder_of(path) {
                Some(holder) => format!(
                    "{holder} has a write transaction open in {file}; let it commit, or end it"
                ),
                None => format!(
                    "another process has a write transaction open in {file}; `fuser -v {file}` lists who uses it; let it \
                     commit, or end it"
                ),
            };
            Refusal::unavailable(UnavailableKind::Locked, detail)
        }
        refusal => refusal,
    }
}

fn holder_of(path: &Path) -> Option<Holder> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut shared_memory = path.as_os_str().to_owned();
    shared_memory.push("-shm");
    let files: Vec<String> = [path.to_owned(), PathBuf::from(shared_memory)]
        .iter()
        .filter_map(|path| Some(file_of(&std::fs::metadata(path).ok()?)))
        .collect();
    let pid = writer_in(&locks, &files, std::process::id())?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Some(Holder {
        pid,
        name: name.map(|name| name.trim_end().escape_debug().to_string()),
    })
}

/// The file as `/proc/locks` names it: the numbers of its device, and its inode.
fn file_of(file: &std::fs::Metadata) -> String {
    let device = file.dev();
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    format!("{major:02x}:{minor:02x}:{}", file.ino())
}

/// The first process other than `own` with a lock for writing on one of these files.
fn writer_in(locks: &str, files: &[String], own: u32) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        // A line with an arrow is of a process that waits for a lock.
        let (class, _, kind) = (words.next()?, words.next()?, words.next()?);
        let pid: u32 = words.next()?.parse().ok()?;
        let is_ours = files
            .iter()
            .any(|file| Some(file.as_str()) == words.clone().next());
        (class == "POSIX" && kind == "WRITE" && pid != own && is_ours).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_writes_is_found_among_all_locks() {
        let files = ["fd:01:77".to_owned(), "fd:01:78".to_owned()];
        let locks = "1: FLOCK  ADVISORY  WRITE 11 fd:01:77 0 EOF\n\
                     2: POSIX  ADVISORY  READ 12 fd:01:77 1073741826 1073742335\n\
                     3: POSIX  ADVISORY  WRITE 13 fd:01:779 0 EOF\n\
                     4: POSIX  ADVISORY  WRITE 14 fd:01:78 120 120\n\
                     4: -> POSIX  ADVISORY  WRITE 15 fd:01:78 120 120\n\
                     5: POSIX  ADVISORY  WRITE 16 fd:01:78 121 121\n";
        assert_eq!(writer_in(locks, &files, 1), Some(14));
        assert_eq!(writer_in(locks, &files, 14), Some(16), "not this process");
        assert_eq!(
            writer_in(locks, &files[..1], 1),
            None,
            "readers do not count"
        );
        assert_eq!(writer_in("", &files, 1), None);
        assert_eq!(writer_in("1: POSIX\n\n", &files, 1), None);
    }

    #[test]
    fn the_error_names_the_file_and_the_cure_and_other_errors_stay() {
        let path = Path::new("/nowhere/wattpost.db");
        let locked = Refusal::unavailable(UnavailableKind::Locked, "database is locked");
        let said = name_holder(locked, path).into_unavailable().to_string();
        assert!(
            said.contains("/nowhere/wattpost.db") && said.contains("fuser"),
            "{said}"
        );
        let full = Refusal::unavailable(UnavailableKind::Full, "no space");
        assert_eq!(
            name_holder(full, path).into_unavailable().detail,
            "no space"
        );
    }
}
