//! Local users over HTTP: sign-in with a password, and the routes that manage users.

use crate::support::*;
use api::{Api, ApiDeps};
use central::model::{ActorKind, Scope};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const USERS: &str = "/api/v1/users";
const SESSION: &str = "/api/v1/session";
const CHARGERS: &str = "/api/v1/chargers";
const JSON: &str = "Content-Type: application/json";
const PATCH: &str = "Content-Type: application/merge-patch+json";
const PASSWORD: &str = "correct horse battery";

struct Site {
    api: Api,
    users: Arc<MemoryUsers>,
    keys: Arc<MemoryKeys>,
}

impl Site {
    async fn start() -> Self {
        let (users, keys) = (
            Arc::new(MemoryUsers::default()),
            Arc::new(MemoryKeys::default()),
        );
        users.add("root", Scope::Admin, PASSWORD);
        let deps = ApiDeps {
            keys: Some(Arc::clone(&keys) as _),
            users: Some(Arc::clone(&users) as _),
            ..deps(&Arc::default())
        };
        let api = Api::start(config(), deps).await.expect("it starts");
        Self { api, users, keys }
    }

    fn addr(&self) -> SocketAddr {
        self.api.local_addr()
    }

    async fn sign_in(&self, user: &str, password: &str) -> Answer {
        let body = json!({"user": user, "password": password}).to_string();
        send(self.addr(), "POST", SESSION, &[JSON], &body).await
    }

    /// Signs in; returns the headers of further requests.
    async fn session(&self, user: &str, password: &str) -> Signed {
        let answer = self.sign_in(user, password).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let cookie = answer.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair");
        let csrf = answer.json()["csrf_token"].clone();
        Signed {
            cookie: format!("Cookie: {cookie}"),
            csrf: format!("X-CSRF-Token: {}", csrf.as_str().expect("a token")),
        }
    }

    async fn change(&self, by: &Signed, method: &str, target: &str, body: &Value) -> Answer {
        let media = if method == "PATCH" { PATCH } else { JSON };
        let headers = [media, &by.cookie, &by.csrf, "If-Match: *"];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        send(self.addr(), method, target, &headers, &body).await
    }

    async fn lists_chargers(&self, by: &Signed) -> u16 {
        get_with(self.addr(), CHARGERS, &[&by.cookie]).await.status
    }
}

struct Signed {
    cookie: String,
    csrf: String,
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.error().0)
}

#[tokio::test]
async fn a_user_signs_in_with_a_password_and_has_the_scope_of_the_user() {
    let site = Site::start().await;
    // There is a user and no key, so nothing is open without one.
    assert_eq!(get(site.addr(), CHARGERS).await.status, 401);
    let answer = site.sign_in("Root", PASSWORD).await;
    let session = answer.json();
    assert_eq!(
        (&session["access"], &session["name"]),
        (&json!("signed_in"), &json!("root"))
    );
    assert_eq!(session["scope"], "admin");
    assert!(!answer.body.contains(PASSWORD));
    let root = site.session("root", PASSWORD).await;
    assert_eq!(site.lists_chargers(&root).await, 200);
    let users = Arc::clone(&site.users);
    until("the sign-in is noted", || {
        users
            .user("root")
            .is_some_and(|user| user.last_sign_in_at.is_some())
    })
    .await;

    let without_token = send(site.addr(), "POST", USERS, &[JSON, &root.cookie], "{}").await;
    assert_eq!(code(&without_token), (403, "csrf_token_missing".to_owned()));
    let body = json!({"name": "Anna", "scope": "read", "password": "anna's long password"});
    let added = site.change(&root, "POST", USERS, &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.header("location"), Some("/api/v1/users/anna"));
    assert!(
        !added.body.contains("password\"") && !added.body.contains("argon2"),
        "{}",
        added.body
    );
    let by = site.users.origins.lock().expect("not poisoned")[0]
        .by
        .clone();
    assert_eq!(
        (by.kind, by.name.as_deref()),
        (ActorKind::User, Some("root"))
    );
    let again = site.change(&root, "POST", USERS, &body).await;
    assert_eq!(code(&again), (409, "user_exists".to_owned()));

    // The hash that the API has made is one that it verifies; the new user may read only.
    let anna = site.session("anna", "anna's long password").await;
    assert_eq!(site.lists_chargers(&anna).await, 200);
    let refused = get_with(site.addr(), USERS, &[&anna.cookie]).await;
    assert_eq!(code(&refused), (403, "scope_missing".to_owned()));
    let listed = get_with(site.addr(), USERS, &[&root.cookie]).await.value();
    let names: Vec<_> = listed["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|user| &user["name"])
        .collect();
    assert_eq!(names, ["root", "anna"]);
}

#[tokio::test]
async fn sign_ins_wait_for_one_thread_while_the_database_hangs() {
    let site = Site::start().await;
    site.users.add("anna", Scope::Read, PASSWORD);
    site.users.add("ben", Scope::Read, PASSWORD);
    let users = Arc::clone(&site.users);
    let begun = || users.sign_ins_begun.load(Ordering::SeqCst);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let hanging = Arc::clone(&site.users);
    let holder = std::thread::spawn(move || {
        let _hang = hanging.sign_ins_hang.lock().expect("not poisoned");
        ready.send(()).expect("the test waits");
        // Until the test drops its end.
        let _ = held.recv();
    });
    is_ready.recv().expect("the thread has the lock");
    site.session("root", PASSWORD).await;
    until("the first is being written", || begun() == 1).await;
    // The users are read again at the next change.
    let root = site.session("root", PASSWORD).await;
    let body = json!({"name": "carl", "scope": "read", "password": PASSWORD});
    assert_eq!(site.change(&root, "POST", USERS, &body).await.status, 201);
    for _ in 0..3 {
        for name in ["anna", "ben", "root"] {
            site.session(name, PASSWORD).await;
        }
    }
    assert_eq!(begun(), 1, "one thread waits for the database");
    drop(hold);
    holder.join().expect("no panic");
    until("the newest time of each user is written", || {
        ["anna", "ben", "root"].iter().all(|name| {
            users
                .user(name)
                .is_some_and(|user| user.last_sign_in_at.is_some())
        })
    })
    .await;
    assert_eq!(begun(), 4, "the first, and one for each user");
    // Nothing waits now, so the next sign-in is written at once.
    site.session("anna", PASSWORD).await;
    until("the next is written", || begun() == 5).await;
}

#[tokio::test]
async fn the_sessions_of_a_user_end_with_the_user_the_password_and_the_permission() {
    let site = Site::start().await;
    let root = site.session("root", PASSWORD).await;
    let anna = "/api/v1/users/anna";
    let changes = [
        ("PATCH", json!({"password": "another password"})),
        ("PATCH", json!({"disabled": true})),
        ("DELETE", Value::Null),
    ];
    for (method, body) in changes {
        site.users.remove("anna");
        site.users.add("anna", Scope::Operate, PASSWORD);
        // The process learns of a change by another one within seconds; of its own at once.
        let touched = site
            .change(&root, "PATCH", anna, &json!({"scope": "read"}))
            .await;
        assert_eq!(touched.status, 200, "{}", touched.body);
        let session = site.session("anna", PASSWORD).await;
        assert_eq!(site.lists_chargers(&session).await, 200);
        let changed = site.change(&root, method, anna, &body).await;
        assert!(changed.status < 300, "{}", changed.body);
        assert_eq!(site.lists_chargers(&session).await, 401, "{method} {body}");
        let again = site.sign_in("anna", PASSWORD).await;
        assert_eq!(
            code(&again),
            (401, "sign_in_refused".to_owned()),
            "{method} {body}"
        );
    }
    let gone = site.change(&root, "DELETE", anna, &Value::Null).await;
    assert_eq!(code(&gone), (404, "unknown_user".to_owned()));
    let last = site
        .change(&root, "DELETE", "/api/v1/users/root", &Value::Null)
        .await;
    assert_eq!(code(&last), (409, "last_admin_user".to_owned()));
    assert_eq!(site.lists_chargers(&root).await, 200);
}

#[tokio::test]
async fn failed_sign_ins_are_limited_and_tell_nothing_about_names() {
    let site = Site::start().await;
    let secret = site.keys.add("key", Scope::Read, None);
    let wrong = site.sign_in("root", "a wrong password").await;
    let unknown = site.sign_in("nobody", "a wrong password").await;
    assert_eq!(code(&wrong), (401, "sign_in_refused".to_owned()));
    assert_eq!(wrong.error(), unknown.error());
    for _ in 0..8 {
        let refused = site.sign_in("root", "a wrong password").await;
        assert_eq!(refused.status, 401);
    }
    let limited = site.sign_in("root", PASSWORD).await;
    assert_eq!(code(&limited), (429, "too_many_sign_ins".to_owned()));
    let wait: u32 = limited
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((1..=15).contains(&wait), "{wait}");
    // Keys cannot be guessed, so they are not limited.
    let body = json!({"key": secret}).to_string();
    let with_key = send(site.addr(), "POST", SESSION, &[JSON], &body).await;
    // The keys are read every few seconds.
    assert!(matches!(with_key.status, 201 | 401), "{}", with_key.body);
}

#[tokio::test]
async fn what_cannot_be_a_user_is_refused_with_the_members_and_without_the_password() {
    let site = Site::start().await;
    let root = site.session("root", PASSWORD).await;
    let body = json!({"name": "two words", "scope": "root", "password": "Xq1short"});
    let refused = site.change(&root, "POST", USERS, &body).await;
    let problem = refused.value();
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .expect("faults")
        .iter()
        .map(|fault| &fault["pointer"])
        .collect();
    assert_eq!(pointers, ["/name", "/scope", "/password"]);
    assert!(!refused.body.contains("Xq1short"), "{}", refused.body);
    for body in [
        json!({}),
        json!({"user": "root"}),
        json!({"key": "x", "user": "root", "password": "x"}),
    ] {
        let refused = send(site.addr(), "POST", SESSION, &[JSON], &body.to_string()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
    }
}

#[tokio::test]
async fn a_change_of_a_user_needs_the_version_that_its_sender_knows() {
    let site = Site::start().await;
    let root = site.session("root", PASSWORD).await;
    site.users.add("anna", Scope::Operate, PASSWORD);
    let anna = "/api/v1/users/anna";
    let patch = async |condition: &str, body: Value| {
        let headers = [PATCH, &root.cookie, &root.csrf, condition];
        send(site.addr(), "PATCH", anna, &headers, &body.to_string()).await
    };
    let without = patch("X: y", json!({"scope": "read"})).await;
    assert_eq!(code(&without), (428, "if_match_required".to_owned()));
    let tag = async || {
        let shown = get_with(site.addr(), anna, &[&root.cookie]).await;
        assert_eq!(shown.status, 200, "{}", shown.body);
        format!("If-Match: {}", shown.header("etag").expect("a tag"))
    };
    let first = tag().await;
    let changed = patch(&first, json!({"scope": "read"})).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let next = changed.header("etag").map(|tag| format!("If-Match: {tag}"));
    assert_eq!(next, Some(tag().await));
    let again = patch(&first, json!({"scope": "admin"})).await;
    assert_eq!(code(&again), (412, "etag_mismatch".to_owned()));
    // The password counts too.
    let before = tag().await;
    let changed = patch(&before, json!({"password": "another password"})).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let again = patch(&before, json!({"password": "a third password"})).await;
    assert_eq!(code(&again), (412, "etag_mismatch".to_owned()));
    let unknown = get_with(site.addr(), "/api/v1/users/nobody", &[&root.cookie]).await;
    assert_eq!(code(&unknown), (404, "unknown_user".to_owned()));
}

#[tokio::test]
async fn a_user_of_any_scope_sets_the_own_password_and_other_sessions_end() {
    let site = Site::start().await;
    let root = site.session("root", PASSWORD).await;
    let body = json!({"name": "anna", "scope": "read", "password": PASSWORD});
    assert_eq!(site.change(&root, "POST", USERS, &body).await.status, 201);
    let (here, elsewhere) = (
        site.session("anna", PASSWORD).await,
        site.session("anna", PASSWORD).await,
    );
    let own = "/api/v1/session/password";
    let set = async |by: &Signed, current: &str, password: &str| {
        let body = json!({"current": current, "password": password});
        site.change(by, "PUT", own, &body).await
    };
    let wrong = set(&here, "not my password", "a second password").await;
    assert_eq!(code(&wrong), (401, "sign_in_refused".to_owned()));
    let short = set(&here, PASSWORD, "short").await;
    assert_eq!(short.status, 422, "{}", short.body);
    let forged = send(site.addr(), "PUT", own, &[JSON, &here.cookie], "{}").await;
    assert_eq!(code(&forged), (403, "csrf_token_missing".to_owned()));
    assert_eq!(site.lists_chargers(&elsewhere).await, 200);

    let done = set(&here, PASSWORD, "a second password").await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(!done.body.contains("a second password"), "{}", done.body);
    assert_eq!(done.json()["name"], "anna");
    let cookie = done.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair");
    let csrf = done.json()["csrf_token"].clone();
    let now = Signed {
        cookie: format!("Cookie: {cookie}"),
        csrf: format!("X-CSRF-Token: {}", csrf.as_str().expect("a token")),
    };
    assert_eq!(site.lists_chargers(&now).await, 200);
    for ended in [&here, &elsewhere] {
        assert_eq!(site.lists_chargers(ended).await, 401);
    }
    assert_eq!(site.sign_in("anna", PASSWORD).await.status, 401);
    site.session("anna", "a second password").await;
    let by = site.users.origins.lock().expect("not poisoned").clone();
    let last = by.last().expect("a change").by.name.clone();
    assert_eq!(last.as_deref(), Some("anna"));

    // Wrong passwords count as failed sign-ins. An attempt comes back each 15 s, which a busy machine needs for a few.
    let began = Instant::now();
    let mut refused = 0;
    let limited = loop {
        while set(&now, "not my password", "a third password")
            .await
            .status
            == 401
        {
            refused += 1;
            assert!(
                refused <= 10 + began.elapsed().as_secs() / 15,
                "it is not limited"
            );
        }
        let limited = site.sign_in("anna", "a second password").await;
        if limited.status == 429 || began.elapsed() > Duration::from_secs(120) {
            break limited;
        }
    };
    assert_eq!(code(&limited), (429, "too_many_sign_ins".to_owned()));
}

#[tokio::test]
async fn a_key_has_no_password() {
    let site = Site::start().await;
    let secret = site.keys.add("key", Scope::Admin, None);
    let root = site.session("root", PASSWORD).await;
    // The keys are read with each change of a user.
    let body = json!({"name": "anna", "scope": "read", "password": PASSWORD});
    assert_eq!(site.change(&root, "POST", USERS, &body).await.status, 201);
    let key = format!("Authorization: Bearer {secret}");
    let body = json!({"current": PASSWORD, "password": "a second password"}).to_string();
    let own = "/api/v1/session/password";
    let refused = send(site.addr(), "PUT", own, &[JSON, &key], &body).await;
    assert_eq!(code(&refused), (409, "not_a_user".to_owned()));
}
