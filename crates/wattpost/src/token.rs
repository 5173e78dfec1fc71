//! `wattpost token`: which tokens may charge.
//!
//! By default a token that was not added is accepted (`policy.unknown_token`). So either add the tokens to refuse, or
//! set the policy to `reject` and add the tokens to accept.

use crate::SettingsArgs;
use crate::database::{self, Use};
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
                println!("{}", line(&token));
            }
        }
        TokenCommand::Remove(args) => {
            let directory = database::open(&args.settings.load()?, Use::Change)?.admin;
            if !directory.remove_token(&args.id)? {
                bail!("token {:?} was not added", args.id);
            }
            println!("{}: removed", args.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    if args.id.is_empty() || args.id.len() > 255 {
        bail!("{:?} cannot be a token: give 1 to 255 bytes", args.id);
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
    directory.put_token(&token)?;
    println!("{}", line(&token));
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
