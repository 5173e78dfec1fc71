//! `wattpost replay`: builds a new database from the records of another, or of an export.
//!
//! Its uses: a better projection over old records, moving between SQLite and PostgreSQL, and a proof that the state
//! follows from the records.

use crate::SettingsArgs;
use crate::config::{DatabaseAt, Settings};
use crate::database::{self, Use};
use crate::export::progress::{Progress, grouped};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::RecordId;
use central::model::MessageRow;
use central::query::MessageFilter;
use clap::Args;
use consumer::{ReplayError, ReplaySource, ReplayTarget, Replayed};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use store::PostgresStore;

/// Flags of `wattpost replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The new database: `postgres://USER:PASSWORD@HOST/NAME` (of the owner of its tables) or `sqlite:PATH`. It
    /// must be empty; its tables are created
    #[arg(long, value_name = "URL")]
    to: String,
    /// Read the records from this file of `wattpost export messages` (- is stdin), and not from the database
    /// that the settings name. Nothing but records is in such a file
    #[arg(long, value_name = "FILE")]
    from_export: Option<PathBuf>,
    /// Continue a replay that was interrupted
    #[arg(long = "continue")]
    continued: bool,
    /// No progress on stderr
    #[arg(long, short)]
    quiet: bool,
}

/// Prints what was replayed, copied and could not be rebuilt.
pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    let began = Instant::now();
    let settings = args.settings.load()?;
    let to = target(&settings, &args.to)?;
    if args.from_export.is_none() {
        must_differ(&settings, &to)?;
    }
    // Before the target is created, so that a mistake in the source leaves nothing behind.
    let source = match &args.from_export {
        Some(_) => None,
        None => Some(database::open(&settings, Use::Read)?),
    };
    if let Some(source) = &source
        && source.event_log.queued_events()? > 0
    {
        let writable = database::open(&settings, Use::Change)?;
        consumer::empty_queue(&*writable.event_log).context(
            "events wait in the queue of the source, and would not be in the new database; give the source's \
             settings a role that may write, or let a running process move them",
        )?;
    }
    if let DatabaseAt::Postgres(url) = to.database_at()? {
        PostgresStore::migrate(url).context("create the tables of the new database")?;
    }
    let target = database::open(&to, Use::Change).context("open the new database")?;
    let ports = ReplayTarget {
        store: &*target.store,
        transfer: &*target.transfer,
    };
    let progress = Progress::on_stderr("replayed", "messages", args.quiet);
    let replayed = match (&source, &args.from_export) {
        (Some(source), _) => {
            let from = ReplaySource {
                queries: &*source.queries,
                dead_letters: &*source.dead_letters,
                transfer: &*source.transfer,
            };
            let all = MessageFilter::default();
            progress.during(
                || source.queries.count_messages(&all).ok(),
                |done| consumer::replay(from, ports, args.continued, done),
            )
        }
        (None, Some(file)) => {
            let lines = lines(file)?;
            progress.during(
                || None,
                |done| replay_export(lines, ports, args.continued, done),
            )
        }
        (None, None) => bail!("there is no source"),
    };
    let replayed = replayed.map_err(advise)?;
    report(&replayed, args, began);
    Ok(ExitCode::SUCCESS)
}

/// The settings of the new database.
fn target(settings: &Settings, url: &str) -> Result<Settings> {
    let mut to = settings.clone();
    to.database.url = url.to_owned();
    if url.trim().is_empty() {
        bail!("--to is empty; give \"postgres://USER:PASSWORD@HOST/NAME\" or \"sqlite:PATH\"");
    }
    to.database_at()
        .map_err(|error| anyhow::anyhow!("--to: {error:#}"))?;
    Ok(to)
}

fn must_differ(from: &Settings, to: &Settings) -> Result<()> {
    let is_same = match (from.database_at()?, to.database_at()?) {
        (DatabaseAt::Sqlite(from), DatabaseAt::Sqlite(to)) => {
            from == to
                || matches!((from.canonicalize(), to.canonicalize()), (Ok(a), Ok(b)) if a == b)
        }
        (DatabaseAt::Postgres(from), DatabaseAt::Postgres(to)) => from == to,
        _ => false,
    };
    if is_same {
        bail!(
            "--to names the database that is read ({}); name an empty one",
            from.redacted_database()
        );
    }
    Ok(())
}

/// The records of an export.
fn lines(
    file: &Path,
) -> Result<impl Iterator<Item = Result<(RecordId, Vec<u8>), String>> + Send + use<>> {
    let input: Box<dyn BufRead + Send> = match file.to_str() {
        Some("-") => Box::new(BufReader::new(io::stdin())),
        _ => Box::new(BufReader::new(
            File::open(file).with_context(|| format!("read {}", file.display()))?,
        )),
    };
    let name = file.display().to_string();
    let lines = (1..).zip(input.lines());
    Ok(lines.map(move |(number, line): (u64, _)| {
        let line = line.map_err(|error| format!("{name}, line {number}: {error}"))?;
        let row = MessageRow::read_line(&line).map_err(|error| {
            format!("{name}, line {number} is not one of `wattpost export messages`: {error}")
        })?;
        Ok((row.id, row.record().encode()))
    }))
}

fn replay_export(
    lines: impl Iterator<Item = Result<(RecordId, Vec<u8>), String>> + Send,
    target: ReplayTarget<'_>,
    continued: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Replayed, ReplayError> {
    consumer::begin_replay(target.transfer, continued)?;
    let replayed = consumer::replay_records(lines, target, progress)?;
    consumer::finish_replay(target.transfer)?;
    Ok(replayed)
}

/// Says that an interrupted replay can be continued.
fn advise(error: ReplayError) -> anyhow::Error {
    let can_continue = matches!(error, ReplayError::Source(_) | ReplayError::Target(_));
    let error = anyhow::Error::new(error);
    match can_continue {
        true => error.context(
            "the replay is not finished; what was stored stays, and the same command with --continue does the rest",
        ),
        false => error,
    }
}

fn report(replayed: &Replayed, args: &ReplayArgs, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let known = match replayed.known {
        0 => String::new(),
        known => format!(" ({} were stored already)", grouped(known)),
    };
    print_line!(
        "replayed {} messages in {seconds:.1} s{known}",
        grouped(replayed.new + replayed.known)
    );
    if replayed.dead_letters > 0 {
        print_line!(
            "tried {} dead letters again",
            grouped(replayed.dead_letters)
        );
    }
    for (table, rows) in &replayed.copied {
        if *rows > 0 {
            print_line!("copied {table}: {} rows", grouped(*rows));
        }
    }
    if args.from_export.is_some() {
        print_line!(
            "an export holds records only: chargers' settings, tokens, API keys, commands, closings and the audit log are not in the new database"
        );
    }
    for (table, there, here) in &replayed.differing {
        print_line!(
            "{table}: {} rows, {} in the source. Rows whose messages were deleted after database.retain_days cannot be rebuilt; rows that this version projects otherwise differ too",
            grouped(*here),
            grouped(*there)
        );
    }
}
