//! Tokens and local authorization lists.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A token of a driver.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    /// idTag (1.6) or idToken (2.x), in the operator's spelling.
    #[schema(example = "04A2B3C4D5")]
    id: String,
    /// The status that the operator has set. An accepted token is answered `Expired` from `expires_at` on.
    status: TokenStatus,
    /// The type of an idToken of 2.x.
    #[schema(example = "ISO14443")]
    r#type: Option<String>,
    /// When it expires.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// parentIdTag (1.6), groupIdToken (2.x).
    group: Option<String>,
    /// Whether it may have several open transactions: `allow`, `refuse`, or null: as the policy says.
    concurrent_transactions: Option<ConcurrentTransactions>,
    /// A note of the operator, which no charger sees.
    note: Option<String>,
    /// When the latest stored transaction that it was accepted for began; null if there is none.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// The identity of that transaction's charger.
    #[schema(example = "CP-17")]
    last_used_by: Option<String>,
    /// The connector (1.6) or EVSE (2.x) there; null if the charger named none.
    last_used_connector: Option<i64>,
}

/// A token that a charger presented and that was not added, at one charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnknownToken {
    /// Names the token, the same at all chargers, in `DELETE /api/v1/unknown-tokens/{key}`.
    key: Uuid,
    /// idTag (1.6) or idToken (2.x), in the charger's latest spelling.
    #[schema(example = "04A2B3C4D5")]
    id: String,
    /// The type of an idToken of 2.x.
    #[schema(example = "ISO14443")]
    r#type: Option<String>,
    #[schema(example = "CP-17")]
    charger_id: String,
    /// The connector (1.6) or EVSE (2.x) of the latest message; null if it names none.
    connector: Option<i64>,
    /// The status that the latest message was answered, such as `Invalid`; `Accepted` by the policy for unknown tokens.
    #[schema(example = "Invalid")]
    answer: String,
    /// When it was first presented at the charger, of the days that are kept.
    #[schema(format = DateTime)]
    first_at: String,
    /// When it was last presented at the charger.
    #[schema(format = DateTime)]
    last_at: String,
    /// Messages that presented it at the charger on the days that are kept.
    count: u64,
}

/// The settings of a token. With `PUT` a member that is absent has its default; with `PATCH` it stays as it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenSettings {
    /// The id of the path, in the spelling that is to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Default `Accepted`. Letter case is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<TokenStatus>,
    /// 1 to 20 letters and digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// 1 to 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrent_transactions: Option<ConcurrentTransactions>,
    /// At most 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The status of a token.
#[derive(Serialize, ToSchema)]
pub(crate) enum TokenStatus {
    Accepted,
    Blocked,
    Expired,
    Invalid,
}

/// Whether a token may have several open transactions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConcurrentTransactions {
    Allow,
    Refuse,
}

/// The local authorization list of a charger.
#[derive(Serialize, ToSchema)]
pub(crate) struct LocalList {
    charger_id: String,
    /// The wish that holds for it.
    wish: LocalListWish,
    state: LocalListState,
    /// Why it is in this state, and what to do.
    why: Option<String>,
    /// Tokens that the list should hold.
    entries_wanted: Option<u64>,
    /// The version that is being sent, or that the charger should have.
    version_wanted: Option<i64>,
    /// The version that the charger has, as far as it is known.
    version_at_charger: Option<i64>,
    /// The most entries that the charger can hold, if it says so.
    entries_max: Option<u32>,
    /// How many entries of the wanted list the charger has, while it is sent.
    entries_sent: Option<u64>,
    /// The command that is outstanding.
    command_id: Option<Uuid>,
    /// Refusals in a row; after three, sending stops.
    refusals: u32,
    /// When the charger's version was last confirmed.
    #[schema(format = DateTime)]
    checked_at: Option<String>,
}

/// Which tokens a local list holds. Only tokens that may charge are in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct LocalListWish {
    /// `all`, `group`, or `none` for an empty list.
    tokens: LocalListTokens,
    /// The group, only with `"tokens": "group"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    group: Option<String>,
}

/// The wish for the lists of all chargers without one of their own.
#[derive(Serialize, ToSchema)]
pub(crate) struct LocalListDefault {
    /// Null if there is none.
    wish: Option<LocalListWish>,
}

/// Which tokens a local list holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LocalListTokens {
    All,
    Group,
    None,
}

/// How far a local list is; docs/tokens.md explains the states.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LocalListState {
    Unknown,
    InSync,
    WaitingForCharger,
    Sending,
    Uncertain,
    Rejected,
    NotSupported,
    TooLong,
}
