//! A charger's queue on disk, from which a restarted simulator continues: a file of edits, one JSON object per line.
//!
//! A message is synced before it is first transmitted. The edits that follow (transmitted, done) are written without a
//! sync: if a power cut loses them, the message is sent again.

use crate::charger::{QueueEdit, SavedQueue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};

/// A file with this many edits is rewritten when the queue is empty.
const EDITS_MAX: u64 = 5_000;

/// The queue file of one charger, and its content.
#[derive(Debug)]
pub(crate) struct QueueFile {
    path: PathBuf,
    file: File,
    saved: SavedQueue,
    edits: u64,
}

impl QueueFile {
    /// Opens or creates the queue file of the charger `id` in `dir`.
    pub(crate) fn open(dir: &Path, id: &str) -> io::Result<Self> {
        let name = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let path = dir.join(format!("{name}.queue"));
        let saved = match File::open(&path) {
            Ok(file) => read(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => SavedQueue::default(),
            Err(error) => return Err(error),
        };
        let file = rewrite(&path, &saved)?;
        Ok(Self {
            path,
            file,
            saved,
            edits: 0,
        })
    }

    /// The content.
    pub(crate) const fn saved(&self) -> &SavedQueue {
        &self.saved
    }

    /// Appends `edit`; a push is synced. Blocks.
    pub(crate) fn append(&mut self, edit: QueueEdit) -> io::Result<()> {
        let must_sync = matches!(edit, QueueEdit::Push(..));
        let mut line = serde_json::to_vec(&edit)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        if must_sync {
            self.file.sync_data()?;
        }
        self.saved.apply(edit);
        self.edits += 1;
        if self.edits >= EDITS_MAX && self.saved.queue.is_empty() {
            self.file = rewrite(&self.path, &self.saved)?;
            self.edits = 0;
        }
        Ok(())
    }
}

fn read(mut file: impl io::BufRead) -> io::Result<SavedQueue> {
    let mut saved = SavedQueue::default();
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice(&line) {
            Ok(edit) => saved.apply(edit),
            // The last line is incomplete: it was not synced, so its message was not sent.
            Err(_) if !line.ends_with(b"\n") => break,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        line.clear();
    }
    Ok(saved)
}

/// Replaces the file atomically by the shortest one with the same content.
fn rewrite(path: &Path, saved: &SavedQueue) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&new)?;
    let mut text = serde_json::to_vec(&QueueEdit::Done(0, saved.state.clone()))?;
    text.push(b'\n');
    for message in &saved.queue {
        let edit = QueueEdit::Push(Box::new(message.clone()), saved.state.clone());
        serde_json::to_writer(&mut text, &edit)?;
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charger::{PersistentState, sample_message};

    fn state(last_n: u64) -> PersistentState {
        PersistentState {
            last_n,
            ..PersistentState::default()
        }
    }

    fn push(n: u64) -> QueueEdit {
        QueueEdit::Push(Box::new(sample_message(n)), state(n))
    }

    #[test]
    fn a_queue_is_read_back_after_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = QueueFile::open(dir.path(), "a/b").unwrap();
        for n in 1..=3 {
            queue.append(push(n)).unwrap();
        }
        queue.append(QueueEdit::Done(1, state(3))).unwrap();
        let saved = queue.saved().clone();
        drop(queue);
        for _ in 0..2 {
            let again = QueueFile::open(dir.path(), "a/b").unwrap();
            assert_eq!(*again.saved(), saved);
            assert_eq!(again.saved().queue.len(), 2);
        }
    }

    #[test]
    fn an_incomplete_last_line_is_ignored_and_an_invalid_line_before_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = QueueFile::open(dir.path(), "cp").unwrap();
        queue.append(push(1)).unwrap();
        let whole = fs::read(&queue.path).unwrap();
        queue.append(push(2)).unwrap();
        let path = queue.path.clone();
        let both = fs::read(&path).unwrap();
        drop(queue);
        for cut in whole.len()..both.len() {
            fs::write(&path, &both[..cut]).unwrap();
            let again = QueueFile::open(dir.path(), "cp").unwrap();
            assert_eq!(
                again.saved().queue.len(),
                usize::from(cut == both.len() - 1) + 1
            );
        }
        fs::write(&path, [b"{\n".as_slice(), &whole].concat()).unwrap();
        assert!(QueueFile::open(dir.path(), "cp").is_err());
    }

    #[test]
    fn a_file_with_many_edits_is_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = QueueFile::open(dir.path(), "cp").unwrap();
        queue.edits = EDITS_MAX - 2;
        queue.append(push(1)).unwrap();
        let long = fs::metadata(&queue.path).unwrap().len();
        queue.append(QueueEdit::Done(1, state(1))).unwrap();
        assert!(fs::metadata(&queue.path).unwrap().len() < long);
        queue.append(push(2)).unwrap();
        drop(queue);
        let again = QueueFile::open(dir.path(), "cp").unwrap();
        assert_eq!(again.saved().queue[0].n, 2);
    }
}
