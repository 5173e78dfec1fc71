//! `wattpost deadletters`: records that could not be applied.
//!
//! A dead letter is a record that the database can never accept, or that this version cannot decode. It stays until
//! a person retries it successfully or discards it, or until `database.retain_days` have passed.

use crate::SettingsArgs;
use crate::database::{self, Database, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::ports::{
    ChangeRequest, DISCARD_REASON_CHARS_MAX, DiscardRequest, LETTERS_CHANGED_MAX, LetterSelection,
    Once,
};
use central::query::{
    DeadLetterFilter, DeadLetterRow, DeadLetterState, PageRequest, QueryStore, parameters,
};
use central::{RecordId, Timestamp};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Subcommands of `wattpost deadletters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, the oldest first: record id, time, charger, action, size, reason.
    List(ListArgs),
    /// Try to apply dead letters again, such as after an upgrade; those that are applied are removed from the list.
    ///
    /// Examples:
    ///   wattpost deadletters retry 0192f3c1-…/4711
    ///   wattpost deadletters retry --all
    #[command(verbatim_doc_comment)]
    Retry(SomeArgs),
    /// Discard dead letters: the messages in them are deleted; `list --json` exports their content.
    ///
    /// What is kept is that they were discarded, by whom and why: `list --discarded`.
    ///
    /// Examples:
    ///   wattpost deadletters discard 0192f3c1-…/4711 --reason "test data"
    ///   wattpost deadletters discard --all --charger CP-17 --reason "charger was on a test bench"
    #[command(verbatim_doc_comment)]
    Discard(DiscardArgs),
}

/// Flags of `deadletters list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Those that were discarded, instead of those that wait
    #[arg(long)]
    discarded: bool,
    /// Print one JSON object a line, with the content
    #[arg(long)]
    json: bool,
}

/// Flags that select dead letters.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only those of this charger, in any letter case
    #[arg(long, value_name = "IDENTITY", value_parser = not_empty)]
    charger: Option<String>,
    /// Only this action of OCPP, in any letter case
    #[arg(long, value_name = "ACTION", value_parser = read_action)]
    action: Option<String>,
    /// Only those whose reason contains this text
    #[arg(long, value_name = "TEXT", value_parser = not_empty)]
    because: Option<String>,
    /// Only those that became dead letters at this time or later: RFC 3339 or milliseconds since 1970-01-01 UTC
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    from: Option<Timestamp>,
    /// Only those that became dead letters before this time
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    to: Option<Timestamp>,
}

impl FilterArgs {
    fn filter(&self, state: DeadLetterState) -> DeadLetterFilter {
        DeadLetterFilter {
            charger: self.charger.clone(),
            action: self.action.clone(),
            reason: self.because.clone(),
            from: self.from,
            to: self.to,
            state,
        }
    }

    fn is_empty(&self) -> bool {
        self.filter(DeadLetterState::default()) == DeadLetterFilter::default()
    }
}

/// Flags of `deadletters retry` and `discard`.
#[derive(Debug, Args)]
pub(crate) struct SomeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Record ids, as printed by `list`: GATEWAY-UUID/NUMBER
    #[arg(required_unless_present = "all", value_name = "RECORD_ID", value_parser = read_id)]
    ids: Vec<RecordId>,
    /// All dead letters, or all that the other flags select
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Flags of `deadletters discard`.
#[derive(Debug, Args)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    some: SomeArgs,
    /// Why they are discarded
    #[arg(long, value_name = "TEXT", value_parser = read_reason)]
    reason: String,
}

/// Prints the result for each; exit code 1 if one cannot be applied or does not exist.
pub(crate) fn run(command: &DeadLettersCommand) -> Result<ExitCode> {
    match command {
        DeadLettersCommand::List(args) => list(args),
        DeadLettersCommand::Retry(args) => retry(args),
        DeadLettersCommand::Discard(args) => discard(args),
    }
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    let database = database::open(&args.settings.load()?, Use::Read)?;
    let filter = args.filter.filter(match args.discarded {
        true => DeadLetterState::Discarded,
        false => DeadLetterState::Waiting,
    });
    let mut count = 0;
    for row in rows(&*database.queries, &filter) {
        let row = row?;
        count += 1;
        if args.json {
            print_line!("{}", serde_json::to_string(&row).context("write JSON")?);
        } else {
            print_line!("{}", line(&row));
        }
    }
    if count == 0 && !args.json {
        eprintln!("no dead letters");
    }
    Ok(ExitCode::SUCCESS)
}

fn line(row: &DeadLetterRow) -> String {
    let charger = row.charger_id.as_deref().unwrap_or("-");
    let action = row.action.as_deref().unwrap_or("-");
    let discarded = row.discarded.as_ref().map(|discarded| {
        format!(
            "  discarded {} by {}: {}",
            discarded.at, discarded.by, discarded.reason
        )
    });
    format!(
        "{}  {}  {charger}  {action}  {} B  {}{}",
        row.record_id,
        row.at,
        row.size_bytes,
        row.reason,
        discarded.unwrap_or_default()
    )
}

fn retry(args: &SomeArgs) -> Result<ExitCode> {
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let retries = database.letter_retries();
    let request = ChangeRequest::of(command_line());
    let mut all_well = true;
    for selection in selections(args, &database)? {
        match retries.retry_letters(&selection, &request)? {
            Once::Done(retried) | Once::Repeated(retried) => {
                for id in retried.applied {
                    print_line!("{id}: applied");
                }
                for dead in retried.still_dead {
                    all_well = false;
                    print_line!(
                        "{}: still cannot be applied: {}",
                        dead.record_id,
                        dead.reason
                    );
                }
            }
            Once::Refused(refused) => {
                all_well = false;
                print_line!("{refused}");
            }
            // Only a request with an idempotency key can be one of these.
            Once::Mismatch | Once::InUse => bail!("nothing was changed; repeat the command"),
        }
    }
    Ok(exit_code(all_well))
}

fn discard(args: &DiscardArgs) -> Result<ExitCode> {
    let database = database::open(&args.some.settings.load()?, Use::Change)?;
    let mut all_well = true;
    for selection in selections(&args.some, &database)? {
        let wanted = DiscardRequest {
            selection,
            reason: args.reason.clone(),
            request: ChangeRequest::of(command_line()),
        };
        match database.dead_letters.discard_letters(&wanted)? {
            Once::Done(ids) | Once::Repeated(ids) => {
                for id in ids {
                    print_line!("{id}: discarded");
                }
            }
            Once::Refused(refused) => {
                all_well = false;
                print_line!("{refused}");
            }
            // Only a request with an idempotency key can be one of these.
            Once::Mismatch | Once::InUse => bail!("nothing was changed; repeat the command"),
        }
    }
    Ok(exit_code(all_well))
}

fn exit_code(all_well: bool) -> ExitCode {
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The letters that are changed together: each named one alone, so that one that is unknown does not keep the others; all
/// of them in slices.
fn selections(args: &SomeArgs, database: &Database) -> Result<Vec<LetterSelection>> {
    if !args.all {
        if !args.filter.is_empty() {
            bail!(
                "--charger, --action, --because, --from and --to select of --all: leave them out where ids are given"
            );
        }
        let each = args.ids.iter().map(|id| LetterSelection::Ids(vec![*id]));
        return Ok(each.collect());
    }
    // All ids are read before the first change.
    let filter = args.filter.filter(DeadLetterState::Waiting);
    let all = rows(&*database.queries, &filter).map(|row| {
        let row = row?;
        read_id(&row.record_id).map_err(anyhow::Error::msg)
    });
    let all = all.collect::<Result<Vec<_>>>()?;
    if all.is_empty() {
        bail!("there are no such dead letters");
    }
    let slices = all.chunks(LETTERS_CHANGED_MAX);
    Ok(slices
        .map(|ids| LetterSelection::Ids(ids.to_vec()))
        .collect())
}

/// All dead letters that match, page by page.
fn rows(
    database: &dyn QueryStore,
    filter: &DeadLetterFilter,
) -> impl Iterator<Item = Result<DeadLetterRow>> {
    let mut page = Some(PageRequest::default());
    std::iter::from_fn(move || {
        let request = page.take()?;
        Some(match database.dead_letters(filter, &request) {
            Ok(found) => {
                page = found.next.map(|after| PageRequest {
                    after: Some(after),
                    ..request
                });
                found.items.into_iter().map(Ok).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error.into())],
        })
    })
    .flatten()
}

fn not_empty(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("it is empty: give a text, or leave the flag out".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn read_action(text: &str) -> Result<String, String> {
    let action = parameters::action(text).map(str::to_owned);
    action.ok_or_else(|| format!("give {}", parameters::ACTION_EXPECTED))
}

fn read_time(text: &str) -> Result<Timestamp, String> {
    parameters::time(text).ok_or_else(|| format!("give {}", parameters::TIME_EXPECTED))
}

fn read_reason(text: &str) -> Result<String, String> {
    let reason = text.trim();
    if !(1..=DISCARD_REASON_CHARS_MAX).contains(&reason.chars().count())
        || reason.contains(char::is_control)
    {
        return Err(format!(
            "give 1 to {DISCARD_REASON_CHARS_MAX} characters without line ends and control characters"
        ));
    }
    Ok(reason.to_owned())
}

fn read_id(text: &str) -> Result<RecordId, String> {
    text.parse().map_err(|()| {
        format!(
            "{text:?} is no record id; give GATEWAY-UUID/NUMBER, as printed by `deadletters list`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::{GatewayId, Seq};
    use uuid::Uuid;

    #[test]
    fn printed_record_id_is_parsed_to_the_same_id() {
        let id = RecordId {
            gateway: GatewayId(Uuid::from_u128(77)),
            seq: Seq(4711),
        };
        assert_eq!(read_id(&id.to_string()), Ok(id));
        for text in ["", "4711", "x/1", "00000000-0000-0000-0000-00000000004d/-1"] {
            assert!(
                read_id(text).unwrap_err().contains("GATEWAY-UUID"),
                "{text}"
            );
        }
    }
}
