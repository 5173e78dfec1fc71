//! Local authorization lists: the tokens that a charger accepts while it has no connection.
//!
//! An operator wishes which tokens a charger's list holds ([`Wish`]). A list is brought to the charger by its version:
//! [`step()`] decides the next command from what is known of the charger ([`Progress`]), what it should have ([`Content`])
//! and the outcome of the command before. Pure, so that every course of events is tested without a charger. Each step is
//! one command with an idempotency key of its own, so that a step that is decided twice, after a crash or by two
//! processes, is sent once.
//!
//! ```text
//! limits of the charger ─▶ its version ─▶ Differential, if it has what was sent last; else Full ─▶ in sync
//!                              ▲                                   │
//!                              └── uncertain, VersionMismatch ◀────┘ Failed: three times, then it stops
//! ```

mod content;
mod step;

pub use content::{Content, ContentEntry};
pub use step::{
    Asked, ChargerFacts, Facts, Limits, MESSAGE_ENTRIES_DEFAULT, Next, Phase, Progress,
    REFUSALS_MAX, Sending, Step, changes_local_list, look_again, settle, step,
};

use crate::Timestamp;
use crate::model::ChargerKey;
use serde::{Deserialize, Serialize};

/// Which tokens a charger's list holds. Only tokens that may charge are in it: accepted, and not expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "tokens", content = "group")]
pub enum Wish {
    /// All tokens.
    All,
    /// The tokens of this group, in any letter case.
    Group(String),
    /// None: the list is empty.
    None,
}

/// The list of one charger, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalList {
    /// The charger.
    pub charger: ChargerKey,
    /// Its identity in its latest spelling.
    pub charger_id: String,
    /// The wish that holds for it: its own, or that of all chargers.
    pub wish: Wish,
    /// When the wish was made.
    pub wished_at: Timestamp,
    /// How far the list is.
    pub progress: Progress,
    /// Increases with each change; a change of an older one is refused.
    pub revision: u64,
}

/// The list of one charger, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocalListView {
    /// The charger.
    pub charger_id: String,
    /// The wish that holds for it.
    pub wish: Wish,
    /// How far the list is.
    pub state: Phase,
    /// Why it is in this state, and what to do.
    pub why: Option<String>,
    /// Tokens that the list should hold.
    pub entries_wanted: Option<u64>,
    /// The version that is being sent, or that the charger should have.
    pub version_wanted: Option<i64>,
    /// The version that the charger has, as far as it is known.
    pub version_at_charger: Option<i64>,
    /// The most entries that the charger can hold, if it says so.
    pub entries_max: Option<u32>,
    /// How many entries of the wanted list the charger has, while it is sent.
    pub entries_sent: Option<u64>,
    /// The command that is outstanding.
    pub command_id: Option<crate::model::CommandId>,
    /// Refusals in a row; after three, sending stops until the wish, the tokens or the charger's firmware change.
    pub refusals: u32,
    /// When the charger's version was last confirmed.
    #[serde(serialize_with = "crate::model::rfc3339::option")]
    pub checked_at: Option<Timestamp>,
}

impl LocalList {
    /// What the API shows.
    #[must_use]
    pub fn view(&self) -> LocalListView {
        let progress = &self.progress;
        let sending = progress.sending.as_ref();
        LocalListView {
            charger_id: self.charger_id.clone(),
            wish: self.wish.clone(),
            state: progress.phase,
            why: progress.why.clone(),
            entries_wanted: progress.wanted_entries,
            version_wanted: sending
                .map(|sending| sending.version)
                .or(progress.content_version),
            version_at_charger: progress.at_charger,
            entries_max: progress.limits.as_ref().and_then(|limits| limits.list_max),
            entries_sent: sending.map(|sending| sending.done),
            command_id: progress.asked.as_ref().map(|asked| asked.command),
            refusals: progress.refusals,
            checked_at: progress.checked_at,
        }
    }
}
