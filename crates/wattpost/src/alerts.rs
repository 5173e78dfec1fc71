//! `wattpost alerts`: lists alerts and their rules, and keeps people from being told of what they know.
//!
//! It reads and writes the database. A process with the API evaluates alerts; it takes in what is written here with its next
//! round, within `alerts.interval_ms`.

use crate::SettingsArgs;
use crate::database::{self, Database, Use};
use crate::origin::{command_line, machine};
use crate::output::print_line;
use anyhow::{Context, Result, bail};
use central::Timestamp;
use central::alert::{Severity, rules};
use central::model::{
    ALERT_NOTE_CHARS_MAX, Alert, AlertState, CHARGER_ID_EXPECTED, SILENCE_MATCHER_CHARS_MAX,
    SILENCE_MS_MAX, SILENCES_MAX, SITE_ID_EXPECTED, Silence, SilenceMatcher, is_charger_id,
    is_site_id,
};
use central::ports::{AlertFilter, ChangeRequest, NotAcknowledged, Once, SilenceNotAdded};
use central::query::{PAGE_MAX, PageRequest};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;
use uuid::Uuid;

/// Subcommands of `wattpost alerts`.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List alerts, the newest first. Without a filter: those that are pending or firing.
    List(ListArgs),
    /// Note that somebody has taken note of an alert that fires. Its end is told nevertheless.
    #[command(
        after_help = "Example:\n  wattpost alerts ack 0198c0de-0000-7000-8000-000000000001 --note 'technician is on the way'"
    )]
    Ack(AckArgs),
    /// Tell nobody of some alerts for a while. Alerts that still fire afterwards are told then.
    #[command(
        after_help = "Examples:\n  wattpost alerts silence --charger CP-17 --for-minutes 120 --comment maintenance\n  wattpost alerts silence --name ChargerFlapping --for-minutes 1440\n  wattpost alerts silence --site depot-7 --for-minutes 480 --comment 'the grid operator works there'"
    )]
    Silence(SilenceArgs),
    /// List the silences, the newest first, as JSON, one per line.
    Silences(PlainArgs),
    /// Remove a silence.
    Unsilence(UnsilenceArgs),
    /// Send one mail with the settings `alerts.mail`, from this machine.
    ///
    /// Exit code 0: the server has accepted it. 1: it has not.
    TestMail(PlainArgs),
    /// List the rules: name, severity, times, condition, and whether they are evaluated.
    Rules(RulesArgs),
}

/// Flags of `alerts list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Only those of this severity
    #[arg(long, value_enum)]
    severity: Option<SeverityArg>,
    /// Only those of this rule, such as `ChargerOffline`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only those of this charger
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// Only those of the site with this id, and of its chargers
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Alerts at most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// As JSON, one alert per line
    #[arg(long)]
    json: bool,
}

/// A state.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateArg {
    Pending,
    Firing,
    Resolved,
}

/// A severity.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SeverityArg {
    Page,
    Ticket,
    Info,
}

/// Flags of `alerts ack`.
#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The alert's id
    id: Uuid,
    /// A note for others
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

/// Flags of `alerts silence`.
#[derive(Debug, Args)]
pub(crate) struct SilenceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only alerts of this rule, such as `ChargerOffline`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only those of this charger
    #[arg(long, value_name = "IDENTITY")]
    charger: Option<String>,
    /// Only those with this group: the id of a gateway
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only those of the site with this id, and of its chargers
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only those about this subject, as `alerts list --json` shows it
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// For how long, from now
    #[arg(long, value_name = "MINUTES")]
    for_minutes: u32,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

/// The settings alone.
#[derive(Debug, Args)]
pub(crate) struct PlainArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Flags of `alerts unsilence`.
#[derive(Debug, Args)]
pub(crate) struct UnsilenceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The silence's id
    id: Uuid,
}

/// Flags of `alerts rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// As JSON, one rule per line
    #[arg(long)]
    json: bool,
}

/// Prints the list, or what was done.
pub(crate) fn run(command: &AlertsCommand) -> Result<ExitCode> {
    match command {
        AlertsCommand::List(args) => list(args)?,
        AlertsCommand::Ack(args) => acknowledge(args)?,
        AlertsCommand::Silence(args) => silence(args)?,
        AlertsCommand::Silences(args) => {
            for silence in open(&args.settings, Use::Read)?.alerts.silences()? {
                let view = silence.view(database::now());
                print_line!("{}", serde_json::to_string(&view).context("write JSON")?);
            }
        }
        AlertsCommand::Unsilence(args) => {
            let alerts = open(&args.settings, Use::Change)?.alerts;
            if !alerts.remove_silence(args.id, &request())? {
                bail!(
                    "there is no silence {}; `wattpost alerts silences` lists them",
                    args.id
                );
            }
            print_line!("{}: removed", args.id);
        }
        AlertsCommand::TestMail(args) => return test_mail(args),
        AlertsCommand::Rules(args) => show_rules(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs) -> Result<()> {
    if let Some(name) = &args.name {
        check_name("--name", name)?;
    }
    let filter = AlertFilter {
        state: args.state.map(|state| match state {
            StateArg::Pending => AlertState::Pending,
            StateArg::Firing => AlertState::Firing,
            StateArg::Resolved => AlertState::Resolved,
        }),
        severity: args.severity.map(|severity| match severity {
            SeverityArg::Page => Severity::Page,
            SeverityArg::Ticket => Severity::Ticket,
            SeverityArg::Info => Severity::Info,
        }),
        name: args.name.clone(),
        charger: args.charger.clone(),
        site: args.site.clone(),
    };
    let alerts = open(&args.settings, Use::Read)?.alerts;
    let states = match filter {
        AlertFilter {
            state: None,
            name: None,
            charger: None,
            site: None,
            ..
        } => vec![Some(AlertState::Firing), Some(AlertState::Pending)],
        _ => vec![filter.state],
    };
    let mut left = args.limit;
    for state in states {
        let filter = AlertFilter {
            state,
            ..filter.clone()
        };
        let mut page = PageRequest {
            after: None,
            limit: PAGE_MAX,
        };
        while left > 0 {
            let found = alerts.alerts(&filter, &page)?;
            for alert in found.items.iter().take(left) {
                match args.json {
                    true => {
                        let view = alert.view();
                        print_line!("{}", serde_json::to_string(&view).context("write JSON")?);
                    }
                    false => print_line!("{}", line(alert)),
                }
            }
            left = left.saturating_sub(found.items.len());
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

fn acknowledge(args: &AckArgs) -> Result<()> {
    check_text("--note", &args.note)?;
    let alerts = open(&args.settings, Use::Change)?.alerts;
    match alerts.acknowledge_alert(args.id, &args.note, &request())? {
        Once::Done(alert) | Once::Repeated(alert) => print_line!("{}", line(&alert)),
        Once::Refused(NotAcknowledged::Unknown) => bail!(
            "there is no alert {}; `wattpost alerts list` lists them",
            args.id
        ),
        Once::Refused(NotAcknowledged::NotFiring(state)) => bail!(
            "the alert {} is {}; only one that fires can be acknowledged",
            args.id,
            state.as_str()
        ),
        // It has no idempotency key.
        Once::Mismatch | Once::InUse => bail!("the alert was not acknowledged; try again"),
    }
    Ok(())
}

fn silence(args: &SilenceArgs) -> Result<()> {
    if let Some(name) = &args.name {
        check_name("--name", name)?;
    }
    if let Some(id) = args.charger.as_deref().filter(|id| !is_charger_id(id)) {
        bail!("--charger is {id:?}; give {CHARGER_ID_EXPECTED}");
    }
    if let Some(group) = &args.group
        && !(1..=SILENCE_MATCHER_CHARS_MAX).contains(&group.chars().count())
    {
        bail!("--group is {group:?}; give a text of 1 to {SILENCE_MATCHER_CHARS_MAX} characters");
    }
    if let Some(site) = args.site.as_deref().filter(|site| !is_site_id(site)) {
        bail!("--site is {site:?}; give {SITE_ID_EXPECTED}");
    }
    if let Some(subject) = &args.subject
        && subject.chars().count() > SILENCE_MATCHER_CHARS_MAX
    {
        bail!(
            "--subject is longer than {SILENCE_MATCHER_CHARS_MAX} characters; give the subject of an alert"
        );
    }
    check_text("--comment", &args.comment)?;
    let ms = i64::from(args.for_minutes) * 60_000;
    if !(1..=SILENCE_MS_MAX).contains(&ms) {
        bail!(
            "--for-minutes is {}; give 1 to {}",
            args.for_minutes,
            SILENCE_MS_MAX / 60_000
        );
    }
    let matcher = SilenceMatcher {
        name: args.name.clone(),
        charger_id: args.charger.clone(),
        group: args.group.clone(),
        site: args.site.clone(),
        subject: args.subject.clone(),
    };
    if matcher.is_empty() {
        bail!("a silence of every alert is refused; give --name, --charger, --group or --site");
    }
    let request = request();
    let now: Timestamp = request.origin.at;
    let silence = Silence {
        id: common::id::new_v7(),
        matcher,
        starts_at: now,
        ends_at: now.plus_millis(ms),
        comment: args.comment.clone(),
        created_by: request.origin.by.name.clone(),
        created_at: now,
    };
    let alerts = open(&args.settings, Use::Change)?.alerts;
    match alerts.add_silence(&silence, &request)? {
        Once::Done(silence) | Once::Repeated(silence) => {
            print_line!("{}: until {}", silence.id, silence.ends_at);
        }
        Once::Refused(SilenceNotAdded::TooMany) => bail!(
            "there are {SILENCES_MAX} silences, which is the maximum; remove some (`wattpost alerts silences` lists them)"
        ),
        // It has no idempotency key.
        Once::Refused(SilenceNotAdded::Removed(_)) | Once::Mismatch | Once::InUse => {
            bail!("the silence was not added; try again")
        }
    }
    Ok(())
}

fn show_rules(args: &RulesArgs) -> Result<()> {
    let settings = args.settings.load()?;
    for view in api::rule_views(&settings.alerts.rules, settings.alerts.enabled) {
        if args.json {
            print_line!("{}", serde_json::to_string(&view).context("write JSON")?);
            continue;
        }
        let rule = view.rule;
        let condition = match rule.condition {
            "" => "only Prometheus evaluates it",
            _ if !view.evaluated => "switched off",
            condition => condition,
        };
        print_line!(
            "{} ({}), for {} s, ends after {} s: {condition}",
            rule.name,
            rule.severity.word(),
            rule.for_s,
            rule.keep_firing_s
        );
    }
    Ok(())
}

fn test_mail(args: &PlainArgs) -> Result<ExitCode> {
    let settings = args.settings.load()?;
    let mailer = api::Mailer::new(&settings.alerts.mail).map_err(anyhow::Error::msg)?;
    let Some(mailer) = mailer else {
        bail!(
            "alerts.mail.server is empty, so no mail is sent; set it to the name of the SMTP server"
        );
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let sent = runtime.block_on(mailer.send_test(&machine()));
    // Resolving a name cannot be cancelled, and is not waited for.
    runtime.shutdown_background();
    let server = mailer.server();
    let to = settings.alerts.mail.to.join(", ");
    Ok(match sent {
        Ok(refused) if refused.is_empty() => {
            print_line!("{server} has accepted a mail to {to}");
            ExitCode::SUCCESS
        }
        Ok(refused) => {
            print_line!(
                "{server} has accepted a mail, but refuses recipients; correct alerts.mail.to: {}",
                refused.join("; ")
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            print_line!("{server} has not accepted the mail to {to}: {error}");
            ExitCode::FAILURE
        }
    })
}

fn open(settings: &SettingsArgs, purpose: Use) -> Result<Database> {
    database::open(&settings.load()?, purpose)
}

fn request() -> ChangeRequest {
    ChangeRequest::of(command_line())
}

fn check_name(flag: &str, name: &str) -> Result<()> {
    if rules().any(|rule| rule.name == name) {
        return Ok(());
    }
    bail!(
        "{flag} is {name:?}; give the name of an alert, such as ChargerOffline (`wattpost alerts rules` lists them)"
    )
}

fn check_text(flag: &str, text: &str) -> Result<()> {
    let chars = text.chars().count();
    if chars <= ALERT_NOTE_CHARS_MAX {
        return Ok(());
    }
    bail!("{flag} has {chars} characters; give at most {ALERT_NOTE_CHARS_MAX}")
}

fn line(alert: &Alert) -> String {
    let mut line = format!(
        "{}: {} ({}), {} since {}: {}",
        alert.id,
        alert.name,
        alert.severity.word(),
        alert.state.as_str(),
        alert.active_at,
        alert.summary
    );
    if let Some(by) = &alert.acknowledged {
        let name = by.by.as_deref().unwrap_or("somebody");
        line.push_str(&format!("; acknowledged by {name}"));
        if !by.note.is_empty() {
            line.push_str(&format!(" ({})", by.note));
        }
    }
    if alert.silenced_by.is_some() {
        line.push_str("; silenced");
    }
    if let Some(name) = &alert.inhibited_by {
        line.push_str(&format!("; explained by {name}"));
    }
    line
}
