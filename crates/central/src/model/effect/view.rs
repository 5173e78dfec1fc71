//! The effect of a command as it is shown at a time.

use super::{EffectState, Mark, Moment};
use crate::effect::{Deadline, Expectation, PAGE_WITHIN_MS, Transfer, has_follow_up};
use crate::model::rfc3339;
use crate::model::{Command, CommandId, CommandProgress, Sent};
use crate::time::Timestamp;
use ocpp::Version;
use ocpp::json::Raw;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether the effect of a command was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectPhase {
    /// Nothing follows the command, or nothing follows the charger's answer to it.
    None,
    /// A message should still come.
    Expected,
    /// The messages came.
    Seen,
    /// They did not come in time. If they come later, it is `Seen`.
    NotSeen,
}

impl EffectPhase {
    /// All phases.
    pub const ALL: [Self; 4] = [Self::None, Self::Expected, Self::Seen, Self::NotSeen];

    /// The name in the HTTP API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Expected => "expected",
            Self::Seen => "seen",
            Self::NotSeen => "not_seen",
        }
    }

    /// The phase with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }
}

/// The effect of a command, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectView {
    /// Whether it was seen.
    pub state: EffectPhase,
    /// By when it is expected; `None` until the charger had to answer, and if nothing follows.
    #[serde(serialize_with = "rfc3339::option")]
    pub expected_by: Option<Timestamp>,
    /// When the message that shows it was received.
    #[serde(serialize_with = "rfc3339::option")]
    pub seen_at: Option<Timestamp>,
    /// What the charger reported last: a state of firmware or of an upload, the status of a connector or a reservation,
    /// the reason of a boot, the action that was triggered.
    pub status: Option<String>,
    /// All that it reported, in the order of reception.
    pub statuses: Vec<EffectStatus>,
    /// The key of the transaction that the command started or ended, if that is certain.
    pub transaction: Option<Uuid>,
    /// The keys of transactions that may be the effect, if it is not certain which.
    pub candidates: Vec<Uuid>,
    /// The address of the file, without user, password and query.
    pub file: Option<String>,
    /// The report.
    pub report: Option<ReportView>,
    /// What a person should know of this state.
    pub detail: Option<&'static str>,
}

/// One state that a charger reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectStatus {
    /// The state.
    pub status: String,
    /// When it was received for the first time.
    #[serde(serialize_with = "rfc3339::always")]
    pub at: Timestamp,
}

/// The pages of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportView {
    /// The number of pages that were received.
    pub pages: u64,
    /// Missing sequence numbers, as inclusive ranges; 100 ranges at most. After the last one is known, all of them.
    pub missing: Vec<(i64, i64)>,
    /// Whether all pages are there.
    pub complete: bool,
    /// The command that asks for the report again, because pages were missing.
    pub asked_again: Option<CommandId>,
}

impl EffectView {
    const fn of(state: EffectPhase) -> Self {
        Self {
            state,
            expected_by: None,
            seen_at: None,
            status: None,
            statuses: Vec::new(),
            transaction: None,
            candidates: Vec::new(),
            file: None,
            report: None,
            detail: None,
        }
    }

    /// Nothing follows.
    pub(in crate::model) const fn none() -> Self {
        Self::of(EffectPhase::None)
    }
}

/// Two clocks may differ by this: 60 seconds.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// Ranges of missing pages that are shown.
const MISSING_MAX: usize = 100;

/// What the effect of a command is read from.
#[derive(Debug)]
pub(in crate::model) struct Asked<'a> {
    pub(in crate::model) command: &'a Command,
    pub(in crate::model) progress: &'a CommandProgress,
    pub(in crate::model) effect: &'a EffectState,
    pub(in crate::model) asked_again: Option<CommandId>,
    /// Whether it is done and was not sent.
    pub(in crate::model) is_not_sent: bool,
    /// When the outcome became known, by the clock of the gateway that sent the command.
    pub(in crate::model) settled_at: Option<Timestamp>,
    /// By how many milliseconds that clock is ahead of the database's.
    pub(in crate::model) gateway_ahead_ms: i64,
}

/// When a command was sent, and which messages can be its effect.
struct Sending<'a> {
    sent: &'a Sent,
    /// As [`Asked::gateway_ahead_ms`].
    gateway_ahead_ms: i64,
    /// Messages at or after this time are not its effect, by the clock of the gateway that sent it.
    until: Timestamp,
}

impl Sending<'_> {
    /// Whether the command was sent before this message. A message of another gateway is compared by the database's time of the sending: which of the two
    /// gateways has the wrong time is not known.
    fn is_before(&self, moment: Moment) -> bool {
        if moment.record.gateway == self.sent.record.gateway {
            return moment.record.seq > self.sent.record.seq;
        }
        moment.at >= self.sent.at.plus_millis(-self.gateway_ahead_ms)
    }
}

impl Asked<'_> {
    /// The effect as it is shown at `now`, by the clock of the gateway that sent the command.
    pub(in crate::model) fn view(&self, now: Timestamp) -> EffectView {
        let action = &self.command.action;
        let Some(expectation) = Expectation::of(action, &self.command.payload) else {
            return EffectView::none();
        };
        let sent = self.progress.sent.as_ref();
        let is_v16 = sent.is_some_and(|sent| sent.version == Version::V16);
        // 1.6 reports no end of a reservation.
        if self.is_not_sent || (is_v16 && action == "CancelReservation") {
            return EffectView::none();
        }
        let answer = self.progress.reply.as_ref();
        if answer.is_some_and(|reply| reply.is_error || !has_follow_up(action, &reply.payload)) {
            return EffectView::none();
        }
        let deadline = Deadline::of(&expectation, action, &self.command.payload);
        let is_scheduled = answer.is_some_and(|reply| is_scheduled(&reply.payload));
        let expected_by = self.settled_at.map(|at| deadline.after(at, is_scheduled));
        let mut view = EffectView {
            expected_by,
            ..EffectView::of(EffectPhase::Expected)
        };
        if let Expectation::Transfer(of) = &expectation {
            view.file = of.file.clone().map(|address| self.named(address));
        }
        if let Some(sent) = sent {
            let sent = Sending {
                sent,
                gateway_ahead_ms: self.gateway_ahead_ms,
                until: deadline
                    .until(self.command)
                    .plus_millis(self.gateway_ahead_ms),
            };
            self.read(&expectation, &sent, expected_by, &mut view);
        }
        if view.state == EffectPhase::Expected && view.expected_by.is_some_and(|by| now >= by) {
            view.state = EffectPhase::NotSeen;
            if view.detail.is_none() {
                view.detail = not_seen(&expectation, action, is_v16);
            }
        }
        view
    }

    /// The address with the file's name from the answer.
    fn named(&self, address: String) -> String {
        let mut name = None;
        if let Some(reply) = &self.progress.reply {
            let _ = Raw::new(&reply.payload).members(|member, value| {
                if member.eq_ignore_ascii_case("filename") {
                    name = value.text();
                }
            });
        }
        match name {
            Some(name) if !name.is_empty() && !address.ends_with(&*name) => {
                format!("{}/{name}", address.trim_end_matches('/'))
            }
            _ => address,
        }
    }

    fn read(
        &self,
        expectation: &Expectation,
        sent: &Sending<'_>,
        expected_by: Option<Timestamp>,
        view: &mut EffectView,
    ) {
        match expectation {
            Expectation::RemoteStart(_) | Expectation::Stop(_) => self.read_exact(sent, view),
            Expectation::Start(start) => {
                self.read_starts(start.is_placed(), sent, expected_by, view);
            }
            Expectation::Boot | Expectation::Message(_) | Expectation::Status(_) => {
                self.read_marks(sent, view);
                view.statuses.truncate(1);
                view.status = view.statuses.first().map(|status| status.status.clone());
                // The reason of a boot may be missing.
                view.status = view.status.take().filter(|status| !status.is_empty());
                view.statuses.clear();
            }
            Expectation::Reservation(_) => {
                self.read_marks(sent, view);
                view.status = view.statuses.last().map(|status| status.status.clone());
                self.read_exact(sent, view);
            }
            Expectation::Transfer(of) => self.read_transfer(of.transfer, sent, view),
            Expectation::Report(of) => self.read_report(of.is_numbered, view),
        }
    }

    /// Transactions that carry the command's own id.
    fn read_exact(&self, sent: &Sending<'_>, view: &mut EffectView) {
        let mut later: Vec<_> = self
            .effect
            .transactions
            .values()
            .filter(|caused| sent.is_before(caused.first))
            .collect();
        later.sort_by_key(|caused| caused.first);
        let Some(first) = later.first() else {
            return;
        };
        view.state = EffectPhase::Seen;
        view.seen_at = Some(first.first.at);
        match later.as_slice() {
            [one] => view.transaction = one.key,
            several => {
                view.candidates = several.iter().filter_map(|caused| caused.key).collect();
                view.detail = Some("several transactions carry the id of this command");
            }
        }
    }

    /// Transactions with the command's token: the charger does not say which of them the command started.
    fn read_starts(
        &self,
        is_placed: bool,
        sent: &Sending<'_>,
        expected_by: Option<Timestamp>,
        view: &mut EffectView,
    ) {
        let mut later: Vec<_> = self
            .effect
            .transactions
            .values()
            .filter(|caused| sent.is_before(caused.first))
            .collect();
        later.sort_by_key(|caused| caused.first);
        let begin = sent.sent.at.plus_millis(-CLOCKS_DIFFER_MS);
        let (in_time, others): (Vec<_>, Vec<_>) = later
            .into_iter()
            .partition(|caused| caused.at >= begin && expected_by.is_none_or(|by| caused.at <= by));
        let keys = |all: &[&super::Caused]| all.iter().filter_map(|caused| caused.key).collect();
        match (in_time.as_slice(), others.as_slice()) {
            // A connector has one transaction at a time, so the first one there is the one that was asked for.
            ([one, rest @ ..], _) if is_placed || rest.is_empty() => {
                view.state = EffectPhase::Seen;
                view.seen_at = Some(one.first.at);
                view.transaction = one.key;
            }
            ([], []) => {}
            ([], others) => {
                view.candidates = keys(others);
                view.detail = Some(
                    "a transaction with this token arrived later, but by the charger's clock it did not start in the time after the command",
                );
            }
            (several, _) => {
                view.state = EffectPhase::Seen;
                view.seen_at = several.first().map(|caused| caused.first.at);
                view.candidates = keys(several);
                view.detail = Some(
                    "several transactions with this token started after the command; OCPP 1.6 does not say which one it caused",
                );
            }
        }
    }

    fn read_marks(&self, sent: &Sending<'_>, view: &mut EffectView) {
        let mut found: Vec<(Moment, &String)> = Vec::new();
        for (text, mark) in &self.effect.marks {
            let all = mark.first.iter().copied().chain(mark.last);
            found.extend(
                all.filter(|moment| sent.is_before(*moment) && moment.at < sent.until)
                    .min()
                    .map(|m| (m, text)),
            );
        }
        found.sort();
        if let Some((first, _)) = found.first() {
            view.state = EffectPhase::Seen;
            view.seen_at = Some(first.at);
        }
        let status = |(moment, text): (Moment, &String)| EffectStatus {
            status: text.clone(),
            at: moment.at,
        };
        view.statuses = found.into_iter().map(status).collect();
    }

    fn read_transfer(&self, transfer: Transfer, sent: &Sending<'_>, view: &mut EffectView) {
        self.read_marks(sent, view);
        view.state = EffectPhase::Expected;
        view.seen_at = None;
        // `Idle` is the answer to a trigger, and says nothing of this transfer.
        view.statuses.retain(|status| status.status != "Idle");
        let last = |mark: &Mark| mark.last.filter(|moment| sent.is_before(*moment));
        let marks = self.effect.marks.iter();
        let reported = marks
            .filter(|(text, _)| text.as_str() != "Idle")
            .filter_map(|(text, mark)| Some((last(mark)?, rank(text), text)));
        // What is installed stays installed, whatever a charger repeats after its restart.
        let newest = reported
            .clone()
            .find(|(.., text)| is_success(transfer, text))
            .or_else(|| reported.max());
        let Some((moment, _, text)) = newest else {
            return;
        };
        view.status = Some(text.clone());
        if is_final(transfer, text) {
            view.state = EffectPhase::Seen;
            let first = view.statuses.iter().find(|status| status.status == *text);
            view.seen_at = first.map(|status| status.at).or(Some(moment.at));
        }
    }

    fn read_report(&self, is_numbered: bool, view: &mut EffectView) {
        let pages = &self.effect.pages;
        let mut missing = Vec::new();
        let (count, is_complete) = if is_numbered {
            let mut count: i64 = 0;
            let mut next = 0;
            for &(from, to) in pages.numbers.ranges() {
                count += to - from + 1;
                if from > next {
                    missing.push((next, from - 1));
                }
                next = to + 1;
            }
            let is_complete = pages.end.is_some_and(|end| end + 1 == next) && missing.is_empty();
            (count.unsigned_abs(), is_complete)
        } else {
            (pages.plain.len() as u64, pages.plain_end.is_some())
        };
        missing.truncate(MISSING_MAX);
        view.report = Some(ReportView {
            pages: count,
            missing,
            complete: is_complete,
            asked_again: self.asked_again,
        });
        let last = pages.last.map(|page| page.at);
        if is_complete {
            view.state = EffectPhase::Seen;
            view.seen_at = last;
        }
        // A long report is not late while its pages come.
        let next_page = last.map(|at| at.plus_millis(PAGE_WITHIN_MS));
        view.expected_by = view.expected_by.map(|by| by.max(next_page.unwrap_or(by)));
    }
}

fn is_scheduled(answer: &str) -> bool {
    let mut is_scheduled = false;
    let _ = Raw::new(answer).members(|name, value| {
        is_scheduled |= name == "status" && value.text().as_deref() == Some("Scheduled");
    });
    is_scheduled
}

/// The order of the states of a transfer in the standard, for those that were received in one millisecond.
fn rank(state: &str) -> usize {
    const ORDER: [&str; 14] = [
        "DownloadScheduled",
        "DownloadPaused",
        "Downloading",
        "Uploading",
        "Downloaded",
        "ChecksumVerified",
        "SignatureVerified",
        "InstallScheduled",
        "Installing",
        "InstallRebooting",
        "DownloadFailed",
        "InstallationFailed",
        "Uploaded",
        "Installed",
    ];
    ORDER
        .iter()
        .position(|known| *known == state)
        .unwrap_or(ORDER.len())
}

fn is_success(transfer: Transfer, state: &str) -> bool {
    match transfer {
        Transfer::Firmware => state == "Installed",
        Transfer::Publication => state == "Published",
        Transfer::Diagnostics | Transfer::Log => state == "Uploaded",
        Transfer::BatterySwap => state == "BatteryOut" || state == "BatteryOutTimeout",
    }
}

/// Whether no other state follows, unless the charger tries again.
fn is_final(transfer: Transfer, state: &str) -> bool {
    let is_failure = match transfer {
        Transfer::Firmware => matches!(
            state,
            "DownloadFailed"
                | "InstallationFailed"
                | "InstallVerificationFailed"
                | "InvalidSignature"
                | "RevokedCertificate"
                | "InvalidCertificate"
                | "CertificateExpired"
        ),
        Transfer::Publication => matches!(
            state,
            "DownloadFailed" | "InvalidChecksum" | "PublishFailed"
        ),
        Transfer::Diagnostics | Transfer::Log => matches!(
            state,
            "UploadFailed"
                | "UploadFailure"
                | "BadMessage"
                | "NotSupportedOperation"
                | "PermissionDenied"
                | "AcceptedCanceled"
        ),
        Transfer::BatterySwap => false,
    };
    is_failure || is_success(transfer, state)
}

/// What it means that the effect of such a command was not seen, where that is not a fault.
fn not_seen(expectation: &Expectation, action: &str, is_v16: bool) -> Option<&'static str> {
    match expectation {
        Expectation::Status(_) => Some(
            "a charger reports a status only when it changes, so there may have been nothing to report",
        ),
        Expectation::Boot if action != "Reset" => {
            Some("the charger has not restarted since; the new value applies after a restart")
        }
        Expectation::Reservation(_) if is_v16 => {
            Some("OCPP 1.6 does not report that a reservation has ended; no transaction used it")
        }
        _ => None,
    }
}
