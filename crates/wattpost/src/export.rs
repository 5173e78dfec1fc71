//! `wattpost export`: messages, transactions and connectors from the database, as NDJSON or CSV. It may run while `serve` runs,
//! because reading never blocks the writer.
//!
//! Rows are written as they are read, page by page, so an export may be larger than memory. If the reader closes
//! the pipe (`| head`), the export ends without an error.

pub(crate) mod progress;
mod rows;

use crate::SettingsArgs;
use crate::database::{self, Use};
use anyhow::{Context, Result, bail};
use central::query::parameters;
use central::query::{MessageFilter, QueryStore, TransactionFilter};
use central::{RecordKind, Timestamp};
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use progress::Progress;
use rows::Ended;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Subcommands of `wattpost export`.
#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Export every message with its answer, in the order in which they were recorded.
    #[command(after_help = MESSAGES_HELP)]
    Messages(MessagesArgs),
    /// Export every transaction, the latest started first.
    #[command(after_help = TRANSACTIONS_HELP)]
    Transactions(TransactionsArgs),
    /// Export every connector with its status, by charger.
    #[command(after_help = CONNECTORS_HELP)]
    Connectors(ConnectorsArgs),
}

const MESSAGES_HELP: &str = "\
Members (NDJSON) and columns (CSV):
  record_id, charger_id, ocpp_version, direction, kind, message_id, action, payload, answer,
  received_at, gateway_id, seq, notes, reason
In CSV, payload and answer are JSON text, and notes are separated by spaces.";

const TRANSACTIONS_HELP: &str = "\
Members (NDJSON) and columns (CSV):
  key, charger_id, transaction_id, ocpp_version, evse, connector, id_token, token_type, verdict,
  started_at, ended_at, open, last_at, meter_start_wh, meter_stop_wh, energy_wh, energy_confidence,
  energy_from, energy_to, checks, power_w, soc_percent, charging_state, stop_reason, remote_start_id,
  reservation_id, offline, missing_seq, conflicting_stops, closed
In CSV, an unknown value is empty, missing_seq is written as 3-5 9-9, checks are their codes, separated
by spaces, and closed is superseded or person. Bill energy_wh where energy_confidence is final, and check the rest first.";

const CONNECTORS_HELP: &str = "\
Members (NDJSON) and columns (CSV):
  charger_id, evse, connector, status, since, unknown_reason, last_status, last_status_at,
  error_code, info, vendor_error_code
status is Unknown unless the charger has reported it on its present connection; last_status is what it
reported last.";

/// Flags of `wattpost export messages`.
#[derive(Debug, Args)]
pub(crate) struct MessagesArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Only messages of this charger
    #[arg(long, value_name = "IDENTITY", value_parser = NonEmptyStringValueParser::new())]
    charger: Option<String>,
    /// Only messages with this OCPP action, such as MeterValues; letter case is ignored
    #[arg(long, value_parser = read_action)]
    action: Option<String>,
    /// Only records of this kind
    #[arg(long, value_parser = kinds())]
    kind: Option<RecordKind>,
    /// Only messages received at this time or later, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    from: Option<Timestamp>,
    /// Only messages received before this time
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
    /// Only transactions of this charger
    #[arg(long, value_name = "IDENTITY", value_parser = NonEmptyStringValueParser::new())]
    charger: Option<String>,
    /// Only open or only ended transactions
    #[arg(long)]
    state: Option<State>,
    /// Only transactions started at this time or later, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    from: Option<Timestamp>,
    /// Only transactions started before this time
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    to: Option<Timestamp>,
}

/// Flags of `wattpost export connectors`.
#[derive(Debug, Args)]
pub(crate) struct ConnectorsArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Only connectors of this charger
    #[arg(long, value_name = "IDENTITY", value_parser = NonEmptyStringValueParser::new())]
    charger: Option<String>,
}

/// Where the export is written, and in which format.
#[derive(Debug, Args)]
struct OutputArgs {
    /// ndjson: one JSON object per line; csv: RFC 4180 with a header line
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Write to this file instead of stdout; the file is created only if the export is complete
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// CSV: do not put a ' before text that a spreadsheet would run as a formula (it begins with =, +, -, @)
    #[arg(long)]
    raw: bool,
    /// No progress on stderr
    #[arg(long, short)]
    quiet: bool,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object per line.
    Ndjson,
    /// A header line, then one line per row.
    Csv,
}

/// The format of an export with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object per line.
    Ndjson,
    /// A header line, then one line per row.
    Csv {
        /// Whether text that a spreadsheet would run as a formula gets a `'` before it.
        escape_formulas: bool,
    },
}

/// The values of `--state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// No end has arrived.
    Open,
    /// Its end has arrived.
    Ended,
}

/// Succeeds also if the reader closed the pipe.
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
            let progress = Progress::on_stderr("exported", "messages", args.output.quiet);
            let count = || database.count_messages(&filter).ok();
            args.output.write(|form, out| {
                progress.during(count, |done| {
                    rows::messages(&*database, &filter, form, out, done)
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
            let progress = Progress::on_stderr("exported", "transactions", args.output.quiet);
            let count = || database.count_transactions(&filter).ok();
            args.output.write(|form, out| {
                progress.during(count, |done| {
                    rows::transactions(&*database, &filter, form, out, done)
                })
            })
        }
        ExportCommand::Connectors(args) => {
            let database = database::open(&args.settings.load()?, Use::Read)?.queries;
            let progress = Progress::on_stderr("exported", "connectors", args.output.quiet);
            let charger = args.charger.as_deref();
            args.output.write(|form, out| {
                progress.during(
                    || None,
                    |done| rows::connectors(&*database, charger, form, out, done),
                )
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
pub(crate) fn all_messages(store: &dyn QueryStore, out: &mut dyn Write) -> Result<()> {
    let filter = MessageFilter::default();
    let ended = rows::messages(store, &filter, Form::Ndjson, out, &mut |_| ())?;
    must_be_complete(ended)
}

/// All transactions as NDJSON.
pub(crate) fn all_transactions(store: &dyn QueryStore, out: &mut dyn Write) -> Result<()> {
    let filter = TransactionFilter::default();
    let ended = rows::transactions(store, &filter, Form::Ndjson, out, &mut |_| ())?;
    must_be_complete(ended)
}

fn must_be_complete(ended: Ended) -> Result<()> {
    match ended {
        Ended::Complete => Ok(()),
        Ended::ReaderClosed => bail!("the reader of the export closed the pipe"),
    }
}

impl OutputArgs {
    fn form(&self) -> Form {
        match self.format {
            Format::Ndjson => Form::Ndjson,
            Format::Csv => Form::Csv {
                escape_formulas: !self.raw,
            },
        }
    }

    /// Opens the output and passes it to `export`.
    fn write(&self, export: impl FnOnce(Form, &mut dyn Write) -> Result<Ended>) -> Result<()> {
        let Some(path) = &self.output else {
            export(self.form(), &mut io::stdout().lock())?;
            return Ok(());
        };
        // A pipe or a device is written to directly.
        let is_regular = fs::metadata(path).map_or(true, |found| found.is_file());
        let target = if is_regular {
            partial(path)
        } else {
            path.clone()
        };
        let mut file =
            File::create(&target).with_context(|| format!("write {}", target.display()))?;
        let written = export(self.form(), &mut file);
        let written = written.and_then(|_| match is_regular {
            true => fs::rename(&target, path).with_context(|| format!("write {}", path.display())),
            false => Ok(()),
        });
        if written.is_err() && is_regular {
            // The error of the export is reported, not this one.
            let _ = fs::remove_file(&target);
        }
        written
    }
}

/// The name of a file that is not complete yet.
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
    parameters::time(text).ok_or_else(|| format!("it must be {}", parameters::TIME_EXPECTED))
}

fn read_action(text: &str) -> Result<String, String> {
    let action = parameters::action(text).map(str::to_owned);
    action.ok_or_else(|| format!("it must be {}", parameters::ACTION_EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::memory::MemoryRows;
    use central::memory::sample::{START, message};
    use central::ports::{Unavailable, UnavailableKind};

    #[test]
    fn times_are_parsed() {
        assert_eq!(read_time("2026-01-01T00:00:00Z"), Ok(Timestamp(START)));
        assert_eq!(read_time("2026-01-01T01:00:00+01:00"), Ok(Timestamp(START)));
        assert_eq!(read_time("1767225600000"), Ok(Timestamp(START)));
        assert!(read_time("yesterday").is_err());
    }

    fn output(path: &Path) -> OutputArgs {
        OutputArgs {
            format: Format::Ndjson,
            raw: false,
            output: Some(path.to_owned()),
            quiet: true,
        }
    }

    #[test]
    fn file_is_created_only_if_the_export_is_complete() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("export.ndjson");
        let rows = MemoryRows {
            messages: (1..=5)
                .map(|seq| message("CP-1", seq, "Heartbeat"))
                .collect(),
            ..MemoryRows::default()
        };
        let export = |rows: &MemoryRows| {
            let filter = MessageFilter::default();
            output(&path).write(|form, out| {
                assert!(!path.exists(), "the export is not complete yet");
                rows::messages(rows, &filter, form, out, &mut |_| ())
            })
        };
        let unavailable = MemoryRows {
            before_query: Some(Box::new(|_| {
                Err(Unavailable {
                    component: "database",
                    kind: UnavailableKind::Locked,
                    detail: "by the test".to_owned(),
                })
            })),
            ..MemoryRows::default()
        };
        assert!(export(&unavailable).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 0);

        export(&rows).expect("exported");
        let text = fs::read_to_string(&path).expect("read");
        assert_eq!(text.lines().count(), 5);
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1);
    }
}
