//! `wattpost apikey`: the keys of the HTTP API.
//!
//! It writes to the database, which running APIs read every few seconds.

use crate::SettingsArgs;
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::model::{API_KEY_NAME_EXPECTED, ApiKey, ApiSecret, Scope, is_api_key_name};
use central::ports::{API_KEYS_MAX, ChangeRequest, KeyNotAdded, Once};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Subcommands of `wattpost apikey`.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Make a key and print it. It is shown once: only a hash of it is stored.
    ///
    /// From then on, the API answers no request without a key (except health and metrics).
    ///
    /// Examples:
    ///   wattpost apikey add grafana --scope read
    ///   wattpost apikey add back-office --scope operate --expires 2027-12-31T00:00:00Z
    #[command(verbatim_doc_comment)]
    Add(AddArgs),
    /// List the keys: name, scope, expiry, latest use (about a minute late).
    List(SettingsArgs),
    /// Revoke a key. Running APIs refuse it within a few seconds.
    Revoke(RevokeArgs),
}

/// Flags of `apikey add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Name, to recognise the key in lists, in the audit log and when it is revoked
    name: String,
    /// What the key permits; each scope includes those before it
    #[arg(long, value_enum, default_value_t = ScopeArg::Read)]
    scope: ScopeArg,
    /// When the key expires, such as 2027-12-31T23:59:59Z [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

/// Flags of `apikey revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Name
    name: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ScopeArg {
    Read,
    Operate,
    Admin,
}

impl ScopeArg {
    pub(crate) const fn scope(self) -> Scope {
        match self {
            Self::Read => Scope::Read,
            Self::Operate => Scope::Operate,
            Self::Admin => Scope::Admin,
        }
    }
}

/// Prints the key, the list, or what was revoked.
pub(crate) fn run(command: &ApiKeyCommand) -> Result<ExitCode> {
    match command {
        ApiKeyCommand::Add(args) => add(args)?,
        ApiKeyCommand::List(settings) => {
            let keys = database::open(&settings.load()?, Use::Read)?.api_keys;
            for (key, _) in keys.api_keys()? {
                print_line!("{}", line(&key));
            }
        }
        ApiKeyCommand::Revoke(args) => {
            let keys = database::open(&args.settings.load()?, Use::Change)?.api_keys;
            if keys
                .revoke_api_key(&args.name, false, &command_line())?
                .is_err()
            {
                bail!(
                    "there is no API key {:?}; `wattpost apikey list` shows all",
                    args.name
                );
            }
            print_line!("{}: revoked", args.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    if !is_api_key_name(&args.name) {
        bail!(
            "{:?} cannot be the name of an API key: give {API_KEY_NAME_EXPECTED}",
            args.name
        );
    }
    let created_at = database::now();
    let expires_at = args.expires.as_deref().map(expiry).transpose()?;
    if let Some(at) = expires_at.filter(|at| *at <= created_at) {
        bail!("--expires is {at}, which is past; give a later time");
    }
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).context("get random bytes from the operating system")?;
    let secret = ApiSecret::from_random(random);
    let key = ApiKey {
        id: common::id::new_v7(),
        name: args.name.clone(),
        scope: args.scope.scope(),
        created_at,
        expires_at,
        last_used_at: None,
    };
    let keys = database::open(&args.settings.load()?, Use::Change)?.api_keys;
    let request = ChangeRequest::of(command_line());
    match keys.add_api_key(&key, &secret.hash(), &request)? {
        Once::Done(_) => {}
        Once::Refused(KeyNotAdded::NameTaken) => bail!(
            "there is an API key {:?} already; choose another name, or revoke it first",
            key.name
        ),
        Once::Refused(KeyNotAdded::TooMany) => bail!(
            "there are {API_KEYS_MAX} API keys, which is the maximum; revoke some (`wattpost apikey list` shows all)"
        ),
        // It has no idempotency key.
        other => bail!("the key was not added: {other:?}"),
    }
    // The secret alone on stdout, so that a script can store it.
    eprintln!(
        "{}\nThis is the only time that the key is shown:",
        line(&key)
    );
    print_line!("{}", secret.expose());
    Ok(())
}

fn expiry(text: &str) -> Result<Timestamp> {
    ocpp::timestamp::read(text)
        .map(|(at, _)| Timestamp::from(at))
        .with_context(|| format!("--expires is {text:?}; give a time such as 2027-12-31T23:59:59Z"))
}

fn line(key: &ApiKey) -> String {
    let mut line = format!("{}: {}, made {}", key.name, key.scope, key.created_at);
    if let Some(at) = key.expires_at {
        let is_past = at <= database::now();
        let word = if is_past { "expired" } else { "expires" };
        line.push_str(&format!(", {word} {at}"));
    }
    match key.last_used_at {
        Some(at) => line.push_str(&format!(", last used {at}")),
        None => line.push_str(", never used"),
    }
    line
}
