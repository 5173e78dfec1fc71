//! `wattpost journal`: a look at what waits in a gateway's journal, and the way on when a part of it is damaged.

use crate::SettingsArgs;
use crate::data_dir::DataDir;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use journal::{DamagedPlace, Inspection};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Show the segments, what waits to be delivered, and whether any of it is damaged.
    ///
    /// Changes nothing. The gateway must be stopped. Exit code 0: nothing is damaged; 2: something is; 1: the
    /// journal could not be looked at.
    Inspect(InspectArgs),
    /// Make a damaged journal deliverable again: damaged records become dead letters, all others are delivered.
    ///
    /// A record that rotted on disk before it was delivered stops the delivery of everything behind it. Salvaging
    /// puts what is left of each damaged record in its place, under its own number; at the next start it is
    /// stored as a dead letter (`wattpost deadletters list`), and all records behind it are delivered. The
    /// damaged bytes are also kept as files in `salvaged` of the data directory. Nothing else changes. The gateway must be
    /// stopped. It may be interrupted and run again.
    ///
    /// Examples:
    ///   wattpost journal inspect --data-dir /var/lib/wattpost
    ///   wattpost journal salvage --data-dir /var/lib/wattpost
    #[command(verbatim_doc_comment)]
    Salvage(SalvageArgs),
}

/// Flags of `journal inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Flags of `journal salvage`.
#[derive(Debug, Args)]
pub(crate) struct SalvageArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Exit code when damage was found.
const DAMAGED: u8 = 2;

/// Does it.
pub(crate) fn run(command: &JournalCommand) -> Result<ExitCode> {
    match command {
        JournalCommand::Inspect(args) => {
            let found = journal::inspect(&directory(&args.settings)?.journal())?;
            if args.json {
                println!("{}", as_json(&found));
            } else {
                show(&found);
            }
            Ok(exit_code(&found))
        }
        JournalCommand::Salvage(args) => salvage(args),
    }
}

fn directory(settings: &SettingsArgs) -> Result<DataDir> {
    let path = settings.load()?.data_dir;
    match DataDir::existing(&path)? {
        Some(dir) if dir.journal().is_dir() => Ok(dir),
        _ => bail!(
            "there is no journal in {}; name the gateway's data directory with --data-dir",
            path.display()
        ),
    }
}

fn salvage(args: &SalvageArgs) -> Result<ExitCode> {
    let dir = directory(&args.settings)?;
    let kept_in = dir.salvaged();
    if args.dry_run {
        let found = journal::inspect(&dir.journal())?;
        show(&found);
        return Ok(exit_code(&found));
    }
    let mut keep =
        |segment: &str, offset: u64, bytes: &[u8]| keep(&kept_in, segment, offset, bytes);
    let found = journal::salvage(&dir.journal(), &mut keep)?;
    for place in &found.damaged {
        println!("{place}");
    }
    let records: u64 = found.damaged.iter().map(DamagedPlace::records).sum();
    if records == 0 {
        println!("nothing is damaged; {} records wait", found.waiting());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "salvaged: {records} damaged records become dead letters at the next start, {} others wait and are delivered; \
         the damaged bytes are also in {}",
        found.waiting() - records.min(found.waiting()),
        kept_in.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Keeps damaged bytes in a file of their own, certain before this returns. A run that was interrupted has kept
/// them already: what is there stays, because it may be nearer to the original.
fn keep(kept_in: &Path, segment: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(kept_in)?;
    let path: PathBuf = kept_in.join(format!("{segment}-at-{offset}"));
    let made = File::options().write(true).create_new(true).open(&path);
    let mut file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let after = kept_in.join(format!("{segment}-at-{offset}-again"));
            File::create(after)?
        }
        Err(error) => return Err(error),
    };
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(kept_in)?.sync_all()?;
    match kept_in.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn show(found: &Inspection) {
    for segment in &found.segments {
        println!(
            "{}  records {} to {}  {} B{}",
            segment.file.display(),
            segment.first_seq,
            segment.last_seq,
            segment.bytes,
            if segment.is_sealed {
                ""
            } else {
                "  (the last)"
            }
        );
    }
    println!(
        "delivered up to record {}, {} records wait",
        found.cursor,
        found.waiting()
    );
    for place in &found.damaged {
        println!("damaged: {place}");
    }
    if found.damaged.is_empty() {
        println!("nothing that waits is damaged");
    } else {
        println!(
            "nothing behind the first of these is delivered; `wattpost journal salvage` keeps them as dead letters \
             and lets all others be delivered"
        );
    }
}

fn as_json(found: &Inspection) -> serde_json::Value {
    let segments: Vec<_> = found
        .segments
        .iter()
        .map(|segment| {
            serde_json::json!({
                "file": segment.file,
                "first_seq": segment.first_seq,
                "last_seq": segment.last_seq,
                "bytes": segment.bytes,
                "sealed": segment.is_sealed,
            })
        })
        .collect();
    let damaged: Vec<_> = found
        .damaged
        .iter()
        .map(|place| {
            serde_json::json!({
                "file": place.file,
                "offset": place.offset,
                "bytes": place.bytes,
                "first_seq": place.first_seq,
                "last_seq": place.last_seq,
                "what": place.what,
            })
        })
        .collect();
    serde_json::json!({
        "cursor": found.cursor,
        "last_seq": found.last_seq,
        "waiting": found.waiting(),
        "segments": segments,
        "damaged": damaged,
    })
}

fn exit_code(found: &Inspection) -> ExitCode {
    if found.damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_salvaging_leaves_is_what_the_consumer_takes_for_a_dead_letter() {
        assert_eq!(journal::REMNANT, central::record::REMNANT);
        let error = central::Record::decode(&[journal::REMNANT, 1, 2]);
        assert_eq!(error, Err(central::record::DecodeError::Remnant));
    }

    #[test]
    fn damaged_bytes_are_kept_once_more_beside_what_an_earlier_run_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let kept_in = dir.path().join("salvaged");
        for bytes in [b"first", b"again"] {
            keep(&kept_in, "segment-1", 8_192, bytes).expect("keeps");
        }
        let read = |name: &str| std::fs::read(kept_in.join(name)).expect("is there");
        assert_eq!(read("segment-1-at-8192"), b"first");
        assert_eq!(read("segment-1-at-8192-again"), b"again");
    }
}
