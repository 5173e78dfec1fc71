//! Mail of alerts: which alerts are told together, what a mail says, and the SMTP server that takes it.
//!
//! There is no queue besides the alerts: one that fires and was not mailed is due until a server has accepted its mail. So
//! a server that is away loses nothing, and what waits is bounded by the number of alerts.

use central::Timestamp;
use central::alert::{Severity, rule};
use central::model::{Alert, AlertState};
use common::settings::{Section, SettingError};
use lettre::message::{Mailbox, MessageBuilder, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Alerts that a mail names; of more it has the number.
const NAMED_MAX: usize = 20;
/// Recipients at most.
const TO_MAX: usize = 50;

/// How a connection to the server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// It begins in clear text and must become encrypted before anything is sent (STARTTLS).
    Starttls,
    /// It is encrypted from the start.
    Tls,
    /// It is not encrypted. For a server on this machine.
    None,
}

/// Where mails are sent. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The name or the address of the SMTP server. Default: empty, no mail is sent.
    pub server: String,
    /// Its port. Default 587; 1 to 65,535.
    pub port: u16,
    /// Default `starttls`.
    pub tls: MailTls,
    /// The user at the server. Default: empty, none.
    pub user: String,
    /// The user's password. Default: empty.
    pub password: String,
    /// A file whose first line is the password, in place of `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Certificates of authorities, in PEM, besides those of the operating system. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The sender, such as `Wattpost <wattpost@example.com>`.
    pub from: String,
    /// The recipients. At most 50.
    pub to: Vec<String>,
    /// The least severity that is mailed. Default `ticket`.
    pub severity_min: Severity,
    /// Seconds for which alerts of one rule and group are collected for one mail. Default 30; 0 to 3,600.
    pub group_wait_s: u32,
    /// How long the server may take for each step, in milliseconds. Default 15,000; 100 to 60,000.
    pub timeout_ms: u64,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            server: String::new(),
            port: 587,
            tls: MailTls::Starttls,
            user: String::new(),
            password: String::new(),
            password_file: None,
            ca_file: None,
            from: String::new(),
            to: Vec::new(),
            severity_min: Severity::Ticket,
            group_wait_s: 30,
            timeout_ms: 15_000,
        }
    }
}

impl MailConfig {
    /// Validates the settings. No file is read.
    ///
    /// # Errors
    /// The first setting that cannot work, with its value and what it must be.
    pub fn check(&self) -> Result<(), SettingError> {
        let mail = Section("alerts.mail");
        mail.within("group_wait_s", u64::from(self.group_wait_s), 0, 3_600)?;
        mail.within("timeout_ms", self.timeout_ms, 100, 60_000)?;
        if self.server.is_empty() {
            return Ok(());
        }
        mail.within("port", u64::from(self.port), 1, 65_535)?;
        let address = "an address such as \"Wattpost <wattpost@example.com>\"";
        if self.from.parse::<Mailbox>().is_err() {
            return Err(mail.error("from", &format!("{:?}", self.from), address, None));
        }
        let wrong = self.to.iter().find(|to| to.parse::<Mailbox>().is_err());
        if let Some(wrong) = wrong {
            return Err(mail.error("to", &format!("{wrong:?}"), address, None));
        }
        mail.within("to (its number of addresses)", self.to.len(), 1, TO_MAX)?;
        if self.user.is_empty() && (!self.password.is_empty() || self.password_file.is_some()) {
            let right = "the name of the user whose password is given";
            return Err(mail.error("user", &"\"\"", right, None));
        }
        if !self.user.is_empty() && self.tls == MailTls::None {
            let right = "\"starttls\" or \"tls\" where a password is sent";
            return Err(mail.error("tls", &"\"none\"", right, None));
        }
        Ok(())
    }
}

/// A mail about alerts of one rule and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mail {
    /// Its alerts.
    pub(super) alerts: Vec<Uuid>,
    /// Whether it tells of their end.
    pub(super) is_end: bool,
    subject: String,
    text: String,
}

impl Mail {
    /// Adds that other processes may send the same.
    pub(super) fn say_alone(&mut self) {
        self.text.push_str(
            "\nThe process that sends this mail does not reach the database, so another process may have sent the same mail.\n",
        );
    }
}

#[cfg(test)]
impl Mail {
    pub(super) fn is_about(&self, name: &str) -> bool {
        self.subject.contains(name)
    }

    pub(super) fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }
}

/// The mails that are due: of alerts that fire and were not mailed, and of those in `ended`.
pub(super) fn due<'a>(
    firing: impl Iterator<Item = &'a Alert>,
    ended: impl Iterator<Item = &'a Alert>,
    config: &MailConfig,
    now: Timestamp,
) -> Vec<Mail> {
    let mut groups: BTreeMap<(bool, Severity, &str, &str), Vec<&Alert>> = BTreeMap::new();
    // Severities are ordered from the most urgent one.
    let is_wanted = |alert: &&Alert| alert.severity <= config.severity_min;
    let firing = firing.filter(|alert| {
        alert.state == AlertState::Firing
            && alert.told.firing.is_some()
            && alert.told.mailed.is_none()
            && alert.silenced_by.is_none()
    });
    for (is_end, alert) in firing
        .filter(is_wanted)
        .map(|alert| (false, alert))
        .chain(ended.filter(is_wanted).map(|alert| (true, alert)))
    {
        let key = (
            is_end,
            alert.severity,
            alert.name.as_str(),
            alert.group.as_str(),
        );
        groups.entry(key).or_default().push(alert);
    }
    let wait_ms = i64::from(config.group_wait_s) * 1_000;
    groups
        .into_iter()
        .filter(|((is_end, ..), alerts)| {
            let began = |alert: &&Alert| match is_end {
                true => alert.resolved_at,
                false => alert.told.firing,
            };
            let first = alerts.iter().filter_map(began).min();
            first.is_some_and(|first| first.plus_millis(wait_ms) <= now)
        })
        .map(|((is_end, severity, name, _), alerts)| mail(name, severity, &alerts, is_end))
        .collect()
}

fn mail(name: &str, severity: Severity, alerts: &[&Alert], is_end: bool) -> Mail {
    let what = match alerts {
        [one] if one.subject.is_empty() => String::new(),
        [one] => format!(": {}", one.subject),
        many => format!(": {} alerts", many.len()),
    };
    let ended = if is_end { "ended, " } else { "" };
    let mut text = String::new();
    for alert in alerts.iter().take(NAMED_MAX) {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "- {} (since {}", alert.summary, alert.active_at);
        if let Some(at) = alert.resolved_at {
            let _ = write!(text, ", ended {at}");
        }
        text.push_str(")\n");
    }
    if alerts.len() > NAMED_MAX {
        let _ = writeln!(text, "and {} more", alerts.len() - NAMED_MAX);
    }
    if let Some(rule) = rule(name, severity).filter(|_| !is_end) {
        let _ = write!(
            text,
            "\nWhat is at stake: {}\nWhat to do: {}\n",
            rule.at_stake, rule.to_do
        );
    }
    let _ = write!(text, "\n{} (severity {})\n", name, severity.word());
    for alert in alerts.iter().take(NAMED_MAX) {
        let _ = writeln!(text, "wattpost alerts ack {}", alert.id);
    }
    Mail {
        alerts: alerts.iter().map(|alert| alert.id).collect(),
        is_end,
        subject: one_line(&format!(
            "[Wattpost] {ended}{}: {name}{what}",
            severity.word()
        )),
        text,
    }
}

/// A text without line ends and other control characters, which chargers may have put into it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .take(200)
        .collect()
}

/// Sends mails.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    server: String,
}

impl Mailer {
    /// What sends mails with these settings; `None` if none are to be sent.
    ///
    /// # Errors
    /// When a file of the settings cannot be read or used.
    pub fn new(config: &MailConfig) -> Result<Option<Self>, String> {
        if config.server.is_empty() {
            return Ok(None);
        }
        let address = |key: &str, text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| format!("alerts.mail.{key} is {text:?}: {error}"))
        };
        let mut tls = TlsParameters::builder(config.server.clone());
        if let Some(path) = &config.ca_file {
            let failed = |why: &dyn std::fmt::Display| {
                let path = path.display();
                format!("failed to use the file {path} of alerts.mail.ca_file: {why}")
            };
            let pem = std::fs::read(path).map_err(|error| failed(&error))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| failed(&error))?;
            tls = tls.add_root_certificate(certificate);
        }
        let tls = || {
            tls.build()
                .map_err(|error| format!("failed to prepare TLS to the mail server: {error}"))
        };
        let tls = match config.tls {
            MailTls::Starttls => Tls::Required(tls()?),
            MailTls::Tls => Tls::Wrapper(tls()?),
            MailTls::None => Tls::None,
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.server.as_str())
                .port(config.port)
                .tls(tls)
                .timeout(Some(Duration::from_millis(config.timeout_ms)));
        if !config.user.is_empty() {
            let password = match &config.password_file {
                None => config.password.clone(),
                Some(path) => {
                    let text = std::fs::read_to_string(path).map_err(|error| {
                        let path = path.display();
                        format!(
                            "failed to read the file {path} of alerts.mail.password_file: {error}"
                        )
                    })?;
                    text.lines().next().unwrap_or_default().to_owned()
                }
            };
            builder = builder.credentials(Credentials::new(config.user.clone(), password));
        }
        let to = config.to.iter().map(|to| address("to", to));
        Ok(Some(Self {
            transport: builder.build(),
            from: address("from", &config.from)?,
            to: to.collect::<Result<_, _>>()?,
            server: format!("{}:{}", config.server, config.port),
        }))
    }

    /// The server, for messages to people.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends a mail that says that mails arrive.
    ///
    /// # Errors
    /// What the server, or the way to it, refuses.
    pub async fn send_test(&self, from_machine: &str) -> Result<(), String> {
        let subject = "[Wattpost] test".to_owned();
        let text = format!("Mails of alerts from {from_machine} arrive.\n");
        self.send_text(&Uuid::now_v7().to_string(), subject, text)
            .await
            .map_err(|error| error.words)
    }

    /// Sends a mail.
    pub(super) async fn send(&self, mail: &Mail) -> Result<(), Refused> {
        let first = mail.alerts.first().map(Uuid::to_string).unwrap_or_default();
        // The same in each attempt, so that a mail that was accepted twice is recognised.
        let id = format!("{first}.{}", if mail.is_end { "end" } else { "firing" });
        self.send_text(&id, mail.subject.clone(), mail.text.clone())
            .await
    }

    async fn send_text(&self, id: &str, subject: String, text: String) -> Result<(), Refused> {
        let mut builder: MessageBuilder = Message::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{id}@wattpost>")))
            .subject(subject)
            .raw_header(header::HeaderValue::new(
                header::HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let message = builder
            .header(header::ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| Refused {
                words: error.to_string(),
                is_of_mail: true,
            })?;
        let sent = self.transport.send(message).await;
        sent.map(|_| ()).map_err(|error| {
            let mut words = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(next) = cause {
                let _ = write!(words, ": {next}");
                cause = next.source();
            }
            Refused {
                words,
                is_of_mail: error.is_permanent(),
            }
        })
    }
}

/// Why a mail was not accepted.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) words: String,
    /// Whether the server answered so to this mail, so that it may accept others.
    pub(super) is_of_mail: bool,
}

/// What is known of the server.
#[derive(Debug, Clone, Default)]
pub(super) struct Failing {
    /// Since when no mail was accepted, and the last error.
    pub(super) since: Option<(Timestamp, String)>,
    attempts: u32,
    /// By a clock that nobody sets.
    next_at: Option<Instant>,
}

impl Failing {
    /// Whether an attempt is due.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.next_at.is_none_or(|at| at <= now)
    }

    /// Notes what came of an attempt.
    pub(super) fn note(
        &mut self,
        result: &Result<(), String>,
        at: Timestamp,
        now: Instant,
        random: f64,
    ) {
        match result {
            Ok(()) => *self = Self::default(),
            Err(error) => {
                let since = self.since.take().map_or(at, |(since, _)| since);
                self.since = Some((since, error.clone()));
                // 2 s, 4 s, … 5 min, with up to a quarter more.
                let pause_s = (1_u64 << self.attempts.min(9).saturating_add(1)).min(300);
                self.attempts = self.attempts.saturating_add(1);
                let pause = Duration::from_secs(pause_s).mul_f64(1.0 + random / 4.0);
                self.next_at = now.checked_add(pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::model::Told;

    fn alert(number: u128, group: &str) -> Alert {
        Alert {
            id: Uuid::from_u128(number),
            name: "ChargerOffline".to_owned(),
            severity: Severity::Ticket,
            subject: format!("CP-{number}\r\nBcc: x"),
            charger_id: Some(format!("CP-{number}")),
            group: group.to_owned(),
            state: AlertState::Firing,
            summary: format!("CP-{number} is offline"),
            active_at: Timestamp(0),
            fired_at: Some(Timestamp(0)),
            resolved_at: None,
            clear_since: None,
            hold_ms: 0,
            occurrences: 1,
            acknowledged: None,
            silenced_by: None,
            inhibited_by: None,
            told: Told {
                firing: Some(Timestamp(1_000)),
                ..Told::default()
            },
        }
    }

    #[test]
    fn alerts_of_a_group_are_one_mail_that_names_twenty() {
        let config = MailConfig::default();
        let many: Vec<Alert> = (0..30).map(|number| alert(number, "g")).collect();
        let other = alert(99, "h");
        let all = || many.iter().chain([&other]);
        let none = || std::iter::empty();
        assert_eq!(due(all(), none(), &config, Timestamp(30_999)), []);
        let mails = due(all(), none(), &config, Timestamp(31_000));
        assert_eq!(mails.len(), 2);
        assert_eq!(
            mails[0].subject,
            "[Wattpost] ticket: ChargerOffline: 30 alerts"
        );
        assert_eq!(mails[0].alerts.len(), 30);
        assert_eq!(mails[0].text.matches("is offline").count(), 20);
        assert!(mails[0].text.contains("and 10 more\n"));
        assert!(
            !mails[1].subject.contains(['\r', '\n']),
            "{:?}",
            mails[1].subject
        );
    }

    #[test]
    fn what_is_silenced_mailed_or_not_urgent_enough_is_not_mailed_and_an_end_is() {
        let mut config = MailConfig {
            group_wait_s: 0,
            ..MailConfig::default()
        };
        let now = Timestamp(9_000);
        let (mut silenced, mut mailed, mut untold) = (alert(1, ""), alert(2, ""), alert(3, ""));
        silenced.silenced_by = Some(Uuid::nil());
        mailed.told.mailed = Some(now);
        untold.told.firing = None;
        let quiet = [silenced, mailed, untold];
        assert_eq!(due(quiet.iter(), std::iter::empty(), &config, now), []);
        let mut ended = alert(4, "");
        (ended.state, ended.resolved_at) = (AlertState::Resolved, Some(now));
        let mails = due(std::iter::empty(), [&ended].into_iter(), &config, now);
        assert!(mails[0].is_end && mails[0].subject.starts_with("[Wattpost] ended, ticket"));
        config.severity_min = Severity::Page;
        assert_eq!(
            due(
                [&alert(5, "")].into_iter(),
                std::iter::empty(),
                &config,
                now
            ),
            []
        );
    }

    #[test]
    fn attempts_back_off_up_to_five_minutes_and_a_success_forgets_them() {
        let mut failing = Failing::default();
        let refused = Err("no".to_owned());
        // The clock of the machine is set while attempts wait: it has no part in it.
        let (mut now, at) = (Instant::now(), Timestamp(7));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            failing.note(&refused, at, now, 0.0);
            let next = failing.next_at.expect("a time");
            assert!(!failing.may_try(now) && failing.may_try(next));
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses[11], 300);
        assert_eq!(failing.since, Some((at, "no".to_owned())));
        failing.note(&Ok(()), at, now, 0.0);
        assert!(failing.since.is_none() && failing.may_try(now));
    }

    #[test]
    fn wrong_settings_are_named() {
        let right = MailConfig {
            server: "mail.example.com".to_owned(),
            from: "Wattpost <wattpost@example.com>".to_owned(),
            to: vec!["ops@example.com".to_owned()],
            ..MailConfig::default()
        };
        assert_eq!(right.check(), Ok(()));
        let complaint = |config: MailConfig| config.check().expect_err("it is wrong").key;
        let of = || right.clone();
        assert_eq!(
            complaint(MailConfig {
                from: "x".to_owned(),
                ..of()
            }),
            "alerts.mail.from"
        );
        assert_eq!(
            complaint(MailConfig {
                to: vec!["y@".to_owned()],
                ..of()
            }),
            "alerts.mail.to"
        );
        let with_user = MailConfig {
            user: "u".to_owned(),
            tls: MailTls::None,
            ..of()
        };
        assert_eq!(complaint(with_user), "alerts.mail.tls");
    }
}
