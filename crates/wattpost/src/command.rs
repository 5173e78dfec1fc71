//! `wattpost command`: sends commands to chargers and shows what became of them.
//!
//! It writes to the database, which is the queue of commands; the gateway that holds the charger takes them from there. So
//! it works on each machine that reaches the database, also while the API is down. A hint over RabbitMQ makes the gateway
//! look at once; without it, the gateway looks within a second.

mod batch;

use crate::SettingsArgs;
use crate::database::{self, Database, Use};
use crate::hint;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::command_request::{ANSWER_WITHIN_DEFAULT_MS, CommandRequest};
use central::local_list::changes_local_list;
use central::model::{
    CommandId, CommandState, CommandView, EffectPhase, ShownMessage, unchecked_entry,
};
use central::ports::{Cancelled, ClusterEvent, Created};
use central::query::{CommandFilter, MessageFilter, PageRequest, all_messages, parameters};
use clap::{Args, Subcommand};
use ocpp::Version;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Subcommands of `wattpost command`.
#[derive(Debug, Subcommand)]
pub(crate) enum CommandCommand {
    /// Send a command to a charger and wait for the outcome. Prints the command as JSON.
    ///
    /// Exit code 0: the charger answered, whatever the answer is. 1: it was not sent, or the outcome is not known.
    Send(SendArgs),
    /// List commands, the newest first, one JSON object per line.
    List(ListArgs),
    /// Show one command as JSON, with its outcome and its effect.
    Show(OneArgs),
    /// Print the pages of the report that a command asked for, one JSON object per line.
    Report(OneArgs),
    /// Cancel a command that no gateway has claimed.
    Cancel(OneArgs),
    /// One command to many chargers, paced.
    #[command(subcommand)]
    Batch(batch::BatchCommand),
}

/// Flags of `command send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The charger's identity
    charger: String,
    /// The action, such as `Reset`, `GetConfiguration`, `SetVariables`
    action: String,
    /// The payload, a JSON object
    #[arg(default_value = "{}")]
    payload: String,
    /// Wait for the charger if it is not connected, until this time [default: it is not sent then]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "")]
    wait_until: Option<String>,
    /// How long the charger may take to answer
    #[arg(long, value_name = "MS", default_value_t = ANSWER_WITHIN_DEFAULT_MS)]
    answer_within_ms: u32,
    /// Send the payload without a check against the schema of the charger's version, for firmware with members of its own
    #[arg(long)]
    no_check: bool,
    /// Do not wait for the outcome
    #[arg(long, conflicts_with = "wait_effect")]
    no_wait: bool,
    /// Wait for the effect too, such as the transaction or all pages of a report. Exit code 1 if it was not seen in time
    #[arg(long)]
    wait_effect: bool,
}

/// Flags of `command list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only commands to this charger
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// Only commands that no gateway has claimed
    #[arg(long)]
    queued: bool,
    /// Only commands whose effect is `expected`, `seen`, `not_seen` or `none`
    #[arg(long, value_name = "STATE", value_parser = parse_effect)]
    effect: Option<EffectPhase>,
    /// Commands at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Flags of `command show` and `command cancel`.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The command's id
    id: Uuid,
}

/// How often the database is queried for the outcome.
const POLL: Duration = Duration::from_millis(200);

pub(crate) fn run(command: &CommandCommand) -> Result<ExitCode> {
    match command {
        CommandCommand::Send(args) => send(args),
        CommandCommand::List(args) => {
            let database = database::open(&args.settings.load()?, Use::Read)?;
            let filter = CommandFilter {
                charger: args.charger.clone(),
                action: None,
                queued: args.queued.then_some(true),
                effect: args.effect,
            };
            let mut page = PageRequest {
                after: None,
                limit: args.limit.max(1),
            };
            let mut left = args.limit;
            while left > 0 {
                let now = database.commands.time()?;
                let read = database.commands.commands(&filter, &page, now)?;
                for view in read.items.iter().take(left) {
                    show(view)?;
                }
                left = left.saturating_sub(read.items.len());
                page.after = read.next;
                if page.after.is_none() {
                    break;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        CommandCommand::Show(args) => {
            let database = database::open(&args.settings.load()?, Use::Read)?;
            show(&find(&database, args.id)?)?;
            Ok(ExitCode::SUCCESS)
        }
        CommandCommand::Report(args) => {
            let database = database::open(&args.settings.load()?, Use::Read)?;
            report(&database, &find(&database, args.id)?)?;
            Ok(ExitCode::SUCCESS)
        }
        CommandCommand::Cancel(args) => {
            let database = database::open(&args.settings.load()?, Use::Change)?;
            let id = CommandId(args.id);
            match database.commands.cancel(id, database.commands.time()?)? {
                Cancelled::Done(view) => show(&view)?,
                Cancelled::TooLate(view) => {
                    show(&view)?;
                    bail!(
                        "command {id} cannot be cancelled: a gateway has claimed it, or it is done"
                    );
                }
                Cancelled::Unknown => bail!("there is no command {id}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        CommandCommand::Batch(command) => {
            batch::run(command)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn send(args: &SendArgs) -> Result<ExitCode> {
    let expires_at = match args.wait_until.as_deref() {
        None | Some("") => None,
        Some(text) => Some(parameters::time(text).with_context(|| {
            format!(
                "--wait-until is {text:?}; give {}",
                parameters::TIME_EXPECTED
            )
        })?),
    };
    let request = CommandRequest {
        charger_id: args.charger.clone(),
        action: args.action.clone(),
        payload: args.payload.clone(),
        waits_when_offline: args.wait_until.is_some(),
        expires_at,
        answer_within_ms: Some(args.answer_within_ms),
        skips_check: args.no_check,
    };
    let settings = args.settings.load()?;
    let database = database::open(&settings, Use::Change)?;
    if changes_local_list(&args.action) && database.local_lists.has_wish(&args.charger)? {
        bail!(
            "a wish for a local list holds for charger {:?}, so its list is kept equal to the tokens; change the tokens, \
             or remove the wish (`wattpost local-list remove`)",
            args.charger
        );
    }
    let version = version_of(&database, &args.charger)?;
    let id = CommandId(common::id::new_v7());
    let now = database.commands.time()?;
    let mut new = request.accept(id, &requested_by(), version, None, now)?;
    new.audit = unchecked_entry(&new.command, crate::origin::command_line());
    let view = match database.commands.create(&new)? {
        Created::New(view) | Created::Repeated(view) => view,
        Created::Mismatch => bail!("the id of the command is used already; try again"),
        Created::QueueFull => bail!(
            "too many commands wait for charger {:?}; cancel some (`wattpost command list --queued`), or wait",
            args.charger
        ),
    };
    // Without it gateways look within a second.
    hint::give(
        &settings,
        &ClusterEvent::CommandsWaiting {
            charger_id: view.charger_id.clone(),
        },
    );
    let view = if args.no_wait {
        view
    } else {
        wait(&database, view, args.wait_effect)?
    };
    show(&view)?;
    let is_answered = view
        .outcome
        .as_ref()
        .is_some_and(|outcome| outcome.class == central::model::OutcomeClass::Answered);
    let is_without_effect = args.wait_effect && view.effect.state == EffectPhase::NotSeen;
    Ok(if args.no_wait || (is_answered && !is_without_effect) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The pages of the report that the command asked for.
fn report(database: &Database, view: &CommandView) -> Result<()> {
    let Some(report) = view.report_messages else {
        bail!(
            "command {} is {}, which asks for no report",
            view.id,
            view.action
        );
    };
    let Some((first, last)) = report.received else {
        return Ok(());
    };
    let filter = MessageFilter {
        charger: Some(view.charger_id.clone()),
        action: Some(report.of.action.to_owned()),
        kind: None,
        from: Some(first),
        to: Some(last.plus_millis(1)),
    };
    for row in all_messages(&*database.queries, &filter) {
        let row = row.context("read the pages of the report")?;
        if report.of.has(&row.action, &row.payload) {
            let row = ShownMessage::from(row);
            print_line!("{}", serde_json::to_string(&row).context("write JSON")?);
        }
    }
    Ok(())
}

fn parse_effect(text: &str) -> Result<EffectPhase, String> {
    EffectPhase::from_name(text).ok_or_else(|| "give expected, seen, not_seen or none".to_owned())
}

/// The command once it is done. Ends at the latest when the command is shown as uncertain, or when one that waits
/// for its charger expires.
fn wait(database: &Database, mut view: CommandView, for_effect: bool) -> Result<CommandView> {
    let began = Instant::now();
    let is_waiting = |view: &CommandView| {
        view.state != CommandState::Done
            || (for_effect && view.effect.state == EffectPhase::Expected)
    };
    while is_waiting(&view) {
        // The database is queried less often in a long wait.
        std::thread::sleep(if began.elapsed() < Duration::from_secs(60) {
            POLL
        } else {
            POLL * 10
        });
        let now = database.commands.time()?;
        database
            .command_queue
            .expire(now, 100)
            .context("end commands whose time has passed")?;
        view = find(database, view.id.0)?;
    }
    Ok(view)
}

fn find(database: &Database, id: Uuid) -> Result<CommandView> {
    let found = database
        .commands
        .command(CommandId(id), database.commands.time()?)
        .context("read the command")?;
    found.with_context(|| format!("there is no command {id}"))
}

/// The version of the charger's open connection; `None` if it is not connected, because it can come back with another.
fn version_of(database: &Database, charger: &str) -> Result<Option<Version>> {
    let detail = database.queries.charger(charger)?;
    let connected = detail.filter(|detail| detail.charger.online);
    Ok(connected.and_then(|detail| detail.charger.ocpp_version))
}

/// Who uses the command line, and on which machine.
fn requested_by() -> String {
    let origin = crate::origin::command_line();
    format!("{}@{}", origin.by.name.unwrap_or_default(), origin.from)
}

fn show(view: &CommandView) -> Result<()> {
    print_line!("{}", serde_json::to_string(view).context("write JSON")?);
    Ok(())
}
