//! Arguments and results of [`QueryStore`]: filters, pages and cursors.

mod connections;
mod cursor;
mod pairs;
pub mod parameters;
mod readings;
mod scan;
mod uptime;

pub use crate::model::{DeadLetterRow, DeadLetterState, Discarded, MessageRow};
pub use crate::ports::{QueryError, QueryStore};
pub use connections::{ConnectionEnd, ConnectionRecord, ConnectionRow, ConnectionView};
pub use cursor::{Cursor, Place};
pub use pairs::{MessageWithPair, SessionMessages, with_pairs, without_answered_calls};
pub use readings::{
    ROWS_PER_INTERVAL, ReadingFilter, ReadingRows, RowPlace, SampleFilter, SampleView, samples,
};
pub use scan::{all_connectors, all_messages, all_transactions};
pub use uptime::{
    Gap, GapKind, GatewayRun, RECONNECT_MS, UPTIME_CONNECTIONS_MAX, UPTIME_DAYS_MAX,
    UPTIME_EXCLUDED_MAX, UPTIME_FORMULA, UPTIME_GAPS_MAX, UPTIME_STARTS_MAX, Uptime, UptimeRange,
    uptime,
};

use crate::Quirk;
use crate::model::{
    Actor, AuditView, ChargerKey, ChargerModel, ChargerSettings, ChargerView, ConnectorView,
    EffectPhase, Registration, Token, TokenStatus,
};
use crate::record::RecordKind;
use crate::time::Timestamp;
use ocpp::Version;
use serde::{Deserialize, Serialize};

/// Rows on a page if the request has no limit.
pub const PAGE_DEFAULT: usize = 100;
/// Rows on a page at most.
pub const PAGE_MAX: usize = 1_000;

/// Selects chargers. Texts are compared exactly; an empty one selects chargers that have not reported it, or for which it is
/// not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChargerFilter {
    /// Only those that are, or are not, connected now.
    pub online: Option<bool>,
    /// Only those whose identity contains this text, in any letter case.
    pub search: Option<String>,
    /// Whether [`ChargerFilter::search`] also finds those whose label contains the text.
    pub searches_labels: bool,
    /// Only those of the site with this id.
    pub site: Option<String>,
    /// Only those of this group.
    pub group: Option<String>,
    /// Only those whose latest record has this version of OCPP.
    pub version: Option<Version>,
    /// Only those whose latest boot reports this vendor, exactly.
    pub vendor: Option<String>,
    /// Only those whose latest boot reports this model, exactly.
    pub model: Option<String>,
    /// Only those whose latest boot reports this firmware, exactly.
    pub firmware: Option<String>,
    /// Only those with a connector whose shown status is this one.
    pub status: Option<String>,
    /// What it does with chargers that were removed.
    pub removed: RemovedChargers,
    /// Only those with this admission; `Some(None)`: those that were not added.
    pub admission: Option<Option<Registration>>,
}

impl ChargerFilter {
    /// Whether it selects a charger by what is known without its connectors. The identity is selected by the store.
    #[must_use]
    pub fn has(&self, charger: &ChargerView, settings: Option<&ChargerSettings>) -> bool {
        let boot = charger.boot.as_ref();
        let is = |wanted: &Option<String>, text: Option<&String>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == text.map_or("", String::as_str))
        };
        self.online.is_none_or(|online| online == charger.online)
            && self
                .version
                .is_none_or(|version| charger.ocpp_version == Some(version))
            && is(&self.vendor, boot.and_then(|boot| boot.vendor.as_ref()))
            && is(&self.model, boot.and_then(|boot| boot.model.as_ref()))
            && is(&self.firmware, boot.and_then(|boot| boot.firmware.as_ref()))
            && is(
                &self.site,
                settings.and_then(|settings| settings.site.as_ref()),
            )
            && is(
                &self.group,
                settings.and_then(|settings| settings.group.as_ref()),
            )
            && self
                .admission
                .is_none_or(|admission| admission == settings.map(|settings| settings.admission))
    }

    /// The text that a label must contain, folded as [`label_key`], if labels are searched.
    #[must_use]
    pub fn label_search(&self) -> Option<String> {
        let search = self.search.as_deref().filter(|_| self.searches_labels);
        search.map(label_key)
    }

    /// Whether only chargers that were added can be selected.
    #[must_use]
    pub fn needs_settings(&self) -> bool {
        let is_named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        is_named(&self.site) || is_named(&self.group)
    }

    /// Whether it selects a charger by whether it was removed.
    #[must_use]
    pub fn has_removal(&self, is_removed: bool, is_online: bool) -> bool {
        match self.removed {
            RemovedChargers::Shown => true,
            RemovedChargers::Hidden => !is_removed || is_online,
            RemovedChargers::Only => is_removed,
        }
    }

    /// Whether it selects a charger by its connectors.
    #[must_use]
    pub fn has_status(&self, connectors: &[ConnectorView]) -> bool {
        let wanted = self.status.as_deref();
        wanted.is_none_or(|wanted| {
            connectors
                .iter()
                .any(|connector| connector.status == wanted)
        })
    }
}

/// What a list does with chargers that an operator has removed. A charger that is added again is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovedChargers {
    /// They are listed like others.
    #[default]
    Shown,
    /// They are not listed, unless they are connected.
    Hidden,
    /// Only they are listed.
    Only,
}

/// A label as it is compared: in lower case.
#[must_use]
pub fn label_key(label: &str) -> String {
    label.to_lowercase()
}

/// Selects transactions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransactionFilter {
    /// Only those of this charger, in any letter case.
    pub charger: Option<String>,
    /// Only open ones, or only ended ones.
    pub open: Option<bool>,
    /// Only those that started at this time or later.
    pub from: Option<Timestamp>,
    /// Only those that started before this time.
    pub to: Option<Timestamp>,
}

/// Selects commands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommandFilter {
    /// Only those to this charger, in any letter case.
    pub charger: Option<String>,
    /// Only this action, in the spelling of OCPP.
    pub action: Option<String>,
    /// Only those that no gateway has claimed and that can still be sent.
    pub queued: Option<bool>,
    /// Only those whose effect is in this phase.
    pub effect: Option<EffectPhase>,
}

/// Selects refused handshakes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandshakeFilter {
    /// Only those of this identity, in any letter case.
    pub charger: Option<String>,
}

/// Selects messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageFilter {
    /// Only those of this charger, in any letter case.
    pub charger: Option<String>,
    /// Only this action, in the spelling of OCPP.
    pub action: Option<String>,
    /// Only this kind.
    pub kind: Option<RecordKind>,
    /// Only those received at this time or later.
    pub from: Option<Timestamp>,
    /// Only those received before this time.
    pub to: Option<Timestamp>,
}

impl MessageFilter {
    /// Whether it selects this message.
    #[must_use]
    pub fn has(&self, row: &MessageRow) -> bool {
        let charger = self.charger.as_deref();
        let action = self.action.as_deref();
        charger.is_none_or(|id| ChargerKey::of(id) == ChargerKey::of(&row.charger_id))
            && action.is_none_or(|action| action == row.action)
            && self.kind.is_none_or(|kind| kind == row.kind)
            && self.from.is_none_or(|from| row.received_at >= from)
            && self.to.is_none_or(|to| row.received_at < to)
    }
}

/// A transaction's id on the wire, which is unique for its charger only, and not always.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireId {
    /// The charger, in any letter case.
    pub charger: ChargerKey,
    /// The id.
    pub id: String,
}

/// Selects messages of one charger that may be about something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MentionFilter {
    /// The charger, in any letter case.
    pub charger: String,
    /// Only those received at this time or later.
    pub from: Timestamp,
    /// Only those received before this time.
    pub to: Timestamp,
    /// Only those whose payload or answer contains this text, and those received at a time in `at`.
    pub text: String,
    /// Times of reception.
    pub at: Vec<Timestamp>,
}

impl MentionFilter {
    /// Whether it selects this message.
    #[must_use]
    pub fn has(&self, row: &MessageRow) -> bool {
        ChargerKey::of(&self.charger) == ChargerKey::of(&row.charger_id)
            && (self.from..self.to).contains(&row.received_at)
            && (row.payload.contains(&self.text)
                || row.answer.contains(&self.text)
                || self.at.contains(&row.received_at))
    }
}

/// Selects dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Only those of this charger, in any letter case.
    pub charger: Option<String>,
    /// Only this action, in the spelling of OCPP.
    pub action: Option<String>,
    /// Only those whose reason contains this text, in this letter case.
    pub reason: Option<String>,
    /// Only those that became dead letters at this time or later.
    pub from: Option<Timestamp>,
    /// Only those that became dead letters before this time.
    pub to: Option<Timestamp>,
    /// Only those in this state.
    pub state: DeadLetterState,
}

impl DeadLetterFilter {
    /// Whether it selects this letter.
    #[must_use]
    pub fn has(&self, letter: &DeadLetterRow) -> bool {
        let charger = letter.charger_id.as_deref().map(ChargerKey::of);
        self.charger
            .as_deref()
            .is_none_or(|wanted| charger == Some(ChargerKey::of(wanted)))
            && self
                .action
                .as_ref()
                .is_none_or(|action| Some(action) == letter.action.as_ref())
            && self
                .reason
                .as_ref()
                .is_none_or(|text| letter.reason.contains(text))
            && self.from.is_none_or(|from| letter.at >= from)
            && self.to.is_none_or(|to| letter.at < to)
            && self.state == letter.state
    }
}

/// Selects rows of the summary of quirks. Texts are compared exactly; an empty one selects chargers that have not
/// reported it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuirkFilter {
    /// Only this quirk.
    pub quirk: Option<Quirk>,
    /// Only this vendor.
    pub vendor: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// Only this firmware.
    pub firmware: Option<String>,
}

impl QuirkFilter {
    /// Whether chargers of this kind are selected.
    #[must_use]
    pub fn has(&self, model: &ChargerModel) -> bool {
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == text)
        };
        is(&self.vendor, &model.vendor)
            && is(&self.model, &model.model)
            && is(&self.firmware, &model.firmware)
    }
}

/// Selects entries of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Only this action, such as `charger.set`.
    pub action: Option<String>,
    /// Only changes of this subject, in the letter case of its entries.
    pub subject: Option<String>,
    /// Only those made at this time or later.
    pub from: Option<Timestamp>,
    /// Only those made before this time.
    pub to: Option<Timestamp>,
}

impl AuditFilter {
    /// Whether it selects this entry.
    #[must_use]
    pub fn has(&self, entry: &AuditView) -> bool {
        self.action
            .as_ref()
            .is_none_or(|action| *action == entry.action)
            && self
                .subject
                .as_ref()
                .is_none_or(|subject| *subject == entry.subject)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
    }
}

/// Selects tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenFilter {
    /// Only those with this status.
    pub status: Option<TokenStatus>,
    /// Only those of this group, in any letter case.
    pub group: Option<String>,
    /// Only those whose id contains this text, in any letter case.
    pub search: Option<String>,
}

/// Selects unknown tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnknownTokenFilter {
    /// Only those at this charger, in any letter case.
    pub charger: Option<String>,
    /// Only those whose id contains this text, in any letter case.
    pub search: Option<String>,
}

impl TokenFilter {
    /// Whether it selects this token.
    #[must_use]
    pub fn has(&self, token: &Token) -> bool {
        let group = token.group_id.as_deref().map(Token::key_of);
        self.status.is_none_or(|status| status == token.status)
            && self
                .group
                .as_ref()
                .is_none_or(|wanted| group.as_ref() == Some(&Token::key_of(wanted)))
            && self
                .search
                .as_ref()
                .is_none_or(|text| token.key().contains(&Token::key_of(text)))
    }
}

/// Selects a page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    /// Where the page begins: after this position; `None` for the beginning of the list.
    pub after: Option<Cursor>,
    /// Rows at most; 0 means [`PAGE_DEFAULT`], more than [`PAGE_MAX`] means [`PAGE_MAX`].
    pub limit: usize,
}

impl PageRequest {
    /// The number of requested rows, within the bounds.
    #[must_use]
    pub const fn rows(&self) -> usize {
        match self.limit {
            0 => PAGE_DEFAULT,
            1..=PAGE_MAX => self.limit,
            _ => PAGE_MAX,
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` if there were no more rows. A page may have few rows or none and still have a
    /// next one, if few rows match the filter.
    #[serde(rename = "next_cursor")]
    pub next: Option<Cursor>,
}

/// A charger with its connectors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChargerDetail {
    /// The charger itself.
    #[serde(flatten)]
    pub charger: ChargerView,
    /// What the operator has set; `None` if the charger was never added, or was removed.
    pub settings: Option<ChargerSettings>,
    /// When an operator removed it; `None` if it is added, or was never removed.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub removed_at: Option<Timestamp>,
    /// Who removed it.
    pub removed_by: Option<Actor>,
    /// Its connectors, by EVSE and number.
    pub connectors: Vec<ConnectorView>,
}
