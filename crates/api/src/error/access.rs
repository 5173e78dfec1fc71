//! API keys and sessions: who may do what.

use super::kinds::{
    API_KEY_EXISTS, BUSY, CSRF_TOKEN_MISSING, KEY_EXPIRED, LAST_ADMIN_KEY, LAST_ADMIN_USER, NO_KEY,
    NOT_A_USER, RATE_EXCEEDED, SCOPE_MISSING, SIGN_IN_REFUSED, TOO_MANY_API_KEYS,
    TOO_MANY_SIGN_INS, TOO_MANY_USERS, UNAVAILABLE, UNKNOWN_API_KEY, UNKNOWN_USER, USER_EXISTS,
};
use super::{ApiError, quoted};
use crate::rate_limit::WINDOW_S;
use central::model::Scope;
use central::ports::Unavailable;

impl ApiError {
    pub(crate) fn no_key(why: &str) -> Self {
        Self::new(
            &NO_KEY,
            format!(
                "{why}; send a key of this installation as `Authorization: Bearer wp_live_…` \
                 (`wattpost apikey add` makes one)."
            ),
        )
        .challenge("Bearer")
    }

    pub(crate) fn unknown_key() -> Self {
        Self::no_key("The key in Authorization is not one of this installation, or was revoked")
            .challenge(r#"Bearer error="invalid_token""#)
    }

    pub(crate) fn key_expired(name: &str, at: central::Timestamp) -> Self {
        Self::new(
            &KEY_EXPIRED,
            format!(
                "The key {} expired at {at}; use another one (`wattpost apikey add` makes one).",
                quoted(name)
            ),
        )
        .challenge(r#"Bearer error="invalid_token""#)
    }

    pub(crate) fn scope_missing(name: &str, held: Scope, needed: Scope) -> Self {
        Self::new(
            &SCOPE_MISSING,
            format!(
                "{} has the scope {held}, and this request needs the scope {needed}; use a key or a user \
                 that has it.",
                quoted(name)
            ),
        )
        .challenge(r#"Bearer error="insufficient_scope""#)
    }

    /// The user of the session was removed, disabled or has another password.
    pub(crate) fn session_ended() -> Self {
        Self::no_key(
            "The session has ended, because its user was removed, disabled or has another password",
        )
    }

    /// It does not say which of the two is wrong, so that nobody learns the names of users.
    pub(crate) fn sign_in_refused() -> Self {
        Self::new(
            &SIGN_IN_REFUSED,
            "The user name or the password is wrong, or the user is disabled; an administrator can set a new \
             password (`wattpost user password NAME`)."
                .to_owned(),
        )
        .challenge("Bearer")
    }

    /// The key or the user has no request left.
    pub(crate) fn too_many_requests(requests: u32, seconds: u32) -> Self {
        Self::new(
            &RATE_EXCEEDED,
            format!(
                "This key or user may make {requests} requests in {WINDOW_S} seconds (http.requests_per_minute_max); \
                 the next one is free in {seconds} s, and nothing was done."
            ),
        )
        .retry_after_s(seconds)
    }

    pub(crate) fn too_many_sign_ins(seconds: u32) -> Self {
        Self::new(
            &TOO_MANY_SIGN_INS,
            format!(
                "Too many sign-ins from this address or with this user name have failed; try again in {seconds} s, \
                 or sign in with an API key."
            ),
        )
        .retry_after_s(seconds)
    }

    /// Too many requests wait for the hash of a password.
    pub(crate) fn passwords_busy() -> Self {
        Self::new(
            &BUSY,
            "Too many passwords are being checked now; repeat the request, or sign in with an API key."
                .to_owned(),
        )
        .retry_after_s(5)
    }

    pub(crate) fn unknown_user(name: &str) -> Self {
        Self::new(
            &UNKNOWN_USER,
            format!("No user has the name {}.", quoted(name)),
        )
    }

    pub(crate) fn user_exists(name: &str) -> Self {
        Self::new(
            &USER_EXISTS,
            format!(
                "A user with the name {} exists; choose another name, or change that user.",
                quoted(name)
            ),
        )
    }

    pub(crate) fn too_many_users() -> Self {
        Self::new(
            &TOO_MANY_USERS,
            format!(
                "There are {} users, which is the maximum; remove some (GET /api/v1/users shows all).",
                central::ports::USERS_MAX
            ),
        )
    }

    pub(crate) fn last_admin_user(name: &str) -> Self {
        Self::new(
            &LAST_ADMIN_USER,
            format!(
                "Without the user {} neither a user nor a valid key would have the scope admin: users could only be \
                 managed with `wattpost user`. Add another one first, or repeat the request with force=true.",
                quoted(name)
            ),
        )
    }

    pub(crate) fn not_a_user() -> Self {
        Self::new(
            &NOT_A_USER,
            "Only a user who has signed in with a password (POST /api/v1/session) can set it here; an administrator \
             sets the password of a user with PATCH /api/v1/users/NAME."
                .to_owned(),
        )
    }

    pub(crate) fn csrf_token_missing() -> Self {
        Self::new(
            &CSRF_TOKEN_MISSING,
            "The header X-CSRF-Token is absent or not that of this session; send the csrf_token of \
             GET /api/v1/session."
                .to_owned(),
        )
    }

    /// The keys are not known, so every request that needs one is refused.
    pub(crate) fn keys_unavailable(why: &Unavailable) -> Self {
        Self::new(
            &UNAVAILABLE,
            format!(
                "The API keys cannot be read now, because the {why}. No data is lost; repeat the request."
            ),
        )
        .retry_after_s(5)
    }

    pub(crate) fn unknown_api_key(name: &str) -> Self {
        Self::new(
            &UNKNOWN_API_KEY,
            format!("No API key has the name {}.", quoted(name)),
        )
    }

    pub(crate) fn api_key_exists(name: &str) -> Self {
        Self::new(
            &API_KEY_EXISTS,
            format!(
                "An API key with the name {} exists; choose another name, or revoke it first.",
                quoted(name)
            ),
        )
    }

    pub(crate) fn too_many_api_keys() -> Self {
        Self::new(
            &TOO_MANY_API_KEYS,
            format!(
                "There are {} API keys, which is the maximum; revoke some (GET /api/v1/api-keys shows all).",
                central::ports::API_KEYS_MAX
            ),
        )
    }

    pub(crate) fn last_admin_key(name: &str) -> Self {
        Self::new(
            &LAST_ADMIN_KEY,
            format!(
                "Without the key {} neither a valid key nor a user would have the scope admin: keys could only be \
                 managed with `wattpost apikey`. Add another one first, or repeat the request with force=true.",
                quoted(name)
            ),
        )
    }
}
