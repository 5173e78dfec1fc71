//! The files in the data directory that outlive a restart without the database. They hold password hashes.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How long ago a file was written; zero if the clock was set back since.
pub(super) fn age_of(file: &Path) -> Duration {
    let written = std::fs::metadata(file).and_then(|about| about.modified());
    written
        .ok()
        .and_then(|written| written.elapsed().ok())
        .unwrap_or_default()
}

/// Replaces the file so that after a power cut either the old or the new one is there, complete. Only its owner may
/// read it: it holds password hashes.
pub(super) fn write_atomically(
    file: &Path,
    snapshot: &impl serde::Serialize,
) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let bytes = serde_json::to_vec(snapshot)?;
    let temporary = file.with_extension("json.new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    out.write_all(&bytes)?;
    out.sync_all()?;
    std::fs::rename(&temporary, file)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}
