//! `wattpost token`: which tokens may charge.
//!
//! By default a token that was not added is accepted (`policy.unknown_token`). So either add the tokens to refuse, or
//! set the policy to `reject` and add the tokens to accept. Values are checked, and changes are made, by the same code as
//! those of the API.

use crate::SettingsArgs;
use crate::database::{self, Use};
use crate::import::ImportArgs;
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Result, bail};
use central::field_error::FieldError;
use central::model::{ListedToken, UnknownTokenView};
use central::ports::Token;
use central::query::{PAGE_MAX, PageRequest, TokenFilter, UnknownTokenFilter};
use central::token_fields;
use central::token_import;
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Subcommands of `wattpost token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Add a token, or replace its settings.
    #[command(visible_alias = "set")]
    Add(AddArgs),
    /// List the tokens that were added, with their last use.
    List(SettingsArgs),
    /// Remove a token.
    Remove(OneArgs),
    /// List tokens that chargers presented and that were not added, the latest first.
    Unknown(UnknownArgs),
    /// Add or change the tokens of a file (CSV or NDJSON), all or none.
    Import(ImportArgs),
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
    /// Type of an idToken of OCPP 2.x, such as ISO14443
    #[arg(long = "type", value_name = "TYPE")]
    token_type: Option<String>,
    /// Expiry time, such as 2026-12-31T23:59:59Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Group (parentIdTag, groupIdToken)
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Whether it may have several open transactions [default: as `policy.concurrent_transactions` says]
    #[arg(long, value_name = "allow|refuse")]
    concurrent_transactions: Option<String>,
    /// A note
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Flags of `token unknown`.
#[derive(Debug, Args)]
pub(crate) struct UnknownArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only those at this charger; letter case is ignored
    #[arg(long, value_name = "ID")]
    charger: Option<String>,
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

/// Prints the token's settings after the change. The exit code of an import with a refused line is 1.
pub(crate) fn run(command: &TokenCommand) -> Result<ExitCode> {
    match command {
        TokenCommand::Add(args) => add(args)?,
        TokenCommand::List(settings) => list(settings)?,
        TokenCommand::Remove(args) => {
            let tokens = database::open(&args.settings.load()?, Use::Change)?.tokens;
            if !tokens.remove_token(&args.id, &command_line())? {
                bail!("token {:?} was not added", args.id);
            }
            print_line!("{}: removed", args.id);
        }
        TokenCommand::Unknown(args) => unknown(args)?,
        TokenCommand::Import(args) => return import(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    let token = token_of(args)?;
    for (what, id) in [
        ("token", Some(&token.id)),
        ("group", token.group_id.as_ref()),
    ] {
        warn_of_length(what, id.map_or("", String::as_str));
    }
    let tokens = database::open(&args.settings.load()?, Use::Change)?.tokens;
    tokens.put_token(&token, &command_line())?;
    print_line!("{}", line(&token));
    Ok(())
}

fn token_of(args: &AddArgs) -> Result<Token, FieldError> {
    let mut token = Token::accepted("");
    let status = match args.status {
        StatusArg::Accepted => "Accepted",
        StatusArg::Blocked => "Blocked",
        StatusArg::Expired => "Expired",
        StatusArg::Invalid => "Invalid",
    };
    for (name, value) in [
        ("id", Some(args.id.as_str())),
        ("status", Some(status)),
        ("type", args.token_type.as_deref()),
        ("expires_at", args.expires.as_deref()),
        ("group", args.group.as_deref()),
        (
            "concurrent_transactions",
            args.concurrent_transactions.as_deref(),
        ),
        ("note", args.note.as_deref()),
    ] {
        token_fields::set(&mut token, name, value)?;
    }
    Ok(token)
}

/// Says which versions cannot send an id of this length.
fn warn_of_length(what: &str, id: &str) {
    let versions = token_fields::versions_without(id);
    if !versions.is_empty() {
        eprintln!(
            "wattpost: warning: the {what} {id:?} has {} characters; chargers of OCPP {} cannot send it",
            id.chars().count(),
            versions.join(" and ")
        );
    }
}

fn list(settings: &SettingsArgs) -> Result<()> {
    let tokens = database::open(&settings.load()?, Use::Read)?.tokens;
    let mut page = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    loop {
        let found = tokens.token_page(&TokenFilter::default(), &page)?;
        for token in &found.items {
            print_line!("{}", listed_line(token));
        }
        page.after = found.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

fn unknown(args: &UnknownArgs) -> Result<()> {
    let tokens = database::open(&args.settings.load()?, Use::Read)?.tokens;
    let filter = UnknownTokenFilter {
        charger: args.charger.clone(),
        search: None,
    };
    let mut page = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    loop {
        let found = tokens.unknown_tokens(&filter, &page)?;
        for token in &found.items {
            print_line!("{}", unknown_line(token));
        }
        page.after = found.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

/// The id comes from a charger: it is quoted, so that it cannot write to the terminal.
fn unknown_line(token: &UnknownTokenView) -> String {
    let mut line = format!("{:?}: {}", token.id, token.answer);
    if let Some(kind) = &token.token_type {
        line.push_str(&format!(", type {kind:?}"));
    }
    let (charger, times) = (&token.charger_id, token.count);
    line.push_str(&format!(", last presented {} at {charger}", token.last_at));
    if let Some(connector) = token.connector {
        line.push_str(&format!(" connector {connector}"));
    }
    line.push_str(&format!(", {times} times since {}", token.first_at));
    line
}

fn import(args: &ImportArgs) -> Result<ExitCode> {
    let lines = args.lines(token_import::read)?;
    let tokens = database::open(&args.settings.load()?, args.purpose())?.tokens;
    let verdicts = tokens.import_tokens(&lines, args.dry_run, &command_line())?;
    Ok(args.print(&verdicts))
}

fn listed_line(listed: &ListedToken) -> String {
    let mut line = line(&listed.token);
    match &listed.last_use {
        None => line.push_str(", never used"),
        Some(last) => {
            line.push_str(&format!(", last used {} at {}", last.at, last.charger_id));
            if let Some(connector) = last.connector {
                line.push_str(&format!(" connector {connector}"));
            }
        }
    }
    line
}

fn line(token: &Token) -> String {
    let mut line = format!("{}: {:?}", token.id, token.status);
    for (text, value) in [
        ("until", token.expires_at.map(|at| at.to_string())),
        ("group", token.group_id.clone()),
        ("type", token.token_type.clone()),
        (
            "concurrent transactions",
            token.concurrent.map(|rule| rule.as_str().to_owned()),
        ),
        ("note", token.note.as_ref().map(|note| format!("{note:?}"))),
    ] {
        if let Some(value) = value {
            line.push_str(&format!(", {text} {value}"));
        }
    }
    line
}
