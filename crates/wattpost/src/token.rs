//! `wattpost token`: which tokens may charge.
//!
//! By default a token that was not added is accepted (`policy.unknown_token`). So either add the tokens to refuse, or
//! set the policy to `reject` and add the tokens to accept.

use crate::SettingsArgs;
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::ports::{Token, TokenStatus};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Subcommands of `wattpost token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Add a token, or replace its settings.
    #[command(visible_alias = "set")]
    Add(AddArgs),
    /// List the tokens that were added.
    List(SettingsArgs),
    /// Remove a token.
    Remove(OneArgs),
}

/// Flags of `token add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// idTag (1.6) or idToken (2.x); letter case is ignored
    id: String,
    /// Authorization status
    #[arg(long, value_enum, default_value_t = StatusArg::Accepted)]
    status: StatusArg,
    /// Expiry time, such as 2026-12-31T23:59:59Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Group (parentIdTag, groupIdToken)
    #[arg(long, value_name = "ID")]
    group: Option<String>,
}

/// Flags of `token remove`.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// idTag or idToken
    id: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StatusArg {
    Accepted,
    Blocked,
    Expired,
    Invalid,
}

/// Prints the token's settings after the change.
pub(crate) fn run(command: &TokenCommand) -> Result<ExitCode> {
    match command {
        TokenCommand::Add(args) => add(args)?,
        TokenCommand::List(settings) => {
            let directory = database::open(&settings.load()?, Use::Read)?.admin;
            for token in directory.tokens()? {
                print_line!("{}", line(&token));
            }
        }
        TokenCommand::Remove(args) => {
            let directory = database::open(&args.settings.load()?, Use::Change)?.admin;
            if !directory.remove_token(&args.id, &command_line())? {
                bail!("token {:?} was not added", args.id);
            }
            print_line!("{}: removed", args.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    check_identifier("token", &args.id)?;
    if let Some(group) = &args.group {
        check_identifier("group", group)?;
    }
    let expires_at = args
        .expires
        .as_deref()
        .map(|text| {
            ocpp::timestamp::read(text)
                .map(|(at, _)| Timestamp::from(at))
                .with_context(|| {
                    format!("--expires is {text:?}; give a time such as 2026-12-31T23:59:59Z")
                })
        })
        .transpose()?;
    let token = Token {
        id: args.id.clone(),
        status: match args.status {
            StatusArg::Accepted => TokenStatus::Accepted,
            StatusArg::Blocked => TokenStatus::Blocked,
            StatusArg::Expired => TokenStatus::Expired,
            StatusArg::Invalid => TokenStatus::Invalid,
        },
        expires_at,
        group_id: args.group.clone(),
    };
    let directory = database::open(&args.settings.load()?, Use::Change)?.admin;
    directory.put_token(&token, &command_line())?;
    print_line!("{}", line(&token));
    Ok(())
}

/// The most characters of an idTag (OCPP 1.6), of an idToken of 2.0.1, and of one of 2.1.
const LENGTHS: [(usize, &str); 3] = [(20, "1.6"), (36, "2.0.1"), (255, "2.1")];

/// Refuses what no charger can send; says which versions cannot send it.
fn check_identifier(what: &str, id: &str) -> Result<()> {
    let length = id.chars().count();
    let (longest, _) = LENGTHS[LENGTHS.len() - 1];
    if length == 0 || length > longest || id.len() > 255 {
        bail!("{id:?} cannot be a {what}: give 1 to {longest} characters");
    }
    if id.trim() != id || id.contains(char::is_control) {
        bail!(
            "{id:?} cannot be a {what}: leave out blanks at its ends, line ends and control characters"
        );
    }
    let too_long: Vec<&str> = LENGTHS
        .iter()
        .filter(|(longest, _)| length > *longest)
        .map(|(_, version)| *version)
        .collect();
    if !too_long.is_empty() {
        eprintln!(
            "wattpost: warning: the {what} {id:?} has {length} characters; chargers of OCPP {} cannot send it",
            too_long.join(" and ")
        );
    }
    Ok(())
}

fn line(token: &Token) -> String {
    let mut line = format!("{}: {:?}", token.id, token.status);
    if let Some(at) = token.expires_at {
        line.push_str(&format!(", until {at}"));
    }
    if let Some(group) = &token.group_id {
        line.push_str(&format!(", group {group}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_that_no_charger_can_send_are_refused() {
        for id in ["04A1B2C3", "a b", &"x".repeat(255)] {
            assert!(check_identifier("token", id).is_ok(), "{id}");
        }
        for id in ["", " 04A1", "04A1 ", "04\n", "04\u{7}A1", &"x".repeat(256)] {
            let why = check_identifier("token", id).expect_err(id).to_string();
            assert!(why.contains("cannot be a token: "), "{why}");
        }
    }
}
