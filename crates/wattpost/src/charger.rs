//! `wattpost charger`: which chargers may connect, which need a password, how strictly their messages are checked.
//!
//! It writes to the database, which running gateways read every `gateway.directory_refresh_s`.

use crate::SettingsArgs;
use crate::config::{ByteSize, Settings};
use crate::database::{self, Use};
use crate::hint;
use crate::import::ImportArgs;
use crate::origin::command_line;
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::charger_import;
use central::command_request::CommandRequest;
use central::model::{
    CHARGER_ID_EXPECTED, ChargerSettings, CheckMode, CloseStyle, CommandId, FRAME_BYTES_MAX,
    LABEL_EXPECTED, Registration, SettingsPatch, is_charger_id, is_label,
};
use central::operation::password_change;
use central::ports::{
    ChangeKind, ChangeRequest, ChargerChange, ClusterEvent, DISCONNECT_CODE_DEFAULT,
    DISCONNECT_CODE_EXPECTED, DISCONNECT_REASON_EXPECTED, DisconnectRequest, DisconnectState,
    NewRotation, NotChanged, NotConnected, Once, RotationNotBegun, disconnect_seen,
    is_disconnect_code, is_disconnect_reason,
};
use central::query::parameters;
use clap::{Args, Subcommand, ValueEnum};
use common::password::{
    SENT_EXPECTED, SET_EXPECTED, can_be_sent, can_be_set, fits, generate, hash, hash_generated,
};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

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
    ///   wattpost charger set CP-17 --label "North gate" --site depot-7 --group fleet
    #[command(verbatim_doc_comment, visible_alias = "set")]
    Add(AddArgs),
    /// List the chargers that were added. (The API also lists those that only connected.)
    List(SettingsArgs),
    /// Add or change the chargers of a file (CSV or NDJSON), all or none.
    ///
    /// The first line names the columns: `charger_id`, `admission`, `password`, `check`, `frame_bytes_max`, `close_style`,
    /// `label`, `site`, `group`. A column that the file does not have stays as it is at each charger; an empty cell removes the value. Passwords
    /// are stored as hashes; one that the charger already has stays as it is. A file has at most 250 passwords.
    ///
    /// Examples:
    ///   wattpost charger import fleet.csv --dry-run
    ///   wattpost charger import fleet.csv
    #[command(verbatim_doc_comment)]
    Import(ImportArgs),
    /// Change a charger's password here and at the charger.
    ///
    /// The charger gets the new password with a command, and logs in again with it. Until then the old and the new one are
    /// accepted. Without --password-stdin the password is random, and nobody is told it.
    ///
    /// Examples:
    ///   wattpost charger rotate-password CP-17
    ///   wattpost charger rotate-password CP-17 --wait-until 2026-12-01T12:00:00Z
    ///   wattpost charger password CP-17
    #[command(verbatim_doc_comment)]
    RotatePassword(RotateArgs),
    /// Show the state of the newest change of a charger's password, as JSON.
    Password(OneArgs),
    /// Close the connection of a charger, which then connects again.
    ///
    /// Prints what became of it as JSON; fails unless the connection has ended. A later connection of the charger is never
    /// closed.
    ///
    /// Examples:
    ///   wattpost charger disconnect CP-17
    ///   wattpost charger disconnect CP-17 --code 1012 --reason "new certificate"
    #[command(verbatim_doc_comment)]
    Disconnect(DisconnectArgs),
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
    /// Text that people see beside the identity
    #[arg(long, value_name = "TEXT", conflicts_with = "no_label")]
    label: Option<String>,
    /// Remove the label
    #[arg(long)]
    no_label: bool,
    /// Id of the site where it stands (`wattpost site list`)
    #[arg(long, value_name = "ID", conflicts_with = "no_site")]
    site: Option<String>,
    /// It stands at no site
    #[arg(long)]
    no_site: bool,
    /// Group of chargers to which it belongs
    #[arg(long, value_name = "TEXT", conflicts_with = "no_group")]
    group: Option<String>,
    /// It belongs to no group
    #[arg(long)]
    no_group: bool,
    /// How the gateway ends its connections: frame (a Close frame), tcp (for firmware that stays away after a Close frame),
    /// or default (what the settings say)
    #[arg(long, value_name = "STYLE")]
    close_style: Option<CloseStyleArg>,
}

/// A value of `--close-style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CloseStyleArg {
    Default,
    Frame,
    Tcp,
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

/// Flags of `charger rotate-password`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Identity
    identity: String,
    /// Read the new password from stdin (one line)
    #[arg(long)]
    password_stdin: bool,
    /// How long the command waits for the charger, as RFC 3339; within 30 days [default: one hour]
    #[arg(long, value_name = "TIME")]
    wait_until: Option<String>,
}

/// Flags of `charger disconnect`.
#[derive(Debug, Args)]
pub(crate) struct DisconnectArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Identity
    identity: String,
    /// Close code of WebSocket: 1000, 1001, 1008, 1011, 1012, 1013, or 3000 to 4999
    #[arg(long, default_value_t = DISCONNECT_CODE_DEFAULT)]
    code: u16,
    /// Reason for the charger and for the record of the end: 1 to 123 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Flags of `charger remove` and `charger password`.
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
        ChargerCommand::Import(args) => return import(args),
        ChargerCommand::RotatePassword(args) => rotate(args)?,
        ChargerCommand::Password(args) => show_rotation(args)?,
        ChargerCommand::Disconnect(args) => return disconnect(args),
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
        Some(password) => Some(Some(hash(&password).map_err(anyhow::Error::msg)?)),
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
        label: text("--label", args.label.as_deref(), args.no_label)?,
        site: match &args.site {
            Some(site) => Some(Some(site.clone())),
            None => args.no_site.then_some(None),
        },
        group: text("--group", args.group.as_deref(), args.no_group)?,
        close_style: args.close_style.map(|style| match style {
            CloseStyleArg::Default => None,
            CloseStyleArg::Frame => Some(CloseStyle::Frame),
            CloseStyleArg::Tcp => Some(CloseStyle::Tcp),
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
        Once::Refused(NotChanged::NoSuchSite) => bail!(
            "there is no site {:?}; add it with `wattpost site add`, or give one of `wattpost site list`",
            args.site.as_deref().unwrap_or_default()
        ),
        // It has neither a condition nor an idempotency key, and the charger may exist.
        other => bail!("the charger was not changed: {other:?}"),
    }
    Ok(())
}

/// What an import does with passwords.
const PASSWORDS: charger_import::Passwords = charger_import::Passwords {
    expected: SET_EXPECTED,
    is_valid: can_be_set,
    fits,
    hash,
};

fn import(args: &ImportArgs) -> Result<ExitCode> {
    let mut lines = args.lines(charger_import::read)?;
    let chargers = database::open(&args.settings.load()?, args.purpose())?.chargers;
    let passwords = lines
        .iter()
        .filter(|line| charger_import::has_password(line));
    let passwords = passwords.count();
    if passwords > 0 {
        eprintln!("wattpost: passwords to hash: {passwords}; a hundred take some seconds");
        let stored = charger_import::stored_hashes(chargers.charger_profiles()?);
        for line in &mut lines {
            charger_import::hash_password(line, &stored, &PASSWORDS).map_err(anyhow::Error::msg)?;
        }
    }
    let verdicts = chargers.import_chargers(&lines, args.dry_run, &command_line())?;
    Ok(args.print(&verdicts))
}

/// A label or a group that is set, or removed.
fn text(flag: &str, given: Option<&str>, is_removed: bool) -> Result<Option<Option<String>>> {
    match given {
        None => Ok(is_removed.then_some(None)),
        Some(text) if is_label(text) => Ok(Some(Some(text.to_owned()))),
        Some(text) => bail!("{flag} {text:?}: give {LABEL_EXPECTED}"),
    }
}

fn password(args: &AddArgs) -> Result<Option<String>> {
    let password = if args.password_stdin {
        Some(read_password()?)
    } else {
        args.password.clone()
    };
    if let Some(password) = &password
        && !can_be_set(password)
    {
        bail!(
            "the password has {} bytes; give {}",
            password.len(),
            SET_EXPECTED
        );
    }
    Ok(password)
}

fn read_password() -> Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("read the password from stdin")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn rotate(args: &RotateArgs) -> Result<()> {
    let (password, hash): (_, fn(&str) -> _) = match args.password_stdin {
        true => (read_password()?, hash),
        false => (generate().map_err(anyhow::Error::msg)?, hash_generated),
    };
    if !can_be_sent(&password) {
        bail!(
            "the password has {} bytes and cannot be sent to a charger; give {SENT_EXPECTED}",
            password.len()
        );
    }
    let expires_at = match &args.wait_until {
        None => None,
        Some(text) => Some(parameters::time(text).with_context(|| {
            format!("--wait-until {text:?} is not {}", parameters::TIME_EXPECTED)
        })?),
    };
    let id = args.identity.trim();
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let detail = database
        .queries
        .charger(id)?
        .with_context(|| format!("no charger is known by the identity {id:?}"))?;
    let Some(version) = detail.charger.ocpp_version else {
        bail!(
            "charger {id:?} has sent no message yet, so it is not known how it takes a password; let it connect once, or set \
             the password in the charger and with `wattpost charger set {id} --password-stdin`"
        );
    };
    let translated = password_change(version, &password, database::now())
        .map_err(|faults| anyhow::anyhow!("OCPP {version} has no such command: {faults:?}"))?;
    let request = CommandRequest {
        charger_id: detail.charger.charger_id.clone(),
        action: translated.action.to_owned(),
        payload: translated.payload.to_string(),
        waits_when_offline: true,
        expires_at,
        answer_within_ms: None,
        skips_check: false,
    };
    let request_of = ChangeRequest::of(command_line());
    let by = request_of.requested_by().to_owned();
    let command_id = CommandId(common::id::new_v7());
    let now = database.commands.time()?;
    let command = request.accept(command_id, &by, Some(version), None, now)?;
    let new = NewRotation {
        charger_id: id.to_owned(),
        new_hash: hash(&password).map_err(anyhow::Error::msg)?,
        command,
        request: request_of,
    };
    match database.rotations.begin_rotation(&new)? {
        Once::Done(rotation) | Once::Repeated(rotation) => print_line!(
            "{}: the new password is in command {}; `wattpost charger password {id}` shows what becomes of it",
            rotation.charger_id,
            rotation.command
        ),
        Once::Refused(RotationNotBegun::Unknown) => {
            bail!("charger {id:?} was not added; add it with `wattpost charger add {id}`")
        }
        Once::Refused(RotationNotBegun::Open(open)) => bail!(
            "the change of the password of {id:?} by command {} is not decided: wait for the charger's next log-in, or set the \
             password that the charger has with `wattpost charger set {id} --password-stdin`",
            open.command
        ),
        Once::Refused(RotationNotBegun::QueueFull) => {
            bail!("too many commands wait for {id:?}; cancel some with `wattpost command cancel`")
        }
        // It has no idempotency key.
        Once::Mismatch | Once::InUse => bail!("the password was not changed"),
    }
    Ok(())
}

fn show_rotation(args: &OneArgs) -> Result<()> {
    let database = database::open(&args.settings.load()?, Use::Read)?;
    let id = args.identity.trim();
    let now = database.commands.time()?;
    let Some(rotation) = database.rotations.rotation(id, now)? else {
        bail!("charger {id:?} was not added; add it with `wattpost charger add {id}`");
    };
    print_line!("{}", serde_json::to_string_pretty(&rotation)?);
    Ok(())
}

/// How long `charger disconnect` waits for the end.
const DISCONNECT_WAIT: Duration = Duration::from_secs(5);

fn disconnect(args: &DisconnectArgs) -> Result<ExitCode> {
    if !is_disconnect_code(args.code) {
        bail!("--code is {}; give {DISCONNECT_CODE_EXPECTED}", args.code);
    }
    if let Some(reason) = &args.reason
        && !is_disconnect_reason(reason)
    {
        bail!("--reason is {reason:?}; give {DISCONNECT_REASON_EXPECTED}");
    }
    let settings = args.settings.load()?;
    let database = database::open(&settings, Use::Change)?;
    let id = args.identity.trim();
    let detail = database
        .queries
        .charger(id)?
        .with_context(|| format!("no charger is known by the identity {id:?}"))?;
    let wanted = DisconnectRequest {
        id: common::id::new_v7(),
        connection: detail.charger.newest_connection(),
        charger_id: detail.charger.charger_id,
        code: args.code,
        reason: args.reason.clone().unwrap_or_default(),
        at: database.disconnects.time()?,
        request: ChangeRequest::of(command_line()),
    };
    let request = match database.disconnects.request_disconnect(&wanted)? {
        Once::Done(request) | Once::Repeated(request) => request,
        Once::Refused(NotConnected) => {
            bail!("charger {id:?} is not connected, so there is no connection to close")
        }
        // It has no idempotency key.
        Once::Mismatch | Once::InUse => bail!("the connection was not closed"),
    };
    hint::give(
        &settings,
        &ClusterEvent::DisconnectWaiting {
            gateway: request.gateway_id,
        },
    );
    let deadline = Instant::now() + DISCONNECT_WAIT;
    let view = loop {
        let heard = database.disconnects.disconnect_heard(request.id)?;
        let view = disconnect_seen(
            &*database.queries,
            &request,
            heard,
            database.disconnects.time()?,
        )?;
        if view.state.is_final() || Instant::now() >= deadline {
            break view;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    print_line!("{}", serde_json::to_string(&view)?);
    Ok(match view.state {
        DisconnectState::Closed | DisconnectState::Ended => ExitCode::SUCCESS,
        DisconnectState::Pending | DisconnectState::Closing | DisconnectState::Expired => {
            ExitCode::FAILURE
        }
    })
}

fn list(settings: &Settings) -> Result<()> {
    let chargers = database::open(settings, Use::Read)?.chargers;
    for profile in chargers.charger_profiles()? {
        print_line!("{}", line(&ChargerSettings::of(&profile, 0)));
    }
    Ok(())
}

fn remove(args: &OneArgs) -> Result<()> {
    let database = database::open(&args.settings.load()?, Use::Change)?;
    let mut request = ChangeRequest::of(command_line());
    // By the database's clock, as the times of commands: those that were requested before it are not sent.
    request.origin.at = database.commands.time()?;
    let chargers = database.chargers;
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
    let close = match settings.close_style {
        None => "",
        Some(CloseStyle::Frame) => ", closed with a frame",
        Some(CloseStyle::Tcp) => ", closed without a frame",
    };
    let place: String = [
        ("label", &settings.label),
        ("site", &settings.site),
        ("group", &settings.group),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some(format!(", {name} {:?}", text.as_deref()?)))
    .collect();
    format!(
        "{}: {admission}, {password}, {check}{length}{close}{place}",
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
