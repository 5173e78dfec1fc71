//! `wattpost deadletters`: records that could not be applied.
//!
//! A dead letter is a record that the database can never accept, or that this version cannot decode. It stays until
//! a person retries it successfully or discards it, or until `database.retain_days` have passed.

use crate::SettingsArgs;
use crate::database::{self, Use};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::RecordId;
use central::query::{DeadLetterRow, PageRequest, QueryStore};
use clap::{Args, Subcommand};
use consumer::{Retried, retry_dead_letter};
use std::process::ExitCode;

/// Subcommands of `wattpost deadletters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, oldest first: record id, time, size, reason.
    List(ListArgs),
    /// Try to apply dead letters again, such as after an upgrade; those that are applied are removed from the list.
    ///
    /// Examples:
    ///   wattpost deadletters retry 0192f3c1-…/4711
    ///   wattpost deadletters retry --all
    #[command(verbatim_doc_comment)]
    Retry(SomeArgs),
    /// Delete dead letters and the messages in them; `list --json` exports their content.
    Discard(SomeArgs),
}

/// Flags of `deadletters list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print one JSON object a line, with the content
    #[arg(long)]
    json: bool,
}

/// Flags of `deadletters retry` and `discard`.
#[derive(Debug, Args)]
pub(crate) struct SomeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Record ids, as printed by `list`: GATEWAY-UUID/NUMBER
    #[arg(required_unless_present = "all", value_name = "RECORD_ID", value_parser = read_id)]
    ids: Vec<RecordId>,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    all: bool,
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
    let mut count = 0;
    for row in rows(&*database.queries) {
        let row = row?;
        count += 1;
        if args.json {
            print_line!("{}", serde_json::to_string(&row).context("write JSON")?);
        } else {
            print_line!(
                "{}  {}  {} B  {}",
                row.record_id,
                row.at,
                row.size_bytes,
                row.reason
            );
        }
    }
    if count == 0 && !args.json {
        eprintln!("no dead letters");
    }
    Ok(ExitCode::SUCCESS)
}

fn retry(args: &SomeArgs) -> Result<ExitCode> {
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let mut all_well = true;
    for id in chosen(args, &*database.queries)? {
        match retry_dead_letter(&*database.store, &*database.dead_letters, id)? {
            Retried::Applied => print_line!("{id}: applied"),
            Retried::StillDead(reason) => {
                all_well = false;
                print_line!("{id}: still cannot be applied: {reason}");
            }
            Retried::NotFound => {
                all_well = false;
                print_line!("{id}: there is no such dead letter");
            }
        }
    }
    Ok(exit_code(all_well))
}

fn discard(args: &SomeArgs) -> Result<ExitCode> {
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let mut all_well = true;
    for id in chosen(args, &*database.queries)? {
        if database.dead_letters.discard_dead_letter(id)? {
            print_line!("{id}: discarded");
        } else {
            all_well = false;
            print_line!("{id}: there is no such dead letter");
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

fn chosen(args: &SomeArgs, database: &dyn QueryStore) -> Result<Vec<RecordId>> {
    if !args.all {
        return Ok(args.ids.clone());
    }
    // All ids are read before the first change.
    let all = rows(database).map(|row| {
        let row = row?;
        read_id(&row.record_id).map_err(anyhow::Error::msg)
    });
    let all = all.collect::<Result<Vec<_>>>()?;
    if all.is_empty() {
        bail!("there are no dead letters");
    }
    Ok(all)
}

/// All dead letters, page by page.
fn rows(database: &dyn QueryStore) -> impl Iterator<Item = Result<DeadLetterRow>> {
    let mut page = Some(PageRequest::default());
    std::iter::from_fn(move || {
        let request = page.take()?;
        Some(match database.dead_letters(&request) {
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
