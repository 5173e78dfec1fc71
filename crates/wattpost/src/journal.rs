//! `wattpost journal`: inspects and repairs the journal of a stopped gateway.
//!
//! A record that was damaged on disk stops the delivery of all later ones, because the gateway never skips a record.
//! `salvage` replaces it with the bytes that are left; they become a dead letter with the same record id.

use crate::SettingsArgs;
use crate::data_dir::DataDir;
use crate::journal_extract;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use journal::{DamagedRange, Inspection, LostRecord, OpenError, SalvageError};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Subcommands of `wattpost journal`.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Read the whole journal and print its content and where it is damaged. Changes nothing.
    ///
    /// The gateway (or `serve`) must be stopped: only one process may use a data directory.
    ///
    /// Exit code 0: the gateway can start and deliver all records. Exit code 1: damage prevents that;
    /// each damaged place is listed with file, byte and record numbers, and `wattpost journal salvage`
    /// repairs it. Damage in records that were delivered already is listed too and is harmless.
    ///
    /// Examples:
    ///   wattpost journal inspect
    ///   wattpost journal inspect --data-dir /var/lib/wattpost --json
    #[command(verbatim_doc_comment)]
    Inspect(InspectArgs),
    /// Repair the journal: damaged records become dead letters, all others are delivered.
    ///
    /// The gateway (or `serve`) must be stopped. Without --yes it prints what it would do and changes
    /// nothing.
    ///
    /// Each damaged segment file is rewritten and replaced by a rename: every intact record keeps its
    /// number, and each damaged record is replaced by the bytes that are left of it. The next start
    /// delivers them all; the replacements become dead letters, with file and byte in the reason
    /// (`wattpost deadletters list --json` prints the bytes). A run that was killed can be repeated. It
    /// needs free disk space for one segment (`journal.segment_bytes`). To keep the damaged files, copy
    /// the journal directory first.
    ///
    /// Exit code 0: repaired, or nothing to repair. Exit code 1: the journal is (still) damaged.
    ///
    /// Examples:
    ///   wattpost journal salvage
    ///   wattpost journal salvage --yes
    ///   wattpost journal salvage --out left.ndjson
    #[command(verbatim_doc_comment)]
    Salvage(SalvageArgs),
}

/// Flags of `journal inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print one JSON object with all details
    #[arg(long)]
    json: bool,
}

/// Flags of `journal salvage`.
#[derive(Debug, Args)]
pub(crate) struct SalvageArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Repair; without this flag nothing is changed
    #[arg(long)]
    yes: bool,
    /// Also write the undelivered records that can be read, and which bytes cannot, to this new file, before anything is
    /// changed: one JSON object a line
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The exit code tells whether the journal is damaged.
pub(crate) fn run(command: &JournalCommand) -> Result<ExitCode> {
    match command {
        JournalCommand::Inspect(args) => inspect(args),
        JournalCommand::Salvage(args) => salvage(args),
    }
}

fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let dir = directory(&args.settings)?;
    let inspection = examine(&dir)?;
    let report = Report::of(dir, &inspection);
    if args.json {
        print_line!("{}", serde_json::to_string(&report).context("write JSON")?);
    } else {
        print_line!("{}", report.text().trim_end());
        if !inspection.is_intact() {
            print_line!(
                "`wattpost journal salvage` prints how it would repair the journal; with --yes it does."
            );
        }
    }
    Ok(exit_code(inspection.is_intact()))
}

fn salvage(args: &SalvageArgs) -> Result<ExitCode> {
    let dir = directory(&args.settings)?;
    if let Some(out) = &args.out {
        let data = DataDir::existing(&args.settings.load()?.data_dir)?;
        let gateway = data.and_then(|data| data.known_gateway_id().ok().flatten());
        let found = journal_extract::write(&dir, gateway, out)?.map_err(explained)?;
        print_line!(
            "{} has {} undelivered records that can be read",
            out.display(),
            found.undelivered()
        );
    }
    let inspection = if args.yes {
        journal::salvage(&dir, replacement).map_err(|error| match error {
            SalvageError::Open(error) => explained(error),
            SalvageError::Unrepairable(_) => error.into(),
            SalvageError::Io { .. } => anyhow::Error::from(error).context(
                "the journal was salvaged only in part; nothing is lost, run it again once the cause is fixed",
            ),
        })?
    } else {
        examine(&dir)?
    };
    let sound = inspection.is_intact();
    if sound {
        print_line!("the journal in {} is sound; nothing to do", dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    for place in inspection.blocking_damage() {
        print_line!("{}", words(place));
    }
    for file in &inspection.unusable {
        print_line!(
            "{}: an unused segment without records; it is removed",
            file.display()
        );
    }
    for damage in &inspection.unrepairable {
        print_line!("{damage}");
    }
    let lost: u64 = inspection.blocking_damage().filter_map(lost_records).sum();
    if args.yes {
        print_line!(
            "salvaged: {lost} records cannot be read and become dead letters at the next start, {} are \
             delivered",
            inspection.undelivered()
        );
        return Ok(ExitCode::SUCCESS);
    }
    print_line!(
        "nothing was changed; after a run with --yes, {lost} records that cannot be read become dead letters at the \
         next start, and {} are delivered",
        inspection.undelivered()
    );
    Ok(ExitCode::FAILURE)
}

fn exit_code(is_sound: bool) -> ExitCode {
    match is_sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn directory(settings: &SettingsArgs) -> Result<PathBuf> {
    let settings = settings.load()?;
    let journal = DataDir::existing(&settings.data_dir)?.map(|data| data.journal());
    match journal.filter(|journal| journal.is_dir()) {
        Some(journal) => Ok(journal),
        None => bail!(
            "there is no journal in data_dir, which is {}; set the data directory of the gateway with \
             --data-dir or data_dir",
            settings.data_dir.display()
        ),
    }
}

fn examine(dir: &std::path::Path) -> Result<Inspection> {
    journal::inspect(dir).map_err(explained)
}

fn explained(error: OpenError) -> anyhow::Error {
    let is_in_use = matches!(error, OpenError::InUse { .. });
    let error = anyhow::Error::from(error);
    if is_in_use {
        return error.context("the gateway runs; stop it first");
    }
    error
}

/// The record that replaces a damaged one.
fn replacement(lost: &LostRecord<'_>) -> Vec<u8> {
    let name = lost.range.file.file_name().unwrap_or_default();
    let reason = format!(
        "record {} was damaged in the journal: {} at byte {} of {}; {} bytes of it are left",
        lost.seq,
        lost.range.what,
        lost.offset,
        name.to_string_lossy(),
        lost.bytes.len()
    );
    central::record::lost(&reason, lost.bytes)
}

fn lost_records(place: &DamagedRange) -> Option<u64> {
    place.lost.map(|(first, last)| last + 1 - first)
}

fn words(place: &DamagedRange) -> String {
    let lost = match place.lost {
        None => "no record is lost".to_owned(),
        Some((first, last)) if first == last => format!("record {first} cannot be read"),
        Some((first, last)) => format!("records {first} to {last} cannot be read"),
    };
    format!(
        "{} at byte {}, {} bytes: {}; {lost}",
        place.file.display(),
        place.offset,
        place.length,
        place.what
    )
}

/// The output of `journal inspect`; with `--json` as it is.
#[derive(Debug, Serialize)]
struct Report {
    directory: PathBuf,
    /// Records up to this number are delivered.
    cursor: u64,
    /// Intact records that are not delivered.
    waiting_records: u64,
    /// Whether the gateway can start and deliver all records.
    sound: bool,
    segments: Vec<SegmentReport>,
    damage: Vec<PlaceReport>,
    useless_files: Vec<PathBuf>,
    /// Damage that `salvage` cannot repair, each as a sentence with the remedy.
    beyond_salvage: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SegmentReport {
    file: PathBuf,
    first_seq: u64,
    last_seq: u64,
    records: u64,
    delivered: bool,
}

#[derive(Debug, Serialize)]
struct PlaceReport {
    file: PathBuf,
    byte: u64,
    length: u64,
    first_lost_seq: Option<u64>,
    last_lost_seq: Option<u64>,
    what: &'static str,
    /// Whether it prevents the start or the delivery; if not, its whole segment is delivered.
    holds_up: bool,
    #[serde(skip)]
    words: String,
}

impl Report {
    fn of(directory: PathBuf, inspection: &Inspection) -> Self {
        let segments = inspection.segments.iter().map(|segment| SegmentReport {
            file: segment.file.clone(),
            first_seq: segment.first_seq,
            last_seq: segment.last_seq,
            records: segment.records,
            delivered: segment.last_seq <= inspection.cursor,
        });
        let damage = inspection.segments.iter().flat_map(|segment| {
            let holds_up = segment.blocks_delivery(inspection.cursor);
            segment.damage.iter().map(move |place| PlaceReport {
                file: place.file.clone(),
                byte: place.offset,
                length: place.length,
                first_lost_seq: place.lost.map(|(first, _)| first),
                last_lost_seq: place.lost.map(|(_, last)| last),
                what: place.what,
                holds_up,
                words: words(place),
            })
        });
        Self {
            directory,
            cursor: inspection.cursor,
            waiting_records: inspection.undelivered(),
            sound: inspection.is_intact(),
            segments: segments.collect(),
            damage: damage.collect(),
            useless_files: inspection.unusable.clone(),
            beyond_salvage: inspection
                .unrepairable
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "journal in {}: delivered up to record {}, {} records wait\n",
            self.directory.display(),
            self.cursor,
            self.waiting_records
        );
        for segment in &self.segments {
            let name = segment.file.file_name().unwrap_or_default();
            text.push_str(&format!(
                "  {}  records {} to {}, {} intact{}\n",
                name.to_string_lossy(),
                segment.first_seq,
                segment.last_seq,
                segment.records,
                if segment.delivered { ", delivered" } else { "" }
            ));
        }
        for place in &self.damage {
            let note = match place.holds_up {
                true => "damaged",
                false => "damaged, but delivered already, so harmless",
            };
            text.push_str(&format!("{note}: {}\n", place.words));
        }
        for file in &self.useless_files {
            text.push_str(&format!(
                "damaged: {}: an unused segment without records\n",
                file.display()
            ));
        }
        for sentence in &self.beyond_salvage {
            text.push_str(&format!("beyond salvage: {sentence}\n"));
        }
        if self.sound && self.damage.is_empty() {
            text.push_str("no damage\n");
        }
        text
    }
}
