//! `wattpost audit`: is any acknowledged message lost, duplicated, altered or out of order?

use crate::database::{self, Use};
use crate::output::print_line;
use crate::{SettingsArgs, export};
use anyhow::{Context, Result};
use clap::Args;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `wattpost audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The file that `wattpost simulate --ledger FILE` wrote
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    /// Compare with this export of messages (NDJSON) [default: the database]
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    /// Compare with this export of transactions (NDJSON) [default: the database]
    #[arg(long, value_name = "FILE", requires = "messages")]
    transactions: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Exit code 0 if messages were acknowledged and nothing is wrong with them, otherwise 1.
pub(crate) fn run(args: &AuditArgs) -> Result<ExitCode> {
    let ledger = open(&args.ledger)?;
    let report = match &args.messages {
        Some(messages) => simulator::audit::audit(
            ledger,
            open(messages)?,
            args.transactions.as_deref().map(open).transpose()?,
        ),
        None => {
            let settings = args.settings.load()?;
            let database = database::open(&settings, Use::Read)?.queries;
            let messages = spool(|file| export::all_messages(&*database, file))?;
            let transactions = spool(|file| export::all_transactions(&*database, file))?;
            simulator::audit::audit(ledger, messages, Some(transactions))
        }
    }?;
    if args.json {
        print_line!("{}", serde_json::to_string(&report)?);
    } else {
        print_line!("{report}");
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    Ok(BufReader::new(file))
}

/// An export in an unnamed temporary file, because it may be larger than memory.
fn spool(write: impl FnOnce(&mut File) -> Result<()>) -> Result<BufReader<File>> {
    let mut file = tempfile::tempfile().context("make a temporary file")?;
    write(&mut file)?;
    file.seek(SeekFrom::Start(0))
        .context("read the temporary file")?;
    Ok(BufReader::new(file))
}
