//! `wattpost export`: messages and transactions out of the ledger, as NDJSON or CSV; also while
//! `serve` runs, because reading never holds up the one who writes.
//!
//! Rows go out as they are read, a page at a time, so an export may be larger than memory. A reader
//! that goes away (`| head`) ends it quietly.

#[cfg(test)]
mod fake_ledger;
mod progress;
mod rows;

use crate::SettingsArgs;
use crate::database::{self, Use};
use anyhow::{Context, Result, bail};
use central::query::{MessageFilter, QueryStore, TransactionFilter};
use central::{RecordKind, Timestamp};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use progress::Progress;
use rows::Ended;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to export.
#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Every message as it was spoken, with our answer, in the order in which it was recorded.
    #[command(after_help = MESSAGES_HELP)]
    Messages(MessagesArgs),
    /// Every transaction, the latest begun first.
    #[command(after_help = TRANSACTIONS_HELP)]
    Transactions(TransactionsArgs),
}

const MESSAGES_HELP: &str = "\
Members (NDJSON) and columns (CSV):
  record_id, charger_id, ocpp_version, direction, kind, message_id, action, payload, answer,
  received_at, gateway_id, seq, notes, reason
In CSV, payload and answer are the JSON text, and notes are separated by blanks.";

const TRANSACTIONS_HELP: &str = "\
Members (NDJSON) and columns (CSV):
  key, charger_id, transaction_id, ocpp_version, evse, connector, id_token, token_type, verdict,
  started_at, ended_at, open, last_at, meter_start_wh, meter_stop_wh, energy_wh, power_w,
  soc_percent, charging_state, stop_reason, remote_start_id, reservation_id, offline, missing_seq,
  conflicting_stops
In CSV, what is not known is empty, and missing_seq reads 3-5 9-9.";

/// Flags of `wattpost export messages`.
#[derive(Debug, Args)]
pub(crate) struct MessagesArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Only this charger's
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// Only this action, as OCPP spells it
    #[arg(long)]
    action: Option<String>,
    /// Only this kind
    #[arg(long, value_parser = kinds())]
    kind: Option<RecordKind>,
    /// Only those received at or after, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    from: Option<Timestamp>,
    /// Only those received before
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    to: Option<Timestamp>,
}

/// Flags of `wattpost export transactions`.
#[derive(Debug, Args)]
pub(crate) struct TransactionsArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Only this charger's
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// Only those that run, or that have ended
    #[arg(long)]
    state: Option<State>,
    /// Only those begun at or after, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    from: Option<Timestamp>,
    /// Only those begun before
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    to: Option<Timestamp>,
}

/// Where it goes and in which form.
#[derive(Debug, Args)]
struct OutputArgs {
    /// ndjson: one JSON object a line; csv: a header line, then a row each (RFC 4180)
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Write to this file instead of stdout; it appears whole or not at all
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long, short)]
    quiet: bool,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// A header line, then a row each.
    Csv,
}

/// How a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// No end has arrived.
    Open,
    /// Its end has arrived.
    Ended,
}

/// Exports; success also when the reader had enough.
pub(crate) fn run(command: &ExportCommand) -> Result<ExitCode> {
    match command {
        ExportCommand::Messages(args) => {
            let filter = MessageFilter {
                charger: args.charger.clone(),
                action: args.action.clone(),
                kind: args.kind,
                from: args.from,
                to: args.to,
            };
            check_span(args.from, args.to)?;
            let database = database::open(&args.settings.load()?, Use::Read)?.queries;
            let progress = Progress::on_stderr("messages", args.output.quiet);
            let count = || database.count_messages(&filter).ok();
            args.output.write(|format, out| {
                progress.during(count, |done| {
                    rows::messages(&*database, &filter, format, out, done)
                })
            })
        }
        ExportCommand::Transactions(args) => {
            let filter = TransactionFilter {
                charger: args.charger.clone(),
                open: args.state.map(|state| state == State::Open),
                from: args.from,
                to: args.to,
            };
            check_span(args.from, args.to)?;
            let database = database::open(&args.settings.load()?, Use::Read)?.queries;
            let progress = Progress::on_stderr("transactions", args.output.quiet);
            let count = || database.count_transactions(&filter).ok();
            args.output.write(|format, out| {
                progress.during(count, |done| {
                    rows::transactions(&*database, &filter, format, out, done)
                })
            })
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

fn check_span(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<()> {
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        bail!("--to is {to}; it must not be before --from, which is {from}");
    }
    Ok(())
}

/// All messages as NDJSON.
pub(crate) fn all_messages(ledger: &dyn QueryStore, out: &mut dyn Write) -> Result<()> {
    let filter = MessageFilter::default();
    let ended = rows::messages(ledger, &filter, Format::Ndjson, out, &mut |_| ())?;
    whole(ended)
}

/// All transactions as NDJSON.
pub(crate) fn all_transactions(ledger: &dyn QueryStore, out: &mut dyn Write) -> Result<()> {
    let filter = TransactionFilter::default();
    let ended = rows::transactions(ledger, &filter, Format::Ndjson, out, &mut |_| ())?;
    whole(ended)
}

fn whole(ended: Ended) -> Result<()> {
    match ended {
        Ended::Whole => Ok(()),
        Ended::ReaderGone => bail!("the reader of the export went away"),
    }
}

impl OutputArgs {
    /// Opens the output and has `export` write to it.
    fn write(&self, export: impl FnOnce(Format, &mut dyn Write) -> Result<Ended>) -> Result<()> {
        let Some(path) = &self.output else {
            export(self.format, &mut io::stdout().lock())?;
            return Ok(());
        };
        // What is there already and no plain file (a pipe, a device) is written to as it is.
        let replaces = fs::metadata(path).map_or(true, |found| found.is_file());
        let beside = if replaces {
            partial(path)
        } else {
            path.clone()
        };
        let mut file =
            File::create(&beside).with_context(|| format!("write {}", beside.display()))?;
        let written = export(self.format, &mut file);
        let written = written.and_then(|_| match replaces {
            true => fs::rename(&beside, path).with_context(|| format!("write {}", path.display())),
            false => Ok(()),
        });
        if written.is_err() && replaces {
            // Best effort: what matters is the error that is reported.
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

/// The name that a file has while it is not whole.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Accepts the name of a kind.
fn kinds() -> impl TypedValueParser<Value = RecordKind> {
    PossibleValuesParser::new(RecordKind::ALL.map(RecordKind::as_str))
        .try_map(|name| RecordKind::from_name(&name).ok_or("unknown kind"))
}

fn read_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(millis) = text.parse() {
        return Ok(Timestamp(millis));
    }
    let Some((at, _)) = ocpp::timestamp::read(text) else {
        return Err(
            "it must be a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970-01-01 UTC"
                .to_owned(),
        );
    };
    Ok(at.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fake_ledger::{FakeLedger, START, message};

    #[test]
    fn times_are_read() {
        assert_eq!(read_time("2026-01-01T00:00:00Z"), Ok(Timestamp(START)));
        assert_eq!(read_time("2026-01-01T01:00:00+01:00"), Ok(Timestamp(START)));
        assert_eq!(read_time("1767225600000"), Ok(Timestamp(START)));
        assert!(read_time("yesterday").is_err());
    }

    fn output(path: &Path) -> OutputArgs {
        OutputArgs {
            format: Format::Ndjson,
            output: Some(path.to_owned()),
            quiet: true,
        }
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("export.ndjson");
        let ledger = FakeLedger {
            messages: (1..=5).map(|seq| message("CP-1", seq)).collect(),
            ..FakeLedger::default()
        };
        let export = |ledger: &FakeLedger| {
            let filter = MessageFilter::default();
            output(&path).write(|format, out| {
                assert!(!path.exists(), "not before it is whole");
                rows::messages(ledger, &filter, format, out, &mut |_| ())
            })
        };
        let broken = FakeLedger {
            refused_from: Some(0),
            ..FakeLedger::default()
        };
        assert!(export(&broken).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 0);

        export(&ledger).expect("exported");
        let text = fs::read_to_string(&path).expect("read");
        assert_eq!(text.lines().count(), 5);
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1);
    }
}
