//! Mail of alerts: which alerts are told together, what a mail says, and the SMTP server that takes it.
//!
//! There is no queue besides the alerts: one that fires and was not mailed is due until a server has accepted its mail. So
//! a server that is away loses nothing, and what waits is bounded by the number of alerts.
//!
//! Alerts of one severity, rule and group (the site of the chargers, or their gateway if they have none) are told together,
//! with the times of Alertmanager: `group_wait_s` before the first mail, `group_interval_s` between two with news,
//! `repeat_interval_s` between two without. Above `per_hour_max` mails within an hour, the rest is told by a digest every
//! [`DIGEST_MS`].

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use central::Timestamp;
use central::alert::{Severity, rule};
use central::model::{Alert, AlertState};
use common::lock::lock;
use common::settings::{Section, SettingError};
use lettre::address::Envelope;
use lettre::message::{Mailbox, MessageBuilder, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Alerts that a mail names; of more it has the number.
const NAMED_MAX: usize = 20;
/// Time between two digests, in milliseconds.
const DIGEST_MS: i64 = 900_000;
/// Groups that a digest names.
const GROUPS_NAMED_MAX: usize = 50;
/// Groups of which the time of the last mail is kept; the oldest is dropped.
const GROUPS_MAX: usize = 500;
const HOUR_MS: i64 = 3_600_000;
/// Mails of which it is kept which recipients were accepted.
const PARTLY_MAX: usize = 100;
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
    /// Seconds between two mails with news about one rule and group. Default 300; 0 to 86,400.
    pub group_interval_s: u32,
    /// Seconds after which alerts that still fire, and of which nobody has taken note, are mailed again. Default 86,400; 0:
    /// never; up to 2,592,000.
    pub repeat_interval_s: u32,
    /// Mails within an hour at most, besides four digests; of those that are no page, three quarters. Default 30; 4 to
    /// 1,000.
    pub per_hour_max: u32,
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
            group_interval_s: 300,
            repeat_interval_s: 86_400,
            per_hour_max: 30,
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
        mail.within(
            "group_interval_s",
            u64::from(self.group_interval_s),
            0,
            86_400,
        )?;
        mail.within(
            "repeat_interval_s",
            u64::from(self.repeat_interval_s),
            0,
            2_592_000,
        )?;
        mail.within("per_hour_max", u64::from(self.per_hour_max), 4, 1_000)?;
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

/// A mail about alerts of one rule and group, or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mail {
    /// The alerts of whose firing it tells for the first time.
    pub(super) fires: Vec<Uuid>,
    /// The alerts of whose end it tells.
    pub(super) ended: Vec<Uuid>,
    /// The groups of which it tells.
    groups: Vec<String>,
    /// The same in each attempt, so that a mail that was accepted twice is recognised.
    id: String,
    is_digest: bool,
    subject: String,
    text: String,
}

/// Which mails were accepted, as far as it decides about further ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Accepted {
    /// When the last mail of a group was.
    groups: BTreeMap<String, Timestamp>,
    /// When those of the last hour were, but for digests.
    hour: VecDeque<Timestamp>,
    digest: Option<Timestamp>,
}

impl Accepted {
    /// Notes that a mail was accepted.
    pub(super) fn note(&mut self, mail: &Mail, at: Timestamp) {
        match mail.is_digest {
            true => self.digest = Some(at),
            false => self.hour.push_back(at),
        }
        for group in &mail.groups {
            self.groups.insert(group.clone(), at);
        }
    }

    /// Forgets what no longer decides. Times after now are from a clock that was ahead.
    pub(super) fn forget(&mut self, config: &MailConfig, now: Timestamp) {
        let hour = now.plus_millis(-HOUR_MS);
        self.hour.retain(|at| *at > hour && *at <= now);
        while self.hour.len() > config.per_hour_max as usize {
            self.hour.pop_front();
        }
        self.digest = self.digest.map(|at| at.min(now));
        let seconds = config.group_interval_s.max(config.repeat_interval_s);
        let since = now.plus_millis(-i64::from(seconds) * 1_000);
        self.groups.values_mut().for_each(|at| *at = (*at).min(now));
        self.groups.retain(|_, at| *at >= since);
        while self.groups.len() > GROUPS_MAX {
            let oldest = self.groups.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(group, _)| group.clone()) else {
                break;
            };
            self.groups.remove(&oldest);
        }
    }

    /// Whether so many milliseconds have passed since the last mail of a group.
    fn is_past(&self, group: &str, ms: i64, now: Timestamp) -> bool {
        let last = self.groups.get(group);
        last.is_none_or(|last| now.0.saturating_sub(last.0) >= ms)
    }
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

/// What a mail tells of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tells {
    Firing,
    Still,
    Ended,
}

/// The mails that are due: of alerts that fire and were not mailed, of those in `ended`, and again of those that still fire.
/// Pages are first.
pub(super) fn due<'a>(
    firing: impl Iterator<Item = &'a Alert>,
    ended: impl Iterator<Item = &'a Alert>,
    accepted: &Accepted,
    config: &MailConfig,
    now: Timestamp,
) -> Vec<Mail> {
    let mut groups: BTreeMap<(Severity, &str, &str, Tells), Vec<&Alert>> = BTreeMap::new();
    // Severities are ordered from the most urgent one.
    let is_wanted = |alert: &&Alert| alert.severity <= config.severity_min;
    let firing = firing.filter(|alert| {
        alert.state == AlertState::Firing
            && alert.told.firing.is_some()
            && alert.silenced_by.is_none()
            && alert.inhibited_by.is_none()
    });
    let firing = firing.filter(is_wanted).filter_map(|alert| {
        let tells = match (alert.told.mailed, &alert.acknowledged) {
            (None, _) => Tells::Firing,
            (Some(_), None) => Tells::Still,
            (Some(_), Some(_)) => return None,
        };
        Some((tells, alert))
    });
    let ended = ended.filter(is_wanted).map(|alert| (Tells::Ended, alert));
    for (tells, alert) in firing.chain(ended) {
        // Alerts about sites are grouped with each other: by site, each would be a mail of its own.
        let site = alert.site.as_deref().filter(|_| alert.charger_id.is_some());
        let group = site.unwrap_or(&alert.group);
        let key = (alert.severity, alert.name.as_str(), group, tells);
        groups.entry(key).or_default().push(alert);
    }
    let (mut mails, mut folded) = (Vec::new(), Vec::new());
    for ((severity, name, group, tells), alerts) in groups {
        let key = format!("{}|{name}|{group}", severity.word());
        let key = match tells {
            Tells::Firing | Tells::Still => key,
            Tells::Ended => format!("{key}|ended"),
        };
        if !is_due(&alerts, tells, &key, accepted, config, now) {
            continue;
        }
        let max = match severity {
            Severity::Page => config.per_hour_max,
            Severity::Ticket | Severity::Info => config.per_hour_max * 3 / 4,
        };
        match accepted.hour.len() + mails.len() < max as usize {
            true => mails.push(mail(name, severity, &alerts, tells, key)),
            false => folded.push((name, severity, alerts, tells, key)),
        }
    }
    let is_past = |at: Timestamp| now.0.saturating_sub(at.0) >= DIGEST_MS;
    if !folded.is_empty() && accepted.digest.is_none_or(is_past) {
        mails.push(digest(&folded, config));
    }
    mails
}

/// Whether a mail of this group is due.
fn is_due(
    alerts: &[&Alert],
    tells: Tells,
    key: &str,
    accepted: &Accepted,
    config: &MailConfig,
    now: Timestamp,
) -> bool {
    let ms = |seconds: u32| i64::from(seconds) * 1_000;
    let first = |time: fn(&Alert) -> Option<Timestamp>| {
        let first = alerts.iter().filter_map(|alert| time(alert)).min();
        first.is_some_and(|first| first.plus_millis(ms(config.group_wait_s)) <= now)
    };
    let has_waited = match tells {
        Tells::Firing => first(|alert| alert.told.firing),
        Tells::Ended => first(|alert| alert.resolved_at),
        Tells::Still => {
            let repeat = ms(config.repeat_interval_s);
            let last = alerts.iter().filter_map(|alert| alert.told.mailed).max();
            return repeat > 0
                && last.is_some_and(|last| now.0.saturating_sub(last.0) >= repeat)
                && accepted.is_past(key, repeat, now);
        }
    };
    has_waited && accepted.is_past(key, ms(config.group_interval_s), now)
}

fn ids(alerts: &[&Alert]) -> Vec<Uuid> {
    alerts.iter().map(|alert| alert.id).collect()
}

/// What one mail tells of several groups, because there were too many mails.
fn digest(folded: &[(&str, Severity, Vec<&Alert>, Tells, String)], config: &MailConfig) -> Mail {
    let all: usize = folded.iter().map(|(_, _, alerts, ..)| alerts.len()).sum();
    let mut text = format!(
        "{} mails about {all} alerts are folded into this one, because {} mails were sent within an hour (alerts.mail.per_hour_max).\n",
        folded.len(),
        config.per_hour_max
    );
    let (mut fires, mut ended, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    let mut named = 0;
    for (name, severity, alerts, tells, key) in folded {
        let what = match tells {
            Tells::Firing => "fire",
            Tells::Still => "still fire",
            Tells::Ended => "have ended",
        };
        let count = alerts.len();
        if groups.len() < GROUPS_NAMED_MAX {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "\n{name} ({}): {count} {what}", severity.word());
            for alert in alerts.iter().take(NAMED_MAX - named.min(NAMED_MAX)) {
                let _ = writeln!(text, "- {}", alert.summary);
                named += 1;
            }
        }
        match tells {
            Tells::Firing => fires.extend(ids(alerts)),
            Tells::Ended => ended.extend(ids(alerts)),
            Tells::Still => {}
        }
        groups.push(key.clone());
    }
    if groups.len() > GROUPS_NAMED_MAX {
        let _ = writeln!(
            text,
            "\nand {} groups more",
            groups.len() - GROUPS_NAMED_MAX
        );
    }
    let _ = writeln!(text, "\n`wattpost alerts list` shows all.");
    let first = fires.first().or(ended.first());
    Mail {
        id: format!("{}.digest", first.map(Uuid::to_string).unwrap_or_default()),
        fires,
        ended,
        groups,
        is_digest: true,
        subject: format!("[Wattpost] digest: {all} alerts"),
        text,
    }
}

fn mail(name: &str, severity: Severity, alerts: &[&Alert], tells: Tells, key: String) -> Mail {
    let is_end = tells == Tells::Ended;
    let what = match alerts {
        [one] if one.subject.is_empty() => String::new(),
        [one] => format!(": {}", one.subject),
        many => format!(": {} alerts", many.len()),
    };
    let (prefix, kind) = match tells {
        Tells::Firing => ("", "firing"),
        Tells::Still => ("still firing, ", "still"),
        Tells::Ended => ("ended, ", "end"),
    };
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
    let first = alerts.first().map(|alert| alert.id.to_string());
    let mut id = format!("{}.{kind}", first.unwrap_or_default());
    if tells == Tells::Still {
        // Each repeat is a mail of its own, also at a reader that drops what it has seen.
        let last = alerts.iter().filter_map(|alert| alert.told.mailed).max();
        let _ = write!(id, ".{}", last.map_or(0, |at| at.0));
    }
    let all = ids(alerts);
    Mail {
        fires: if tells == Tells::Firing || tells == Tells::Still {
            all.clone()
        } else {
            Vec::new()
        },
        ended: if is_end { all } else { Vec::new() },
        groups: vec![key],
        id,
        is_digest: false,
        subject: one_line(&format!(
            "[Wattpost] {prefix}{}: {name}{what}",
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
    /// The password in the forms in which SMTP sends it: a server may repeat what it refuses.
    secrets: Vec<String>,
    /// Of mails that some recipients have not got yet: those that have.
    partly: Arc<Mutex<BTreeMap<String, BTreeSet<usize>>>>,
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
        let mut secrets = Vec::new();
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
            secrets = forms_of(&config.user, &password);
            builder = builder.credentials(Credentials::new(config.user.clone(), password));
        }
        let to = config.to.iter().map(|to| address("to", to));
        Ok(Some(Self {
            transport: builder.build(),
            from: address("from", &config.from)?,
            to: to.collect::<Result<_, _>>()?,
            server: format!("{}:{}", config.server, config.port),
            secrets,
            partly: Arc::default(),
        }))
    }

    /// The server, for messages to people.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends a mail that says that mails arrive. Returns the recipients that the server refuses, each with its answer.
    ///
    /// # Errors
    /// What the server, or the way to it, refuses for all recipients.
    pub async fn send_test(&self, from_machine: &str) -> Result<Vec<String>, String> {
        let subject = "[Wattpost] test".to_owned();
        let text = format!("Mails of alerts from {from_machine} arrive.\n");
        self.send_text(&common::id::new_v7().to_string(), subject, text)
            .await
            .map_err(|error| error.words)
    }

    /// Sends a mail. Returns the recipients that the server refuses, each with its answer.
    pub(super) async fn send(&self, mail: &Mail) -> Result<Vec<String>, Refused> {
        self.send_text(&mail.id, mail.subject.clone(), mail.text.clone())
            .await
    }

    async fn send_text(
        &self,
        id: &str,
        subject: String,
        text: String,
    ) -> Result<Vec<String>, Refused> {
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
        let of_mail = |words: String| Refused {
            words,
            is_of_mail: true,
        };
        let message = builder
            .header(header::ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| of_mail(error.to_string()))?;
        let bytes = message.formatted();
        let got = lock(&self.partly).get(id).cloned().unwrap_or_default();
        let left: Vec<usize> = (0..self.to.len()).filter(|no| !got.contains(no)).collect();
        match self.send_to_each(id, &left, &bytes).await {
            Ok(refused) => {
                lock(&self.partly).remove(id);
                Ok(refused.iter().map(|words| self.hide_in(words)).collect())
            }
            Err(refused) => Err(Refused {
                words: self.hide_in(&refused.words),
                ..refused
            }),
        }
    }

    /// What a server said, without the password.
    fn hide_in(&self, words: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), "***");
        self.secrets.iter().fold(words.to_owned(), hide)
    }

    /// Sends to these recipients: to all at once, and one by one if the server refuses that, because it may refuse only one
    /// of them.
    async fn send_to_each(
        &self,
        id: &str,
        left: &[usize],
        bytes: &[u8],
    ) -> Result<Vec<String>, Refused> {
        let error = match self.send_to(left, bytes).await {
            Ok(()) => return Ok(Vec::new()),
            Err(error) => error,
        };
        if !(error.is_permanent() || error.is_transient()) || self.to.len() == 1 {
            return Err(Refused {
                words: in_words(&error),
                is_of_mail: error.is_permanent(),
            });
        }
        let (mut refused, mut later, mut accepted) = (Vec::new(), None, left.len() < self.to.len());
        for no in left {
            let Err(error) = self.send_to(&[*no], bytes).await else {
                accepted = true;
                self.note_partly(id, *no);
                continue;
            };
            let words = format!("{}: {}", self.to[*no].email, in_words(&error));
            if error.is_permanent() {
                refused.push(words);
            } else if error.is_transient() {
                later = Some(words);
            } else {
                return Err(Refused {
                    words,
                    is_of_mail: false,
                });
            }
        }
        match (later, accepted) {
            (Some(words), _) => Err(Refused {
                words,
                is_of_mail: true,
            }),
            (None, true) => Ok(refused),
            (None, false) => Err(Refused {
                words: in_words(&error),
                is_of_mail: true,
            }),
        }
    }

    async fn send_to(
        &self,
        to: &[usize],
        bytes: &[u8],
    ) -> Result<(), lettre::transport::smtp::Error> {
        let to: Vec<_> = to.iter().map(|no| self.to[*no].email.clone()).collect();
        // Without a recipient all have got it.
        let Ok(envelope) = Envelope::new(Some(self.from.email.clone()), to) else {
            return Ok(());
        };
        self.transport.send_raw(&envelope, bytes).await.map(|_| ())
    }

    fn note_partly(&self, id: &str, no: usize) {
        let mut partly = lock(&self.partly);
        if !partly.contains_key(id) && partly.len() >= PARTLY_MAX {
            partly.pop_first();
        }
        partly.entry(id.to_owned()).or_default().insert(no);
    }
}

/// What the commands of SMTP's mechanisms PLAIN and LOGIN have of a password (RFC 4616), the longest first.
fn forms_of(user: &str, password: &str) -> Vec<String> {
    if password.is_empty() {
        return Vec::new();
    }
    vec![
        BASE64.encode(format!("\0{user}\0{password}")),
        BASE64.encode(password),
        password.to_owned(),
    ]
}

fn in_words(error: &lettre::transport::smtp::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        // Writing to a `String` cannot fail.
        let _ = write!(words, ": {next}");
        cause = next.source();
    }
    words
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
    /// The recipients that the server refused with the last mail, each with its answer.
    pub(super) recipients: Vec<String>,
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
        result: &Result<Vec<String>, String>,
        at: Timestamp,
        now: Instant,
        random: f64,
    ) {
        match result {
            Ok(refused) => {
                *self = Self {
                    recipients: refused.clone(),
                    ..Self::default()
                }
            }
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
            site: None,
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
        let sent = Accepted::default();
        assert_eq!(due(all(), none(), &sent, &config, Timestamp(30_999)), []);
        let mails = due(all(), none(), &sent, &config, Timestamp(31_000));
        assert_eq!(mails.len(), 2);
        assert_eq!(
            mails[0].subject,
            "[Wattpost] ticket: ChargerOffline: 30 alerts"
        );
        assert_eq!(mails[0].fires.len(), 30);
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
        let sent = Accepted::default();
        assert_eq!(
            due(quiet.iter(), std::iter::empty(), &sent, &config, now),
            []
        );
        let mut ended = alert(4, "");
        (ended.state, ended.resolved_at) = (AlertState::Resolved, Some(now));
        let mails = due(
            std::iter::empty(),
            [&ended].into_iter(),
            &sent,
            &config,
            now,
        );
        assert!(
            mails[0].ended.len() == 1 && mails[0].subject.starts_with("[Wattpost] ended, ticket")
        );
        config.severity_min = Severity::Page;
        assert_eq!(
            due(
                [&alert(5, "")].into_iter(),
                std::iter::empty(),
                &sent,
                &config,
                now
            ),
            []
        );
    }

    #[test]
    fn a_group_is_mailed_at_its_interval_and_again_while_it_fires() {
        let config = MailConfig::default();
        let mut sent = Accepted::default();
        let (mut alerts, mut mails) = (Vec::new(), Vec::new());
        // One of 256 connectors fails every 5 seconds, and then nothing changes for two days.
        let mut now = Timestamp(1_000_000);
        for round in 0..2 * 17_280_u128 {
            if round < 256 {
                let mut one = alert(round, "g");
                one.told.firing = Some(now);
                alerts.push(one);
            }
            sent.forget(&config, now);
            let due = due(alerts.iter(), std::iter::empty(), &sent, &config, now);
            for mail in due {
                sent.note(&mail, now);
                for one in &mut alerts {
                    if mail.fires.contains(&one.id) {
                        one.told.mailed = Some(now);
                    }
                }
                mails.push(mail.subject);
            }
            now = now.plus_millis(5_000);
        }
        let news = mails
            .iter()
            .filter(|subject| !subject.contains("still firing"));
        assert_eq!(news.count(), 6, "{mails:#?}");
        assert_eq!(
            mails.last().map(String::as_str),
            Some("[Wattpost] still firing, ticket: ChargerOffline: 256 alerts")
        );
        assert_eq!(mails.len(), 7, "{mails:#?}");
        alerts[0].acknowledged = Some(central::model::Acknowledged {
            at: now,
            by: None,
            note: String::new(),
        });
        let again = due(
            alerts[..1].iter(),
            std::iter::empty(),
            &sent,
            &config,
            now.plus_millis(90_000_000),
        );
        assert_eq!(again, [], "somebody knows of it");
    }

    #[test]
    fn too_many_mails_are_a_digest_that_says_how_many_and_pages_have_room() {
        let config = MailConfig {
            group_wait_s: 0,
            per_hour_max: 8,
            ..MailConfig::default()
        };
        let mut sent = Accepted::default();
        let now = Timestamp(10_000_000);
        let many: Vec<Alert> = (0..100)
            .map(|number| alert(number, &format!("g{number:03}")))
            .collect();
        let mut page = alert(200, "g");
        page.severity = Severity::Page;
        let all = many.iter().chain([&page]);
        let mails = due(all, std::iter::empty(), &sent, &config, now);
        assert_eq!(mails.len(), 7, "6 tickets or pages and the digest");
        assert!(mails[0].subject.contains("page"), "{}", mails[0].subject);
        let digest = mails.last().expect("a digest");
        assert_eq!(digest.subject, "[Wattpost] digest: 95 alerts");
        assert_eq!(digest.fires.len(), 95);
        assert!(digest.says("95 mails about 95 alerts are folded"));
        for mail in &mails {
            sent.note(mail, now);
        }
        let mut later = alert(300, "other");
        later.told.firing = Some(now);
        let due_at = |sent: &Accepted, one: &Alert, ms: i64| {
            due(
                [one].into_iter(),
                std::iter::empty(),
                sent,
                &config,
                now.plus_millis(ms),
            )
        };
        assert_eq!(due_at(&sent, &later, 1), [], "the next digest is due later");
        assert!(due_at(&sent, &later, DIGEST_MS)[0].is_digest);
        later.severity = Severity::Page;
        assert!(!due_at(&sent, &later, 1)[0].is_digest, "a page has room");
        // A clock that was ahead by a year is set right: nothing is held back for a year.
        let before = now.plus_millis(-365 * 24 * HOUR_MS);
        sent.forget(&config, before);
        later.told.firing = Some(before);
        let mails = due(
            [&later].into_iter(),
            std::iter::empty(),
            &sent,
            &config,
            before,
        );
        assert_eq!(mails.len(), 1);
    }

    /// An SMTP server that refuses some recipients and texts, as `refuses` says of each line, and keeps what it accepts:
    /// the recipients, and the text.
    async fn smtp_server(
        refuses: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
    ) -> (u16, Arc<Mutex<Vec<(Vec<String>, String)>>>) {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let (refuses, kept) = (Arc::new(refuses), Arc::clone(&accepted));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (refuses, kept) = (Arc::clone(&refuses), Arc::clone(&kept));
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    let (mut to, mut text) = (Vec::new(), None::<String>);
                    let _ = write.write_all(b"220 test\r\n").await;
                    while let Ok(Some(line)) = lines.next_line().await {
                        let answer = match &mut text {
                            Some(body) if line == "." => {
                                let answer = refuses(body).unwrap_or("250 OK");
                                if answer == "250 OK" {
                                    let body = std::mem::take(body);
                                    lock(&kept).push((std::mem::take(&mut to), body));
                                }
                                text = None;
                                answer
                            }
                            Some(body) => {
                                body.push_str(&line);
                                body.push('\n');
                                continue;
                            }
                            None if line.starts_with("RCPT") => {
                                let answer = refuses(&line).unwrap_or("250 OK");
                                if answer == "250 OK" {
                                    to.push(line);
                                }
                                answer
                            }
                            None if line == "DATA" => {
                                text = Some(String::new());
                                "354 go on"
                            }
                            None => "250 OK",
                        };
                        let _ = write.write_all(format!("{answer}\r\n").as_bytes()).await;
                    }
                });
            }
        });
        (port, accepted)
    }

    fn mailer(port: u16) -> Mailer {
        let config = MailConfig {
            server: "127.0.0.1".to_owned(),
            port,
            tls: MailTls::None,
            from: "wattpost@example.com".to_owned(),
            to: ["a@example.com", "b@example.com", "c@example.com"]
                .map(str::to_owned)
                .to_vec(),
            ..MailConfig::default()
        };
        Mailer::new(&config)
            .expect("right settings")
            .expect("a server is set")
    }

    fn one_mail(number: u128) -> Mail {
        let one = alert(number, "g");
        let key = "key".to_owned();
        mail(
            "ChargerOffline",
            Severity::Ticket,
            &[&one],
            Tells::Firing,
            key,
        )
    }

    #[tokio::test]
    async fn a_recipient_that_the_server_refuses_keeps_no_other_from_the_mail() {
        let is_refused = |line: &str| {
            line.starts_with("RCPT TO:<b@")
                .then_some("550 no such user")
        };
        let (port, accepted) = smtp_server(is_refused).await;
        let refused = mailer(port)
            .send(&one_mail(1))
            .await
            .expect("others get it");
        assert!(
            refused.len() == 1
                && refused[0].contains("b@example.com")
                && refused[0].contains("no such user"),
            "{refused:?}"
        );
        let got: Vec<String> = lock(&accepted)
            .iter()
            .flat_map(|(to, _)| to.clone())
            .collect();
        assert_eq!(got, ["RCPT TO:<a@example.com>", "RCPT TO:<c@example.com>"]);
    }

    #[tokio::test]
    async fn who_has_got_a_mail_does_not_get_it_again_when_another_one_is_tried_later() {
        let is_full = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let full = Arc::clone(&is_full);
        let is_refused = move |line: &str| {
            (line.starts_with("RCPT TO:<b@") && full.load(std::sync::atomic::Ordering::Relaxed))
                .then_some("452 mailbox full")
        };
        let (port, accepted) = smtp_server(is_refused).await;
        let mailer = mailer(port);
        let error = mailer
            .send(&one_mail(1))
            .await
            .expect_err("it is tried again");
        assert!(
            error.words.contains("b@example.com") && error.is_of_mail,
            "{error:?}"
        );
        is_full.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            mailer.send(&one_mail(1)).await.expect("all have it"),
            [""; 0]
        );
        let mut got: Vec<String> = lock(&accepted)
            .iter()
            .flat_map(|(to, _)| to.clone())
            .collect();
        got.sort();
        let all = ["a", "b", "c"].map(|name| format!("RCPT TO:<{name}@example.com>"));
        assert_eq!(got, all);
    }

    #[tokio::test]
    async fn a_mail_that_the_server_refuses_for_its_text_holds_back_no_other() {
        let is_refused = |text: &str| text.contains("CP-1 is").then_some("554 spam");
        let (port, accepted) = smtp_server(is_refused).await;
        let mails = vec![one_mail(1), one_mail(2)];
        let attempts = super::super::evaluator::send(mailer(port), mails).await;
        let results: Vec<bool> = attempts.iter().map(|one| one.result.is_ok()).collect();
        assert_eq!(results, [false, true]);
        let kept = lock(&accepted);
        assert!(
            kept.len() == 1 && kept[0].1.contains("CP-2 is offline"),
            "{kept:?}"
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
        failing.note(&Ok(Vec::new()), at, now, 0.0);
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
