//! Flips a bit on the gateway's disk, in a record that was acknowledged and not delivered yet.

use anyhow::{Context, Result, bail, ensure};
use central::{Record, RecordKind};
use journal::Journal;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The least number of undelivered records: there must be others before and after the damaged one.
const UNDELIVERED_MIN: u64 = 100;

/// Flips one bit of a `MeterValues` record in the middle of the undelivered ones; returns its number. The gateway must
/// be stopped.
///
/// # Errors
/// When too few records are undelivered, or the journal cannot be read or written.
pub(super) fn damage_one_record(dir: &Path, options: journal::Options) -> Result<u64> {
    let (seq, bytes) = {
        let (journal, _) = Journal::open(dir, options)
            .with_context(|| format!("open the journal in {}", dir.display()))?;
        let chosen = choose(&journal);
        journal.close().context("close the journal")?;
        chosen?
    };
    flip(dir, &bytes)?;
    Ok(seq)
}

fn choose(journal: &Journal) -> Result<(u64, Vec<u8>)> {
    let (cursor, durable) = (journal.cursor(), journal.durable_seq());
    ensure!(
        durable - cursor >= UNDELIVERED_MIN,
        "only {} records wait in the journal",
        durable - cursor
    );
    let mut reader = journal.reader(cursor + (durable - cursor) / 2);
    let mut chosen = None;
    while chosen.is_none() {
        let read = reader.read(64, 1 << 20, |seq, bytes| {
            let is_meter_values = Record::decode(bytes).is_ok_and(|record| {
                record.kind == RecordKind::Call && record.action == "MeterValues"
            });
            if is_meter_values && chosen.is_none() {
                chosen = Some((seq, bytes.to_vec()));
            }
        })?;
        if read == 0 {
            break;
        }
    }
    chosen.context("no MeterValues record waits in the journal")
}

/// Finds these bytes in the journal's files, and flips a bit in the middle of them.
fn flip(dir: &Path, bytes: &[u8]) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        let whole = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let Some(at) = find(&whole, bytes) else {
            continue;
        };
        let at = at + bytes.len() / 2;
        let file = OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(&[whole[at] ^ 1], at as u64)?;
        file.sync_all()?;
        return Ok(());
    }
    bail!("no file in {} contains the record", dir.display());
}

fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    let mut positions = (0..whole.len().saturating_sub(part.len() - 1))
        .filter(|at| whole[*at] == part[0] && whole[*at..].starts_with(part));
    positions.next()
}
