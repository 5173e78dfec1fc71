//! `wattpost charger`: which chargers may connect, which need a password, how strictly their messages are checked.
//!
//! It writes to the database, which running gateways read every `gateway.directory_refresh_s`.

use crate::SettingsArgs;
use crate::config::{ByteSize, Settings};
use crate::database::{self, Use};
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use central::model::{
    CHARGER_ID_EXPECTED, ChargerSettings, CheckMode, FRAME_BYTES_MAX, Registration, SettingsPatch,
    is_charger_id,
};
use central::ports::{ChangeKind, ChangeRequest, ChargerChange, Once};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;
use std::str::FromStr;

/// Subcommands of `wattpost charger`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChargerCommand {
    /// Add a charger, or change its settings; settings that are not named stay as they are.
    ///
    /// Examples:
    ///   wattpost charger add CP-17
    ///   wattpost charger add CP-17 --password-stdin < cp-17.password
    ///   wattpost charger add CP-18 --admission rejected
    ///   wattpost charger set CP-19 --frame-bytes-max 8MiB
    #[command(verbatim_doc_comment, visible_alias = "set")]
    Add(AddArgs),
    /// List the chargers that were added. (The API also lists those that only connected.)
    List(SettingsArgs),
    /// Remove a charger's settings; its messages and transactions stay.
    Remove(OneArgs),
}

/// Flags of `charger add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Identity: the last part of the URL that the charger connects to
    identity: String,
    /// Answer to BootNotification: accepted (the default for a new charger), pending or rejected
    #[arg(long)]
    admission: Option<AdmissionArg>,
    /// Basic-auth password. Other users of this machine can see it; --password-stdin is safer
    #[arg(long, conflicts_with_all = ["password_stdin", "no_password"])]
    password: Option<String>,
    /// Read the password from stdin (one line)
    #[arg(long, conflicts_with = "no_password")]
    password_stdin: bool,
    /// Remove the password: the charger connects without one
    #[arg(long)]
    no_password: bool,
    /// Payload checks: strict, warn or off [default: policy.check]
    #[arg(long)]
    check: Option<CheckArg>,
    /// Longest message, from its next connection on: 4KiB to 8MiB, or `default` for the setting of all
    #[arg(long, value_name = "SIZE")]
    frame_bytes_max: Option<FrameBytesArg>,
}

/// A value of `--frame-bytes-max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameBytesArg {
    Default,
    Bytes(u32),
}

impl FromStr for FrameBytesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("default") {
            return Ok(Self::Default);
        }
        let ByteSize(bytes) = text.parse()?;
        u32::try_from(bytes)
            .ok()
            .filter(|bytes| FRAME_BYTES_MAX.contains(bytes))
            .map(Self::Bytes)
            .ok_or_else(|| {
                format!(
                    "{text:?} is {bytes} bytes; give {} to {} (8MiB, because a record must fit into the journal and \
                     into a message of RabbitMQ), or `default`",
                    FRAME_BYTES_MAX.start(),
                    FRAME_BYTES_MAX.end()
                )
            })
    }
}

/// Flags of `charger remove`.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Identity
    identity: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AdmissionArg {
    Accepted,
    Pending,
    Rejected,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckArg {
    Strict,
    Warn,
    Off,
}

/// Prints the charger's settings after the change.
pub(crate) fn run(command: &ChargerCommand) -> Result<ExitCode> {
    match command {
        ChargerCommand::Add(args) => add(args)?,
        ChargerCommand::List(settings) => list(&settings.load()?)?,
        ChargerCommand::Remove(args) => remove(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> Result<()> {
    let identity = args.identity.trim();
    if !is_charger_id(identity) {
        bail!(
            "{:?} cannot be an identity, the gateway would refuse it: give {CHARGER_ID_EXPECTED}",
            args.identity
        );
    }
    let settings = args.settings.load()?;
    if let Some(FrameBytesArg::Bytes(bytes)) = args.frame_bytes_max {
        let unfinished = settings.gateway.unfinished_bytes_max as u64;
        if unfinished < 2 * u64::from(bytes) {
            bail!(
                "--frame-bytes-max {bytes} is more than half of gateway.unfinished_bytes_max, which is {unfinished}: \
                 one charger could take the room of all others; raise the setting to {} and restart the gateways, \
                 or give a lower size",
                2 * u64::from(bytes)
            );
        }
    }
    let password_hash = match password(args)? {
        Some(password) => Some(Some(hash(&password)?)),
        None => args.no_password.then_some(None),
    };
    let patch = SettingsPatch {
        registration: args.admission.map(|admission| match admission {
            AdmissionArg::Accepted => Registration::Accepted,
            AdmissionArg::Pending => Registration::Pending,
            AdmissionArg::Rejected => Registration::Rejected,
        }),
        password_hash,
        check: args.check.map(|check| {
            Some(match check {
                CheckArg::Strict => CheckMode::Strict,
                CheckArg::Warn => CheckMode::Warn,
                CheckArg::Off => CheckMode::Off,
            })
        }),
        frame_bytes_max: args.frame_bytes_max.map(|bytes| match bytes {
            FrameBytesArg::Default => None,
            FrameBytesArg::Bytes(bytes) => Some(bytes),
        }),
    };
    let change = ChargerChange {
        charger_id: identity.to_owned(),
        kind: ChangeKind::Set,
        patch,
        request: ChangeRequest::of(command_line()),
    };
    let chargers = database::open(&settings, Use::Change)?.chargers;
    match chargers.change_charger(&change)? {
        Once::Done(settings) | Once::Repeated(settings) => print_line!("{}", line(&settings)),
        // It has neither a condition nor an idempotency key, and the charger may exist.
        other => bail!("the charger was not changed: {other:?}"),
    }
    Ok(())
}

fn password(args: &AddArgs) -> Result<Option<String>> {
    let password = if args.password_stdin {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .context("read the password from stdin")?;
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    } else {
        args.password.clone()
    };
    if let Some(password) = &password
        && !(8..=64).contains(&password.len())
    {
        bail!(
            "the password has {} bytes; give 8 to 64 (OCPP chargers accept 16 to 40)",
            password.len()
        );
    }
    Ok(password)
}

/// A 1.6 `AuthorizationKey` in lower-case hexadecimal; other passwords unchanged. Chargers send such a key as
/// hexadecimal in either case or as raw bytes (rule S-4), and the gateway compares all of them with this form.
fn normalized(password: &str) -> String {
    let is_key = (32..=40).contains(&password.len())
        && password.len().is_multiple_of(2)
        && password.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_key {
        password.to_ascii_lowercase()
    } else {
        password.to_owned()
    }
}

/// Argon2id with a new salt, as a PHC string. The password itself is not stored (A01.FR.08).
fn hash(password: &str) -> Result<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(normalized(password).as_bytes())
        .map_err(|error| anyhow::anyhow!("hash the password: {error}"))?;
    Ok(hash.to_string())
}

fn list(settings: &Settings) -> Result<()> {
    let chargers = database::open(settings, Use::Read)?.chargers;
    for profile in chargers.charger_profiles()? {
        print_line!("{}", line(&ChargerSettings::of(&profile, 0)));
    }
    Ok(())
}

fn remove(args: &OneArgs) -> Result<()> {
    let chargers = database::open(&args.settings.load()?, Use::Change)?.chargers;
    let request = ChangeRequest::of(command_line());
    if chargers.remove_charger(&args.identity, &request)?.is_err() {
        bail!("charger {:?} was not added", args.identity);
    }
    print_line!("{}: removed", args.identity);
    Ok(())
}

fn line(settings: &ChargerSettings) -> String {
    let admission = match settings.admission {
        Registration::Accepted => "accepted",
        Registration::Pending => "pending",
        Registration::Rejected => "rejected",
    };
    let password = match settings.has_password {
        true => "password",
        false => "no password",
    };
    let check = match settings.check {
        None => "payloads checked as policy.check says",
        Some(CheckMode::Strict) => "payloads checked strictly",
        Some(CheckMode::Warn) => "payloads checked with warnings",
        Some(CheckMode::Off) => "payloads not checked",
    };
    let length = settings
        .frame_bytes_max
        .map(|bytes| format!(", messages of up to {}", ByteSize(bytes.into())))
        .unwrap_or_default();
    format!(
        "{}: {admission}, {password}, {check}{length}",
        settings.charger_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_message_is_a_size_within_its_bounds_or_default() {
        let parse = |text: &str| text.parse::<FrameBytesArg>();
        assert_eq!(parse("8MiB"), Ok(FrameBytesArg::Bytes(8 << 20)));
        assert_eq!(parse("4096"), Ok(FrameBytesArg::Bytes(4_096)));
        assert_eq!(parse(" Default "), Ok(FrameBytesArg::Default));
        for text in ["8388609", "9MiB", "4095", "0", "99999TiB"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(text) && error.contains("8388608"), "{error}");
        }
        for text in ["", "many", "-1", "nan"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
