//! `wattpost command batch`: one command to many chargers, with the checks and the changes of the API.
//!
//! A batch is rows of the database. A process with the API starts its commands: it looks every two seconds.

use crate::SettingsArgs;
use crate::database::{self, Database, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use api::BatchRequest;
use central::model::{BatchChange, BatchId, BatchView, ItemState};
use central::ports::{BatchNotChanged, BatchNotCreated, ChangeRequest, Once};
use central::query::{PAGE_MAX, PageRequest};
use clap::{Args, Subcommand};
use std::io::Read;
use uuid::Uuid;

/// Bytes of a request at most, as in the API.
const REQUEST_BYTES_MAX: u64 = 2 << 20;

/// Subcommands of `wattpost command batch`.
#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// Create a batch. A process with the API starts its commands. Prints the batch as JSON.
    Create(CreateArgs),
    /// List batches, the newest first, one JSON object per line.
    List(ListArgs),
    /// Show one batch as JSON.
    Show(ShowArgs),
    /// Start no more commands until the batch is resumed.
    Pause(OneArgs),
    /// Continue a batch that is paused or halted.
    Resume(OneArgs),
    /// Start no more commands, and cancel those that no gateway has.
    Cancel(OneArgs),
}

/// Flags of `command batch create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The request with the members of `POST /api/v1/batches`, such as
    /// `{"operation": "reset", "filter": {"vendor": "VendorX"}}`; `-` reads it from stdin
    request: String,
    /// Print what the batch would do, and create nothing
    #[arg(long)]
    dry_run: bool,
}

/// Flags of `command batch list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Batches at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Flags of `command batch show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Print the chargers too, one JSON object per line
    #[arg(long)]
    items: bool,
    /// With --items: only chargers that are `pending`, `started`, `succeeded`, `failed` or `not_started`
    #[arg(long, value_name = "STATE", requires = "items", value_parser = parse_state)]
    state: Option<ItemState>,
}

/// A batch.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The batch's id
    id: Uuid,
}

pub(super) fn run(command: &BatchCommand) -> Result<()> {
    match command {
        BatchCommand::Create(args) => create(args),
        BatchCommand::List(args) => list(args),
        BatchCommand::Show(args) => show(args),
        BatchCommand::Pause(args) => change(args, BatchChange::Pause),
        BatchCommand::Resume(args) => change(args, BatchChange::Resume),
        BatchCommand::Cancel(args) => change(args, BatchChange::Cancel),
    }
}

fn create(args: &CreateArgs) -> Result<()> {
    let mut text = args.request.clone();
    if text == "-" {
        text.clear();
        let mut stdin = std::io::stdin().lock().take(REQUEST_BYTES_MAX + 1);
        stdin
            .read_to_string(&mut text)
            .context("read the request from stdin")?;
    }
    if text.len() as u64 > REQUEST_BYTES_MAX {
        bail!(
            "the request is longer than {REQUEST_BYTES_MAX} bytes; select chargers with a filter"
        );
    }
    let purpose = if args.dry_run { Use::Read } else { Use::Change };
    let database = database::open(&args.settings.load()?, purpose)?;
    let request = BatchRequest::from_json(text.as_bytes(), database.commands.time()?)?;
    if args.dry_run {
        print_line!("{}", request.shown_without_effect(&*database.queries)?);
        return Ok(());
    }
    let new = request.into_batch(&*database.queries, ChangeRequest::of(command_line()))?;
    match database.batches.create_batch(&new)? {
        Once::Done(view) | Once::Repeated(view) => print(&view),
        Once::Refused(BatchNotCreated::TooMany) => bail!(
            "{} batches are not finished; wait until one is, or cancel one",
            central::model::BATCHES_OPEN_MAX
        ),
        // Without an idempotency key there is no earlier request.
        Once::Refused(BatchNotCreated::Deleted(_)) | Once::Mismatch | Once::InUse => {
            bail!("the batch was not created; try again")
        }
    }
}

fn list(args: &ListArgs) -> Result<()> {
    let database = database::open(&args.settings.load()?, Use::Read)?;
    let mut left = args.limit;
    let mut page = PageRequest {
        after: None,
        limit: args.limit.clamp(1, PAGE_MAX),
    };
    while left > 0 {
        let read = database.batches.batches(&page)?;
        for view in read.items.iter().take(left) {
            print(view)?;
        }
        left = left.saturating_sub(read.items.len());
        page.after = read.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok(())
}

fn show(args: &ShowArgs) -> Result<()> {
    let database = database::open(&args.one.settings.load()?, Use::Read)?;
    let id = BatchId(args.one.id);
    let found = database.batches.batch(id).context("read the batch")?;
    print(&found.with_context(|| unknown(id))?)?;
    if args.items {
        items(&database, id, args.state)?;
    }
    Ok(())
}

fn items(database: &Database, id: BatchId, state: Option<ItemState>) -> Result<()> {
    let mut page = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    loop {
        let now = database.commands.time()?;
        let read = database.batches.batch_items(id, state, &page, now)?;
        for item in &read.items {
            print_line!("{}", serde_json::to_string(item).context("write JSON")?);
        }
        match read.next {
            Some(next) => page.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn change(args: &OneArgs, change: BatchChange) -> Result<()> {
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let id = BatchId(args.id);
    let request = ChangeRequest::of(command_line());
    match database.batches.change_batch(id, change, &request)? {
        Once::Done(view) | Once::Repeated(view) => print(&view),
        Once::Refused(BatchNotChanged::Unknown) => bail!(unknown(id)),
        Once::Refused(BatchNotChanged::Ended(state)) => {
            bail!("batch {id} is {}, so it stays as it is", state.as_str())
        }
        Once::Mismatch | Once::InUse => bail!("batch {id} was not changed; try again"),
    }
}

fn unknown(id: BatchId) -> String {
    format!("there is no batch {id}")
}

fn parse_state(text: &str) -> Result<ItemState, String> {
    let mut states = ItemState::ALL.into_iter();
    let found = states.find(|state| state.as_str() == text);
    found.ok_or_else(|| "give pending, started, succeeded, failed or not_started".to_owned())
}

fn print(view: &BatchView) -> Result<()> {
    print_line!("{}", serde_json::to_string(view).context("write JSON")?);
    Ok(())
}
