//! What the central system does with each action that a charger may send: one row per action and version.
//!
//! A message's row is looked up once; every stage (check, resend, answer, record, projection) takes its part from the
//! row, so that no other module names an action. An action with a meaning of its own has a file, named after it, with
//! one [`Action`]; the others are rows of their version's table ([`v16::TABLE`], [`v2::TABLE_201`], [`v2::TABLE_21`]).

mod boot_notification;
pub(crate) mod commands;
mod data_transfer;
mod firmware_status_notification;
mod heartbeat;
pub(crate) mod profiles;
mod sign_certificate;
pub(crate) mod v16;
mod v2;

use crate::answer::{self, Decision, Scene};
use crate::model::{Boot, Presented};
use crate::natural_key::NaturalKey;
use crate::policy::Policy;
use crate::project::{Changes, Source, event};
use crate::record::Record;
use crate::resend::SessionPart;
use crate::running::SessionNews;
use ocpp::Version;
use ocpp::action::ActionInfo;

/// What the central system does with an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    /// The name on the wire, case-sensitive (F-4).
    name: &'static str,
    /// The answer to a call. Unused for a SEND, which has none.
    pub(crate) answer: fn(&Scene<'_>) -> Decision,
    /// What an accepted message changes in the projections.
    pub(crate) project: fn(&mut Changes, &Source<'_>),
    /// The token that an accepted message presents, unless its answer accepts the token as known.
    pub(crate) presents: fn(&Record<'_>) -> Option<Presented>,
    /// How the message is recognised when it comes again.
    pub(crate) repeats: Repeats,
    /// Whether it registers the charger: it may come from a charger that is not accepted, and it is refused in strict
    /// mode only, because a charger that cannot boot is locked out (F-12).
    pub(crate) is_boot: bool,
    /// Whether it is always refused by the status of its answer, so that a broken payload changes nothing.
    pub(crate) is_refused_by_status: bool,
    /// Whether it is answered with success in every mode, although its payload is broken and it belongs to no transaction.
    pub(crate) is_never_refused: bool,
    /// The JSON pointer of a member whose content the standard leaves to vendors: any JSON type is accepted in it.
    pub(crate) free_member: Option<&'static str>,
    /// Whether a call gets a record; without one it is answered at once.
    pub(crate) is_recorded: fn(&Policy) -> bool,
}

/// How a message is recognised when it comes again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Repeats {
    /// Not at all: the answer holds the current time, and an old one would set the charger's clock back.
    Never,
    /// By message id and content, for a short time and on the same connection.
    Recent,
    /// By content, also on a later connection: it names its time or its page (classes Q, N-10).
    Content,
    /// By natural key, also on a later connection: a message of a transaction (class T).
    NaturalKey(TransactionMessage),
}

/// What makes a message of a transaction recognisable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransactionMessage {
    /// What the message is about.
    pub(crate) natural_key: for<'a> fn(&'a str) -> NaturalKey<'a>,
    /// Its part in a session.
    pub(crate) part: fn(&str) -> SessionPart,
    /// What it says about the transactions of its charger, from its payload and its answer.
    pub(crate) news: fn(&str, &str) -> Option<SessionNews>,
    /// Whether a message with the natural key of an earlier one, and other content, gets the earlier one's answer.
    pub(crate) keeps_first_answer: bool,
}

impl Action {
    /// An action without a meaning of its own: answered `{}`, projected as an event.
    const fn plain(name: &'static str) -> Self {
        Self {
            name,
            answer: answer::empty,
            project: event::other,
            presents: no_token,
            repeats: Repeats::Recent,
            is_boot: false,
            is_refused_by_status: false,
            is_never_refused: false,
            free_member: None,
            is_recorded: always,
        }
    }

    /// As [`Action::plain`], with an answer.
    const fn answered(name: &'static str, answer: fn(&Scene<'_>) -> Decision) -> Self {
        Self {
            answer,
            ..Self::plain(name)
        }
    }

    /// As [`Action::answered`] with an answer whose status is a refusal.
    const fn refused(name: &'static str, answer: fn(&Scene<'_>) -> Decision) -> Self {
        Self {
            is_refused_by_status: true,
            ..Self::answered(name, answer)
        }
    }

    /// As [`Action::plain`], and recognised by content: a page of a report, or a message that is queued (class Q).
    const fn by_content(name: &'static str) -> Self {
        Self {
            repeats: Repeats::Content,
            ..Self::plain(name)
        }
    }
}

const fn no_token(_: &Record<'_>) -> Option<Presented> {
    None
}

const fn always(_: &Policy) -> bool {
    true
}

/// One action in one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) version: Version,
    /// What OCPP says of it.
    pub(crate) info: &'static ActionInfo,
    pub(crate) action: Action,
}

impl Row {
    /// The action's name on the wire.
    pub(crate) const fn name(&self) -> &'static str {
        self.info.name
    }
}

/// The row of this action; `None` when a charger may not send it in this version.
pub(crate) fn find(version: Version, name: &str) -> Option<&'static Row> {
    let rows = all(version);
    let found = rows.binary_search_by(|row| row.name().cmp(name)).ok()?;
    rows.get(found)
}

/// All rows of a version, sorted by name.
fn all(version: Version) -> &'static [Row] {
    match version {
        Version::V16 => &v16::TABLE,
        Version::V201 => &v2::TABLE_201,
        Version::V21 => &v2::TABLE_21,
    }
}

/// A version's table. Does not compile unless `actions` are exactly those that a charger may send, in their order.
const fn table<const N: usize>(version: Version, actions: [Action; N]) -> [Row; N] {
    let infos = ocpp::action::all(version);
    let mut rows = [Row {
        version,
        info: &infos[0],
        action: actions[0],
    }; N];
    let mut filled = 0;
    let mut next = 0;
    while next < infos.len() {
        let info = &infos[next];
        if info.is_to_central() {
            let action = actions[filled];
            assert!(
                is_equal(info.name, action.name),
                "an action that chargers send is missing, or one too many is here"
            );
            rows[filled] = Row {
                version,
                info,
                action,
            };
            filled += 1;
        }
        next += 1;
    }
    assert!(filled == N, "an action is not one that chargers send");
    rows
}

/// `==` of texts, while compiling.
const fn is_equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// What a BootNotification of this version says of the charger; `None` for another action.
pub(crate) fn boot(version: Version, action: &str, payload: &str) -> Option<Boot> {
    (action == "BootNotification").then(|| match version {
        Version::V16 => v16::boot(payload),
        Version::V201 | Version::V21 => v2::boot(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocpp::action::DeliveryClass;

    fn rows() -> impl Iterator<Item = &'static Row> {
        Version::ALL.into_iter().flat_map(all)
    }

    #[test]
    fn each_action_that_a_charger_may_send_has_one_row_and_every_row_is_found() {
        for version in Version::ALL {
            let rows: Vec<_> = all(version).iter().map(|row| row.action.name).collect();
            let sent: Vec<_> = ocpp::action::all(version)
                .iter()
                .filter(|info| info.is_to_central())
                .map(|info| info.name)
                .collect();
            assert_eq!(rows, sent, "{version}");
        }
        for row in rows() {
            let found = find(row.version, row.name()).expect("it is in the table");
            assert!(std::ptr::eq(found, row));
        }
        assert!(find(Version::V16, "Reset").is_none());
    }

    #[test]
    fn transaction_messages_have_a_natural_key_and_queued_ones_are_known_by_content() {
        for row in rows() {
            let (is_t, is_content) = match row.action.repeats {
                Repeats::NaturalKey(_) => (true, false),
                Repeats::Content => (false, true),
                Repeats::Never | Repeats::Recent => (false, false),
            };
            let class = row.info.class;
            assert_eq!(is_t, class == DeliveryClass::T, "{}", row.name());
            assert!(is_content || class != DeliveryClass::Q, "{}", row.name());
        }
    }

    #[test]
    fn an_answer_with_the_current_time_is_never_repeated() {
        for row in rows() {
            let has_time = matches!(row.name(), "BootNotification" | "Heartbeat");
            let is_never = matches!(row.action.repeats, Repeats::Never);
            assert_eq!(is_never, has_time, "{}", row.name());
            assert_eq!(row.action.is_boot, row.name() == "BootNotification");
        }
    }
}
