//! Tokens that may be in one transaction only: what counts as running, what is refused, and what never is.

use crate::common::{NOW, TestCharger, at, setup, token, transaction_id};
use central::Timestamp;
use central::model::{ChargerKey, ConcurrentTransactions};
use central::ports::{Token, TokenStatus};
use central::running::{
    Beginning, OWN_MAX, OWN_OF_CHARGER_MAX, RunningTokens, RunningTransaction, STALE_MS,
    SessionNews, UNCONFIRMED_MS,
};
use central::station::TokenAnswer;
use ocpp::Version;
use std::sync::{Arc, Mutex};

/// A charger at a gateway that knows the token `CARD`, which may be in one transaction only.
fn charger(id: &'static str, version: Version, gateway: &Arc<Mutex<RunningTokens>>) -> TestCharger {
    let mut charger = crate::common::Setup {
        charger_id: id,
        ..setup(version)
    }
    .connect();
    charger.gateway = Some(Arc::clone(gateway));
    let card = Token {
        concurrent: Some(ConcurrentTransactions::Refuse),
        ..Token::accepted("CARD")
    };
    charger
        .tokens
        .insert("card".into(), TokenAnswer::Known(card));
    charger
        .tokens
        .insert("any".into(), token("ANY", TokenStatus::Accepted));
    charger
}

fn pair(version: Version) -> [TestCharger; 2] {
    let gateway = Arc::default();
    ["CP-1", "CP-2"].map(|id| charger(id, version, &gateway))
}

fn start(connector: i64, token: &str, at: Timestamp) -> String {
    format!(r#"{{"connectorId":{connector},"idTag":"{token}","timestamp":"{at}","meterStart":0}}"#)
}

fn starts(charger: &mut TestCharger, id: &str, payload: &str) -> (String, i64) {
    let answer = charger.succeeds(id, "StartTransaction", payload);
    let status = at(&answer, "/idTagInfo/status");
    (
        status.as_str().expect("a status").to_owned(),
        transaction_id(&answer),
    )
}

fn stop(id: i64) -> String {
    format!(r#"{{"transactionId":{id},"timestamp":"{NOW}","meterStop":5}}"#)
}

#[test]
fn the_second_transaction_is_refused_until_the_first_one_has_ended() {
    let [mut one, mut two] = pair(Version::V16);
    let (status, first) = starts(&mut one, "1", &start(1, "CARD", NOW));
    assert_eq!(status, "Accepted");
    let second = start(1, "card", NOW);
    assert_eq!(starts(&mut two, "1", &second).0, "ConcurrentTx");
    let authorize = two.succeeds("2", "Authorize", r#"{"idTag":"CARD"}"#);
    assert_eq!(at(&authorize, "/idTagInfo/status"), "Accepted");
    assert_eq!(starts(&mut two, "3", &start(2, "ANY", NOW)).0, "Accepted");
    one.succeeds("2", "StopTransaction", &stop(first));
    // The refused start keeps its answer; a new one is accepted.
    assert_eq!(starts(&mut two, "4", &second).0, "ConcurrentTx");
    let later = start(1, "CARD", NOW.plus_millis(1_000));
    assert_eq!(starts(&mut two, "5", &later).0, "Accepted");
}

#[test]
fn a_start_that_comes_again_gets_its_first_answer() {
    let [mut one, mut two] = pair(Version::V16);
    let payload = start(1, "CARD", NOW);
    let first = starts(&mut one, "1", &payload);
    assert_eq!(starts(&mut one, "2", &payload), first, "a resend");
    // A gateway that has forgotten the answer asks again: it is the same transaction.
    let gateway = one.gateway.clone().expect("a gateway");
    let mut again = charger("CP-1", Version::V16, &gateway);
    assert_eq!(starts(&mut again, "3", &payload), first);
    assert_eq!(starts(&mut two, "1", &payload).0, "ConcurrentTx");
}

#[test]
fn what_is_over_or_was_charged_already_is_not_refused() {
    let [mut one, mut two] = pair(Version::V16);
    starts(&mut one, "1", &start(1, "CARD", NOW));
    let late = NOW.plus_millis(-61_000);
    assert_eq!(
        starts(&mut two, "1", &start(1, "CARD", late)).0,
        "Accepted",
        "it was kept by the charger"
    );
    let undated =
        r#"{"connectorId":2,"idTag":"CARD","timestamp":"1970-01-01T00:00:00Z","meterStart":0}"#;
    assert_eq!(starts(&mut two, "2", undated).0, "Accepted");
    // A start on the same connector supersedes the session there.
    let next = start(1, "CARD", NOW.plus_millis(1_000));
    assert_eq!(starts(&mut one, "2", &next).0, "Accepted");
    // Another driver's start says that the card's session there is over.
    starts(&mut one, "3", &start(1, "ANY", NOW));
    assert_eq!(starts(&mut two, "3", &start(3, "CARD", NOW)).0, "Accepted");
    // A stop that names no transaction may be of any.
    two.succeeds("4", "StopTransaction", &stop(-1));
    assert_eq!(starts(&mut one, "5", &start(2, "CARD", NOW)).0, "Accepted");
}

fn event(kind: &str, trigger: &str, seq: u32, transaction: &str, more: &str) -> String {
    format!(
        r#"{{"eventType":"{kind}","timestamp":"{NOW}","triggerReason":"{trigger}","seqNo":{seq},"transactionInfo":{{"transactionId":"{transaction}"}},"evse":{{"id":1}}{more}}}"#
    )
}

const CARD: &str = r#","idToken":{"idToken":"CARD","type":"ISO14443"}"#;

fn says(charger: &mut TestCharger, id: &str, payload: &str) -> serde_json::Value {
    let answer = charger.succeeds(id, "TransactionEvent", payload);
    at(&answer, "/idTokenInfo/status")
}

#[test]
fn with_2_x_the_event_that_brings_the_token_is_refused_and_the_one_that_stops_is_not() {
    for version in [Version::V201, Version::V21] {
        let [mut one, mut two] = pair(version);
        let started = event("Started", "Authorized", 0, "a", CARD);
        assert_eq!(says(&mut one, "1", &started), "Accepted");
        // Cable first: the token comes later.
        let plugged = event("Started", "CablePluggedIn", 0, "b", "");
        two.succeeds("1", "TransactionEvent", &plugged);
        let token = event("Updated", "Authorized", 1, "b", CARD);
        assert_eq!(says(&mut two, "2", &token), "ConcurrentTx");
        let offline = format!(r#"{CARD},"offline":true"#);
        let offline = event("Started", "Authorized", 0, "c", &offline);
        assert_eq!(says(&mut two, "3", &offline), "Accepted");
        let stopping = event("Updated", "StopAuthorized", 1, "a", CARD);
        assert_eq!(says(&mut one, "2", &stopping), "Accepted");
        let ended = event("Ended", "StopAuthorized", 2, "a", CARD);
        assert_eq!(says(&mut one, "3", &ended), "Accepted");
        let next = event("Started", "Authorized", 0, "d", CARD);
        assert_eq!(says(&mut two, "4", &next), "Accepted");
    }
}

fn key(id: &str) -> ChargerKey {
    ChargerKey::of(id)
}

fn beginning(id: &str) -> Beginning {
    Beginning {
        transaction_id: id.into(),
        place: Some(1),
        is_live: true,
    }
}

fn begin(known: &mut RunningTokens, charger: &str, id: &str, now: Timestamp) -> bool {
    known.begin(
        "CARD",
        &key(charger),
        &beginning(id),
        now,
        86_400_000,
        |_| true,
    )
}

fn running(charger: &str, id: &str) -> RunningTransaction {
    RunningTransaction {
        token: "card".into(),
        charger: key(charger),
        transaction_id: id.into(),
        place: Some(1),
        began_at: NOW.plus_millis(-1_000),
    }
}

#[test]
fn a_transaction_of_the_database_counts_while_it_is_known_to_be_open() {
    let fresh = || {
        let mut known = RunningTokens::default();
        known.refresh(vec![running("CP-1", "7")], NOW);
        known
    };
    assert!(begin(&mut fresh(), "CP-2", "8", NOW));
    assert!(!begin(&mut fresh(), "CP-1", "7", NOW), "the same one");
    assert!(!begin(&mut fresh(), "CP-1", "8", NOW), "superseded");
    let stale = NOW.plus_millis(STALE_MS);
    assert!(!begin(&mut fresh(), "CP-2", "8", stale), "stale");
    let mut known = fresh();
    known.refresh(Vec::new(), NOW.plus_millis(1));
    assert!(
        !begin(&mut known, "CP-2", "8", NOW.plus_millis(2)),
        "closed"
    );
    // The database does not have the stop yet that this gateway has answered.
    let mut known = fresh();
    let ended = SessionNews::Ended {
        transaction_id: Some("7".into()),
    };
    known.learn(&key("CP-1"), &ended, NOW);
    known.refresh(vec![running("CP-1", "7")], NOW.plus_millis(5_000));
    assert!(!begin(&mut known, "CP-2", "8", NOW.plus_millis(5_001)));
    // A bound in case that the stop is lost.
    let mut known = RunningTokens::default();
    let mut old = running("CP-1", "7");
    old.began_at = NOW.plus_millis(-86_400_000);
    known.refresh(vec![old], NOW);
    assert!(!begin(&mut known, "CP-2", "8", NOW));
}

#[test]
fn a_start_that_the_database_does_not_have_counts_for_two_minutes_or_while_it_is_away() {
    let mut known = RunningTokens::default();
    assert!(!begin(&mut known, "CP-1", "7", NOW));
    let later = NOW.plus_millis(UNCONFIRMED_MS);
    assert!(
        begin(&mut known, "CP-2", "8", later),
        "the database is away"
    );
    let gone = known.begin(
        "CARD",
        &key("CP-2"),
        &beginning("8"),
        NOW,
        86_400_000,
        |_| false,
    );
    assert!(!gone, "its charger may have stopped it at another gateway");
    let mut known = RunningTokens::default();
    assert!(!begin(&mut known, "CP-1", "7", NOW));
    known.refresh(Vec::new(), later.plus_millis(-1));
    assert!(begin(&mut known, "CP-2", "8", later.plus_millis(-1)));
    known.refresh(Vec::new(), later);
    assert!(!begin(&mut known, "CP-2", "8", later), "closed by a person");
}

#[test]
fn what_is_kept_is_bounded_and_one_charger_forgets_its_own() {
    let mut known = RunningTokens::default();
    assert!(!begin(&mut known, "CP-1", "7", NOW));
    for number in 0..=OWN_OF_CHARGER_MAX as i64 {
        let many = Beginning {
            place: Some(number),
            ..beginning(&format!("x{number}"))
        };
        let token = format!("T{number}");
        assert!(!known.begin(&token, &key("BAD"), &many, NOW, 86_400_000, |_| true));
    }
    let again = |known: &mut RunningTokens, token: &str| {
        known.begin(
            token,
            &key("CP-3"),
            &beginning("9"),
            NOW,
            86_400_000,
            |_| true,
        )
    };
    assert!(!again(&mut known, "T0"), "the oldest of its charger");
    assert!(again(&mut known, "T1"));
    assert!(again(&mut known, "CARD"), "another charger's");
    for number in 0..OWN_MAX {
        let charger = format!("CP-{number}-X");
        known.begin(
            &charger,
            &key(&charger),
            &beginning("1"),
            NOW,
            86_400_000,
            |_| true,
        );
    }
    assert!(!again(&mut known, "CARD"), "the oldest of all");
}
