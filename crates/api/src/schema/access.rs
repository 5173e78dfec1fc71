//! Who uses the API: keys, sessions, and the audit log.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// A change. It contains no password and no key.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// A later entry has a larger number.
    no: i64,
    #[schema(format = DateTime)]
    at: String,
    by: Actor,
    /// A client's address, or the name of the machine on which a command ran.
    from: String,
    /// Null for the command line.
    request_id: Option<String>,
    /// The `traceparent` of the request (W3C Trace Context); null if it had none.
    traceparent: Option<String>,
    /// What was done, such as `charger.set`; docs/api.md has all.
    action: String,
    /// The identity of the charger, the id of the token, or the name of the key or the user.
    subject: String,
    /// The subject before the change; null if it did not exist.
    before: serde_json::Value,
    /// The subject after the change; null if it no longer exists.
    after: serde_json::Value,
}

/// Who made a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct Actor {
    /// `api_key`, `user`, `without_key`, `command_line`, or `wattpost` for what Wattpost does by itself.
    kind: String,
    /// The name of the key or of the user.
    name: Option<String>,
}

/// A key of this API, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKey {
    id: Uuid,
    /// The operator's name for it, unique among the keys that exist.
    name: String,
    scope: Scope,
    #[schema(format = DateTime)]
    created_at: String,
    /// From this time on it is refused; null: never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Its latest use, about a minute late.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// What a key permits. Each scope includes those before it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Read,
    Operate,
    Admin,
}

/// A key to be added.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewApiKey {
    /// 1 to 100 characters without blanks at its ends and without control characters.
    #[schema(example = "grafana", min_length = 1, max_length = 100)]
    name: String,
    scope: Scope,
    /// When it expires. Default null: never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A key that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct AddedApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// The key itself, for `Authorization: Bearer`. It is shown only in this answer; null in the answer to a repeat.
    secret: Option<String>,
}

/// A local user of the dashboard, without the password.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    id: Uuid,
    /// The name with which the user signs in, in lower case.
    name: String,
    scope: Scope,
    #[schema(format = DateTime)]
    created_at: String,
    /// Since when the user may not sign in; null: the user may.
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    /// When the password was set.
    #[schema(format = DateTime)]
    password_changed_at: String,
    /// The latest sign-in.
    #[schema(format = DateTime)]
    last_sign_in_at: Option<String>,
}

/// A user to be added.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewUser {
    /// 1 to 64 of the characters a-z, 0-9, `.`, `_`, `-`, `@` and `+`.
    #[schema(example = "anna", min_length = 1, max_length = 64)]
    name: String,
    scope: Scope,
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

/// What changes of a user; a member that is absent stays as it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserPatch {
    scope: Option<Scope>,
    /// Whether the user may not sign in. The sessions of a disabled user end.
    disabled: Option<bool>,
    /// A new password. The sessions of the user end.
    #[schema(min_length = 12, max_length = 256)]
    password: Option<String>,
}

/// With what a browser signs in: `key`, or `user` and `password`.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignIn {
    /// An API key of this installation.
    #[schema(min_length = 51, max_length = 51)]
    key: Option<String>,
    /// The name of a user.
    user: Option<String>,
    /// The password of the user.
    password: Option<String>,
}

/// Another password of the user who has signed in.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnPassword {
    /// The password that the user has now.
    current: String,
    #[schema(min_length = 12, max_length = 256)]
    password: String,
}

/// Who uses the API, and what they may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Without a key, while there are neither keys nor users; with a session or a key; or not at all.
    access: Access,
    /// The name of the key or of the user; null without one.
    name: Option<String>,
    /// Whether it is a user, who can set another password.
    is_user: bool,
    /// What is permitted; null while signed out. Without a key, `admin` for an address of this machine and `read` for
    /// any other.
    scope: Option<Scope>,
    /// What a change within this session needs in the header `X-CSRF-Token`; null without a session.
    csrf_token: Option<String>,
    /// When the session ends; null without one.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The version of Wattpost.
    version: String,
}

/// What a process was built from.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    /// The version of Wattpost.
    version: String,
    /// The commit that it was built from, 40 hexadecimal digits; null if the build was not told.
    commit: Option<String>,
    /// The version of the database's schema that this process needs. `wattpost migrate` brings the database to it.
    schema_version: u32,
}

/// What somebody who helps needs to know of an installation.
#[derive(Serialize, ToSchema)]
pub(crate) struct SupportBundle {
    /// When it was made.
    #[schema(format = DateTime)]
    made_at: String,
    /// The version of Wattpost.
    version: String,
    /// The commit that it was built from; null if the build was not told.
    commit: Option<String>,
    /// The version of the database's schema that this process needs.
    schema_version: u32,
    /// The operating system that it was built for, such as `linux`.
    operating_system: String,
    /// The processor that it was built for, such as `x86_64`.
    architecture: String,
    /// All settings of this process, without secrets; null if they are not known.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// As `GET /health` answers.
    health: super::Health,
    /// As `GET /api/v1/pipeline` answers; null in a process without a database.
    pipeline: Option<super::Pipeline>,
    /// The latest warnings and errors of the log of this process, the oldest first, at most 500 lines.
    log: Vec<String>,
    /// As `GET /metrics` answers, up to 1 MiB.
    metrics: String,
    /// Whether there were more metrics.
    metrics_cut: bool,
}

/// How a client of the API is known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    WithoutKey,
    SignedIn,
    SignedOut,
}
