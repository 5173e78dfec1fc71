//! `/api/v1/session`: a browser signs in to the dashboard with an API key, or as a user with a password, and gets a cookie.
//!
//! A browser cannot keep a key safely where scripts could read it, and `EventSource` cannot send `Authorization`. The
//! cookie has a random token of its own that scripts cannot read, and not the key. Sessions are held in the memory of
//! this process: they end with it, when the key is revoked or expires, when the user is removed, disabled or gets another
//! password, and after [`LIFETIME`].

use crate::auth::{Caller, Keys, KnownUser};
use crate::change::{self, Change, no_content};
use crate::error::ApiError;
use crate::query::Query;
use crate::schema;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use central::Timestamp;
use central::model::{
    Actor, ActorKind, ApiSecret, Scope, USER_PASSWORD_EXPECTED, is_user_password, user_name,
};
use central::ports::{Condition, UserChange, UserNotChanged};
use common::clock::now_ms;
use common::lock::lock;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// By how much the clock can be set back without ending sessions.
const CLOCK_SET_BACK_MAX: Duration = Duration::from_secs(60 * 60);
/// Sessions of this process. When there are more, the one that ends first is ended.
const SESSIONS_MAX: usize = 10_000;
/// Sessions of one key or user. When there are more, the one that ends first is ended, so that none ends those of others.
const SESSIONS_EACH_MAX: usize = 100;
const COOKIE: &str = "wattpost-session";
/// The header with a session's token against forged requests: pages of other sites cannot send it.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// The sessions of this process.
#[derive(Default)]
pub(crate) struct Sessions {
    /// By the hash of the cookie's token, so that the duration of a look-up discloses nothing about a token.
    open: Mutex<HashMap<[u8; 32], Session>>,
}

/// What a session stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// An API key, by its hash.
    Key([u8; 32]),
    /// A user with the password that the user had at the sign-in.
    User {
        /// The name of the user.
        name: String,
        /// Another user of the same name has another id.
        id: Uuid,
        /// The digest of the stored hash of the password.
        password: [u8; 32],
    },
}

/// A session: the key or the user that it stands for.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) credential: Credential,
    csrf_token: String,
    expires_at: Timestamp,
}

impl Sessions {
    /// Begins a session. Returns the cookie's token, and the session.
    fn begin(&self, credential: Credential, now: Timestamp) -> Result<(String, Session), ApiError> {
        let token = random_text()?;
        let lifetime_ms = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let session = Session {
            credential,
            csrf_token: random_text()?,
            expires_at: Timestamp(now.0.saturating_add(lifetime_ms)),
        };
        let mut open = lock(&self.open);
        if open.len() >= SESSIONS_MAX {
            open.retain(|_, session| session.is_open_at(now));
        }
        let is_same = |other: &Session| other.credential == session.credential;
        let of_same = open.values().filter(|other| is_same(other)).count();
        if open.len() >= SESSIONS_MAX || of_same >= SESSIONS_EACH_MAX {
            let given_up = open
                .iter()
                .filter(|(_, other)| of_same < SESSIONS_EACH_MAX || is_same(other))
                .min_by_key(|(_, other)| other.expires_at);
            if let Some(first) = given_up.map(|(hash, _)| *hash) {
                open.remove(&first);
            }
        }
        open.insert(hash(&token), session.clone());
        Ok((token, session))
    }

    /// The session of a request's cookie.
    pub(crate) fn find(&self, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
        let hash = hash(token(headers)?);
        let session = lock(&self.open).get(&hash).cloned();
        session.filter(|session| session.is_open_at(now))
    }

    fn end(&self, headers: &HeaderMap) {
        if let Some(token) = token(headers) {
            lock(&self.open).remove(&hash(token));
        }
    }
}

impl Session {
    /// Whether it has neither ended nor begun in the future: while the clock is set back, it would last for longer.
    fn is_open_at(&self, now: Timestamp) -> bool {
        let longest = LIFETIME + CLOCK_SET_BACK_MAX;
        let longest_ms = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        (1..=longest_ms).contains(&self.expires_at.0.saturating_sub(now.0))
    }

    /// Whether the request has the token of this session in its header.
    pub(crate) fn has_csrf_token(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(CSRF_HEADER);
        // Hashes are compared, so that the duration discloses nothing about the token.
        sent.is_some_and(|sent| {
            blake3::hash(sent.as_bytes()) == blake3::hash(self.csrf_token.as_bytes())
        })
    }
}

/// The token in the cookie of a request.
fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

fn hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// 256 random bits as text.
fn random_text() -> Result<String, ApiError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| ApiError::internal())?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Whether a page of this API sends the request: its origin is the host that the request is sent to.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else {
        return false;
    };
    let origin = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
}

/// Whether a page of this API on this machine sends the request. A foreign name that leads to this machine is not
/// accepted: it would make a foreign page one of this API.
pub(crate) fn is_page_of_this_machine(headers: &HeaderMap) -> bool {
    is_same_origin(headers) && has_host_of_this_machine(headers)
}

/// Whether the request is sent to this machine under a name that no other machine can have.
pub(crate) fn has_host_of_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST);
    let host = host
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = address.parse();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What the dashboard may do.
#[derive(Serialize)]
struct View {
    access: &'static str,
    name: Option<String>,
    is_user: bool,
    scope: Option<Scope>,
    csrf_token: Option<String>,
    expires_at: Option<String>,
    version: &'static str,
}

impl View {
    fn signed_in(state: &AppState, name: Option<String>, scope: Scope, session: Session) -> Self {
        Self {
            access: "signed_in",
            name,
            is_user: matches!(session.credential, Credential::User { .. }),
            scope: Some(scope),
            csrf_token: Some(session.csrf_token),
            expires_at: Some(session.expires_at.to_string()),
            version: state.version,
        }
    }

    fn of(state: &AppState, headers: &HeaderMap) -> Self {
        let signed_out = Self {
            access: "signed_out",
            name: None,
            is_user: false,
            scope: None,
            csrf_token: None,
            expires_at: None,
            version: state.version,
        };
        let Some(keys) = &state.keys else {
            return signed_out;
        };
        let Ok((Caller(actor), scope)) = keys.identify(headers, Timestamp(now_ms())) else {
            return signed_out;
        };
        if actor.kind == ActorKind::WithoutKey {
            // Changes by a page that was opened under another name are refused.
            let scope = match has_host_of_this_machine(headers) {
                true => Scope::Admin,
                false => Scope::Read,
            };
            return Self {
                access: "without_key",
                scope: Some(scope),
                ..signed_out
            };
        }
        let session = keys.sessions.find(headers, Timestamp(now_ms()));
        let expires_at = session.as_ref().map(|session| session.expires_at);
        Self {
            access: "signed_in",
            name: actor.name,
            is_user: actor.kind == ActorKind::User,
            scope: Some(scope),
            csrf_token: session.map(|session| session.csrf_token),
            expires_at: expires_at.map(|at| at.to_string()),
            ..signed_out
        }
    }
}

/// `GET /api/v1/session`
#[utoipa::path(
    get,
    path = "/api/v1/session",
    responses((status = 200, description = "Who uses the API, and what they may do", body = schema::Session))
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Query::read(query.as_deref(), &[])?;
    change::object(StatusCode::OK, &View::of(&state, &headers), None)
}

/// `POST /api/v1/session`
#[utoipa::path(
    post,
    path = "/api/v1/session",
    request_body = schema::SignIn,
    responses(
        (status = 201, description = "The session has begun; `Set-Cookie` has its cookie", body = schema::Session),
        (status = 401, description = "A problem: no_key, key_expired, sign_in_refused", content_type = "application/problem+json", body = schema::Problem),
        (status = 429, description = "A problem: too_many_sign_ins", content_type = "application/problem+json", body = schema::Problem),
    )
)]
pub(crate) async fn begin(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let mut members = change.members()?;
    let right = "an API key: wp_live_ and 43 letters and digits";
    let key: Option<String> = members.take("key", right).value();
    let name: Option<String> = members.take("user", "the name of a user").value();
    let password: Option<String> = members.take("password", "the user's password").value();
    if key.is_some() == name.is_some() || name.is_some() != password.is_some() {
        let detail = "give either key, or user and password";
        members.fault("key", detail.to_owned());
    }
    members.finish(&["key", "user", "password"])?;
    let Some(keys) = &state.keys else {
        return Err(ApiError::internal());
    };
    let now = Timestamp(now_ms());
    let signed_in = match (key, name, password) {
        (Some(key), ..) => with_key(keys, &change, &key, now),
        (None, Some(name), Some(password)) => {
            let known = with_password(keys, &change, &name, password).await;
            known.map(|(caller, scope, known)| {
                keys.note_sign_in(known.user.id, now);
                (caller, scope, known.credential())
            })
        }
        _ => Err(ApiError::internal()),
    };
    let (Caller(actor), scope, credential) = signed_in.inspect_err(|error| {
        metrics::counter!("wattpost_api_requests_refused_total", "code" => error.code())
            .increment(1);
    })?;
    let (token, session) = keys.sessions.begin(credential, now)?;
    let view = View::signed_in(&state, actor.name, scope, session);
    let response = change::object(StatusCode::CREATED, &view, None)?;
    with_cookie(response, &token, LIFETIME.as_secs(), change.headers())
}

type SignedIn = (Caller, Scope, Credential);

fn with_key(keys: &Keys, change: &Change, key: &str, now: Timestamp) -> Result<SignedIn, ApiError> {
    let secret = ApiSecret::from_text(key.trim()).ok_or_else(ApiError::unknown_key)?;
    let mut headers = change.headers().clone();
    headers.remove(header::COOKIE);
    let bearer = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    let mut bearer = bearer.map_err(|_| ApiError::unknown_key())?;
    bearer.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, bearer);
    let (Caller(actor), scope) = keys.identify(&headers, now)?;
    if actor.kind == ActorKind::WithoutKey {
        return Err(ApiError::unknown_key());
    }
    let credential = Credential::Key(*secret.hash().as_bytes());
    Ok((Caller(actor), scope, credential))
}

/// Every refusal has the same text and takes the same time, whether the name, the password or the user is not right.
async fn with_password(
    keys: &Arc<Keys>,
    change: &Change,
    name: &str,
    password: String,
) -> Result<(Caller, Scope, KnownUser), ApiError> {
    let origin = change.request()?.origin;
    // A client without an address is one of this machine.
    let address = origin.from.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let name = user_name(name.trim()).ok_or_else(ApiError::sign_in_refused)?;
    let taken = keys.sign_in_limit.take(address, &name);
    taken.map_err(ApiError::too_many_sign_ins)?;
    let known = keys.user(&name)?;
    let hash = known.as_ref().map(|known| known.password.clone());
    let is_right = keys.passwords.verify(password, hash).await?;
    let known = known.filter(|_| is_right).ok_or_else(|| {
        tracing::info!(%address, user = name, "a sign-in was refused");
        ApiError::sign_in_refused()
    })?;
    keys.sign_in_limit.give_back(address, &name);
    let caller = Caller(Actor {
        kind: ActorKind::User,
        name: Some(name),
    });
    Ok((caller, known.user.scope, known))
}

/// `PUT /api/v1/session/password`
///
/// The current password is asked for, so that whoever finds an open browser cannot take the user over. It counts as a
/// sign-in, so that it cannot be guessed here either.
#[utoipa::path(
    put,
    path = "/api/v1/session/password",
    request_body = schema::OwnPassword,
    responses(
        (status = 200, description = "The password is set, and a new session has begun in place of all others of the user; `Set-Cookie` has its cookie", body = schema::Session),
        (status = 401, description = "A problem: no_key, sign_in_refused", content_type = "application/problem+json", body = schema::Problem),
        (status = 429, description = "A problem: too_many_sign_ins", content_type = "application/problem+json", body = schema::Problem),
    )
)]
pub(crate) async fn set_password(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    let keys = state.keys.as_ref().ok_or_else(ApiError::internal)?;
    let now = Timestamp(now_ms());
    let session = keys.session(change.headers(), now);
    let Some(Credential::User { name, .. }) = session.map(|session| session.credential) else {
        return Err(ApiError::not_a_user());
    };
    let mut members = change.members()?;
    let right = "the password that the user has now";
    let current = members.required("current", right, |_: &String| true);
    let password = members.required("password", USER_PASSWORD_EXPECTED, |password: &String| {
        is_user_password(password)
    });
    members.finish(&["current", "password"])?;
    // Without them, a fault was reported.
    let (Some(current), Some(password)) = (current, password) else {
        return Err(ApiError::internal());
    };
    let (_, _, known) = with_password(keys, &change, &name, current).await?;
    let wanted = UserChange {
        password: Some(state.hash_password(password).await?),
        // Who has set another password since, such as an administrator, is not overruled.
        condition: Condition::Versions(vec![known.user.version(&known.password)]),
        ..UserChange::default()
    };
    let (users, origin) = (state.user_source()?, change.request()?.origin);
    let changed = state.run(move |_| {
        let changed = users.change_user(&name, &wanted, &origin);
        let changed = changed.map_err(|error| ApiError::unavailable(&error))?;
        changed.map_err(|why| match why {
            UserNotChanged::OtherVersion => ApiError::etag_mismatch(),
            UserNotChanged::Unknown | UserNotChanged::LastAdmin => ApiError::session_ended(),
        })
    });
    let (user, password) = changed.await?;
    keys.sessions.end(change.headers());
    state.reread_keys().await;
    let known = KnownUser { user, password };
    let (token, session) = keys.sessions.begin(known.credential(), now)?;
    let view = View::signed_in(&state, Some(known.user.name), known.user.scope, session);
    let response = change::object(StatusCode::OK, &view, None)?;
    with_cookie(response, &token, LIFETIME.as_secs(), change.headers())
}

/// `DELETE /api/v1/session`
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    responses((status = 204, description = "The session has ended"))
)]
pub(crate) async fn end(
    State(state): State<Arc<AppState>>,
    change: Change,
) -> Result<Response, ApiError> {
    change.query(&[])?;
    if let Some(keys) = &state.keys {
        keys.sessions.end(change.headers());
    }
    with_cookie(no_content(), "", 0, change.headers())
}

/// Whether the browser uses TLS, as the proxy before this process says: `X-Forwarded-Proto`, or `proto` of `Forwarded` (RFC
/// 7239). With several proxies the first one is that of the browser. A client that lies about it restricts its own cookie.
fn uses_tls(headers: &HeaderMap) -> bool {
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value.split(',').next()
    };
    let is_https = |scheme: &str| {
        scheme
            .trim()
            .trim_matches('"')
            .eq_ignore_ascii_case("https")
    };
    let forwarded = first("forwarded").unwrap_or_default().split(';');
    let mut pairs = forwarded.filter_map(|pair| pair.trim().split_once('='));
    first("x-forwarded-proto").is_some_and(is_https)
        || pairs.any(|(name, value)| name.eq_ignore_ascii_case("proto") && is_https(value))
}

/// Sets the cookie. Behind a proxy with TLS, the browser sends it over TLS only.
fn with_cookie(
    mut response: Response,
    token: &str,
    seconds: u64,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let secure = if uses_tls(headers) { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).map_err(|_| ApiError::internal())?;
    cookie.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    fn cookie(token: &str) -> HeaderMap {
        headers(&[("cookie", &format!("theme=dark; {COOKIE}={token}"))])
    }

    #[test]
    fn a_session_lasts_for_its_lifetime_and_ends_when_it_is_ended() {
        let sessions = Sessions::default();
        let key = Credential::Key([1; 32]);
        let begun = sessions.begin(key.clone(), Timestamp(0));
        let (token, session) = begun.expect("a session");
        let find = |at: i64| sessions.find(&cookie(&token), Timestamp(at));
        assert_eq!(find(1).expect("it is open").credential, key);
        assert!(find(session.expires_at.0 - 1).is_some());
        assert!(find(session.expires_at.0).is_none());
        assert!(sessions.find(&cookie("other"), Timestamp(1)).is_none());
        sessions.end(&cookie(&token));
        assert!(find(1).is_none());
    }

    #[test]
    fn a_session_lasts_no_longer_when_the_clock_is_set_back() {
        let sessions = Sessions::default();
        const HOUR_MS: i64 = 3_600_000;
        let begun = sessions.begin(Credential::Key([1; 32]), Timestamp(100 * HOUR_MS));
        let (token, _) = begun.expect("a session");
        let is_open = |at: i64| sessions.find(&cookie(&token), Timestamp(at)).is_some();
        assert!(is_open(100 * HOUR_MS) && is_open(99 * HOUR_MS));
        assert!(!is_open(99 * HOUR_MS - 1));
    }

    #[test]
    fn the_cookie_is_sent_over_tls_only_if_the_first_proxy_says_that_the_browser_uses_it() {
        for (name, value, expected) in [
            ("x-forwarded-proto", "https", true),
            ("x-forwarded-proto", "HTTPS", true),
            ("x-forwarded-proto", "https, http", true),
            ("x-forwarded-proto", "http, https", false),
            ("x-forwarded-proto", "httpsx", false),
            ("forwarded", "for=192.0.2.1;proto=https", true),
            (
                "forwarded",
                "for=192.0.2.1; Proto=\"https\", for=10.0.0.1;proto=http",
                true,
            ),
            (
                "forwarded",
                "for=192.0.2.1, for=10.0.0.1;proto=https",
                false,
            ),
            ("x-other", "https", false),
        ] {
            assert_eq!(
                uses_tls(&headers(&[(name, value)])),
                expected,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn sessions_are_bounded_and_the_one_that_ends_first_gives_way() {
        let sessions = Sessions::default();
        let begin = |key: usize, at: i64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&key.to_be_bytes());
            let begun = sessions.begin(Credential::Key(hash), Timestamp(at));
            begun.expect("a session").0
        };
        let first = begin(0, 0);
        // One key ends its own sessions only.
        let second = begin(1, 1);
        for _ in 0..SESSIONS_EACH_MAX {
            begin(1, 2);
        }
        assert_eq!(lock(&sessions.open).len(), 1 + SESSIONS_EACH_MAX);
        assert!(sessions.find(&cookie(&second), Timestamp(2)).is_none());
        assert!(sessions.find(&cookie(&first), Timestamp(2)).is_some());
        for key in 2..=SESSIONS_MAX - SESSIONS_EACH_MAX + 1 {
            begin(key, 3);
        }
        assert_eq!(lock(&sessions.open).len(), SESSIONS_MAX);
        assert!(sessions.find(&cookie(&first), Timestamp(3)).is_none());
    }

    #[test]
    fn a_change_needs_the_token_of_its_own_session() {
        let sessions = Sessions::default();
        let key = || Credential::Key([1; 32]);
        let (_, one) = sessions.begin(key(), Timestamp(0)).expect("a session");
        let (_, other) = sessions.begin(key(), Timestamp(0)).expect("a session");
        let sent = headers(&[(CSRF_HEADER, &one.csrf_token)]);
        assert!(one.has_csrf_token(&sent) && !other.has_csrf_token(&sent));
        assert!(!one.has_csrf_token(&HeaderMap::new()));
    }

    #[test]
    fn only_a_page_of_this_machine_under_its_own_name_is_one() {
        let cases = [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://localhost:8080", "localhost:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            // Another port is another program.
            ("http://localhost:3000", "localhost:8080", false),
            // A foreign name that leads to this machine.
            ("http://evil.example:8080", "evil.example:8080", false),
            (
                "http://127.0.0.1.evil.example",
                "127.0.0.1.evil.example",
                false,
            ),
            ("null", "localhost:8080", false),
            ("http://evil.example", "localhost:8080", false),
        ];
        for (origin, host, expected) in cases {
            let headers = headers(&[("origin", origin), ("host", host)]);
            assert_eq!(
                is_page_of_this_machine(&headers),
                expected,
                "{origin} {host}"
            );
        }
        let without = headers(&[("host", "localhost:8080")]);
        assert!(!is_page_of_this_machine(&without));
    }
}
