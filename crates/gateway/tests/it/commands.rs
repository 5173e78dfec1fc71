//! Commands over real sockets: from the queue to the charger and back, and what is settled after a gateway was killed.

use crate::common::charger::Charger;
use crate::common::{World, until};
use central::memory::MemoryStore;
use central::model::{
    ChargerKey, Claim, Command, CommandId, CommandState, CommandView, NotSent, OutcomeClass,
    SILENCE_MAX_MS,
};
use central::ports::{
    Cancelled, CommandQueue, Commands, DatabaseClock, Disconnect, DisconnectRequest, Disconnects,
    Heard, NewCommand, NotConnected, Once, Unavailable,
};
use central::record::Notes;
use central::{AnswerKind, Epoch, GatewayId, Record, RecordKind, Seq, Timestamp};
use ocpp::Version;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

const GATEWAY: GatewayId = GatewayId(Uuid::from_u128(7));

fn now() -> Timestamp {
    Timestamp(::common::clock::now_ms())
}

fn id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

fn request(store: &MemoryStore, number: u128, charger: &str, action: &str, payload: &str) {
    let new = NewCommand {
        command: Command {
            id: id(number),
            charger_id: charger.to_owned(),
            action: action.to_owned(),
            payload: payload.to_owned(),
            answer_within_ms: 60_000,
            send_before: now().plus_millis(3_600_000),
            skips_check: false,
        },
        created_at: now(),
        requested_by: "test".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: None,
        audit: None,
        traceparent: None,
    };
    store.create(&new).unwrap();
}

pub(crate) fn reset(store: &MemoryStore, number: u128, charger: &str) {
    request(store, number, charger, "Reset", r#"{"type":"Soft"}"#);
}

fn show(store: &MemoryStore, number: u128) -> CommandView {
    store.command(id(number), now()).unwrap().unwrap()
}

pub(crate) fn class(store: &MemoryStore, number: u128) -> Option<OutcomeClass> {
    show(store, number).outcome.map(|outcome| outcome.class)
}

fn reason(store: &MemoryStore, number: u128) -> String {
    let outcome = show(store, number).outcome.unwrap();
    outcome.reason.unwrap_or_default()
}

pub(crate) async fn start(store: &Arc<MemoryStore>) -> World {
    World::with(|setup| {
        *setup.sink.store.lock().unwrap() = Some(Arc::clone(store));
        setup.commands = Some(Arc::clone(store) as _);
    })
    .await
}

/// The command that the charger receives next.
pub(crate) async fn receives(charger: &mut Charger, number: u128) {
    let text = charger.answer().await;
    let start = format!(r#"[2,"{}","Reset","#, id(number));
    assert!(text.starts_with(&start), "{text}");
}

pub(crate) async fn replies(charger: &mut Charger, number: u128) {
    let reply = format!(r#"[3,"{}",{{"status":"Accepted"}}]"#, id(number));
    charger.text(&reply).await;
}

pub(crate) async fn is_done(store: &MemoryStore, number: u128) {
    until("the outcome", || {
        show(store, number).state == CommandState::Done
    })
    .await;
}

#[tokio::test]
async fn commands_reach_their_charger_one_after_the_other_in_order() {
    let store = Arc::new(MemoryStore::default());
    let world = start(&store).await;
    // The first is there before the charger.
    for number in [5, 3, 4] {
        reset(&store, number, "cp-1");
    }
    let mut charger = Charger::connect(&world, "CP-1").await;
    let mut other = Charger::connect(&world, "CP-2").await;
    for number in [5, 3, 4] {
        receives(&mut charger, number).await;
        // The charger's own calls are answered meanwhile.
        charger.heartbeat().await;
        replies(&mut charger, number).await;
        is_done(&store, number).await;
        let outcome = show(&store, number).outcome.unwrap();
        assert_eq!(outcome.class, OutcomeClass::Answered);
        assert_eq!(outcome.status.as_deref(), Some("Accepted"));
    }
    other.heartbeat().await;
    assert!(
        charger
            .is_silent(std::time::Duration::from_millis(50))
            .await
    );
}

#[tokio::test]
async fn a_connection_that_ends_makes_its_command_uncertain_and_the_next_is_sent_later() {
    let store = Arc::new(MemoryStore::default());
    let world = start(&store).await;
    reset(&store, 1, "CP-1");
    reset(&store, 2, "CP-1");
    let mut charger = Charger::connect(&world, "CP-1").await;
    receives(&mut charger, 1).await;
    drop(charger);
    is_done(&store, 1).await;
    assert_eq!(class(&store, 1), Some(OutcomeClass::Uncertain));
    let why = reason(&store, 1);
    assert!(
        why.starts_with("the connection ended before an answer"),
        "{why}"
    );
    assert!(show(&store, 2).state.is_queued());
    let mut charger = Charger::connect(&world, "CP-1").await;
    receives(&mut charger, 2).await;
    replies(&mut charger, 2).await;
    is_done(&store, 2).await;
    assert_eq!(class(&store, 2), Some(OutcomeClass::Answered));
}

#[tokio::test]
async fn what_the_charger_cannot_be_sent_says_so_and_blocks_nothing() {
    let store = Arc::new(MemoryStore::default());
    let world = start(&store).await;
    request(&store, 1, "CP-1", "SetVariables", "{}");
    request(&store, 2, "CP-1", "Reset", r#"{"type":"Now"}"#);
    reset(&store, 3, "CP-1");
    let mut charger = Charger::connect(&world, "CP-1").await;
    receives(&mut charger, 3).await;
    for number in [1, 2] {
        assert_eq!(class(&store, number), Some(OutcomeClass::NotSent));
        assert_eq!(
            reason(&store, number),
            NotSent::NotSupportedByCharger.as_str()
        );
    }
}

#[tokio::test]
async fn a_command_is_shown_as_sent_while_its_records_cannot_be_stored() {
    let store = Arc::new(MemoryStore::default());
    let world = start(&store).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.heartbeat().await;
    world.sink.unavailable.store(true, Ordering::SeqCst);
    reset(&store, 1, "CP-1");
    receives(&mut charger, 1).await;
    replies(&mut charger, 1).await;
    charger.heartbeat().await;
    assert_eq!(show(&store, 1).state, CommandState::Claimed);
    assert!(matches!(
        store.cancel(id(1), now()).unwrap(),
        Cancelled::TooLate(_)
    ));
    world.sink.unavailable.store(false, Ordering::SeqCst);
    is_done(&store, 1).await;
    assert_eq!(class(&store, 1), Some(OutcomeClass::Answered));
}

/// A claim as an earlier process of the gateway made it.
fn earlier_claim(next_seq: u64, at: Timestamp) -> Claim {
    Claim {
        gateway: GATEWAY,
        started: Epoch(1),
        next_seq: Seq(next_seq),
        at,
    }
}

fn record(number: u128, kind: RecordKind) -> Vec<u8> {
    let message_id = id(number).to_string();
    let record = Record {
        kind,
        charger_id: "CP-1",
        ocpp_version: Version::V16,
        message_id: &message_id,
        action: "Reset",
        payload: "{}",
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: now(),
        epoch: Epoch(9),
        notes: Notes::default(),
        reason: "",
    };
    record.encode()
}

#[tokio::test]
async fn after_a_kill_each_claim_is_settled_by_what_the_journal_has() {
    use RecordKind::{CallResult, CallToCharger};
    let store = Arc::new(MemoryStore::default());
    // What a gateway that was killed has left: 1 not sent, 2 sent, 3 answered, 4 not sent and shown as uncertain.
    let long_ago = now().plus_millis(-SILENCE_MAX_MS);
    for number in 1..=4 {
        reset(&store, number, &format!("CP-{number}"));
        let at = if number == 4 { long_ago } else { now() };
        let key = ChargerKey::of(&format!("CP-{number}"));
        let claimed = store.claim(earlier_claim(1, at), &[key]).unwrap();
        assert_eq!(claimed.len(), 1);
    }
    let left = [
        record(2, CallToCharger),
        record(3, CallToCharger),
        record(3, CallResult),
    ];
    let world = World::after(&left, |setup| {
        *setup.sink.store.lock().unwrap() = Some(Arc::clone(&store));
        setup.commands = Some(Arc::clone(&store) as _);
    })
    .await;
    for number in [2, 3, 4] {
        is_done(&store, number).await;
    }
    until("the first is queued again", || {
        show(&store, 1).state.is_queued()
    })
    .await;
    until("the second is recorded as unanswered", || {
        class(&store, 2) == Some(OutcomeClass::Uncertain)
    })
    .await;
    assert_eq!(
        reason(&store, 2),
        "the gateway was killed before the answer"
    );
    assert_eq!(class(&store, 3), Some(OutcomeClass::Answered));
    until("the fourth is not sent", || {
        class(&store, 4) == Some(OutcomeClass::NotSent)
    })
    .await;
    assert_eq!(reason(&store, 4), "expired");
    let mut charger = Charger::connect(&world, "CP-1").await;
    receives(&mut charger, 1).await;
}

/// Panics when it is asked for the first time, and has no requests.
#[derive(Default)]
struct PanicsOnce(std::sync::atomic::AtomicBool);

impl DatabaseClock for PanicsOnce {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        Ok(now())
    }
}

impl Disconnects for PanicsOnce {
    fn request_disconnect(
        &self,
        _wanted: &DisconnectRequest,
    ) -> Result<Once<Disconnect, NotConnected>, Unavailable> {
        Ok(Once::Refused(NotConnected))
    }

    fn disconnect_heard(&self, _id: Uuid) -> Result<Option<Heard>, Unavailable> {
        Ok(None)
    }

    fn disconnects_of(
        &self,
        _gateway: GatewayId,
        _now: Timestamp,
        _max: usize,
    ) -> Result<Vec<Disconnect>, Unavailable> {
        let is_first = !self.0.swap(true, Ordering::Relaxed);
        assert!(!is_first, "the panic of this test");
        Ok(Vec::new())
    }

    fn heard_disconnects(&self, _heard: &[(Uuid, Heard)]) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// A panic ends a thread and not the process; no command would be sent any more, and nobody would notice.
#[tokio::test]
async fn commands_are_sent_after_their_thread_has_panicked() {
    let store = Arc::new(MemoryStore::default());
    let panics = Arc::new(PanicsOnce::default());
    let world = World::with(|setup| {
        *setup.sink.store.lock().unwrap() = Some(Arc::clone(&store));
        setup.commands = Some(Arc::clone(&store) as _);
        setup.disconnects = Some(Arc::clone(&panics) as _);
    })
    .await;
    until("the thread has panicked", || {
        panics.0.load(Ordering::Relaxed)
    })
    .await;
    reset(&store, 1, "cp-1");
    let mut charger = Charger::connect(&world, "CP-1").await;
    receives(&mut charger, 1).await;
    replies(&mut charger, 1).await;
    is_done(&store, 1).await;
}

/// Ten minutes: what two machines may differ by when the time service of one has failed.
const OFF_MS: i64 = 600_000;

/// A request with this time by the database's clock.
fn request_by_database(store: &MemoryStore, number: u128, charger: &str, waits: bool, ms: i64) {
    let now = store.time().unwrap();
    let new = NewCommand {
        command: Command {
            id: id(number),
            charger_id: charger.to_owned(),
            action: "Reset".to_owned(),
            payload: r#"{"type":"Soft"}"#.to_owned(),
            answer_within_ms: 60_000,
            send_before: now.plus_millis(ms),
            skips_check: false,
        },
        created_at: now,
        requested_by: "test".to_owned(),
        waits_when_offline: waits,
        not_sent: None,
        idempotency: None,
        audit: None,
        traceparent: None,
    };
    store.create(&new).unwrap();
}

fn seen_by_database(store: &MemoryStore, number: u128) -> (CommandState, Option<String>) {
    let now = store.time().unwrap();
    let view = store.command(id(number), now).unwrap().unwrap();
    let outcome = view.outcome;
    let said = outcome.map(|outcome| match outcome.class {
        OutcomeClass::NotSent => outcome.reason.unwrap_or_default(),
        OutcomeClass::Answered => outcome.status.unwrap_or_default(),
        OutcomeClass::Uncertain => "uncertain".to_owned(),
    });
    (view.state, said)
}

/// The gateway's clock is ten minutes behind the database's, and ten minutes ahead.
#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_changes_no_outcome() {
    tokio::join!(
        outcomes_with_a_clock(OFF_MS),
        outcomes_with_a_clock(-OFF_MS)
    );
}

async fn outcomes_with_a_clock(ahead: i64) {
    let store = Arc::new(MemoryStore::default());
    store.set_clock_ahead_ms(ahead);
    let world = start(&store).await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    charger.heartbeat().await;
    // `fail`, to a charger that is there, and to one that is not.
    request_by_database(&store, 1, "CP-1", false, 5_000);
    request_by_database(&store, 2, "CP-2", false, 300);
    receives(&mut charger, 1).await;
    assert_ne!(seen_by_database(&store, 1).0, CommandState::Done, "{ahead}");
    replies(&mut charger, 1).await;
    until("the answer", || {
        seen_by_database(&store, 1).1.as_deref() == Some("Accepted")
    })
    .await;
    // `wait`: one whose time passes, one that is cancelled, one that is sent later.
    request_by_database(&store, 3, "CP-2", true, 300);
    request_by_database(&store, 4, "CP-2", true, 3_600_000);
    request_by_database(&store, 5, "CP-2", true, 3_600_000);
    for (number, reason) in [(2, "charger_offline"), (3, "expired")] {
        until("the end of its time", || {
            seen_by_database(&store, number).1.as_deref() == Some(reason)
        })
        .await;
    }
    let cancelled = store.cancel(id(4), store.time().unwrap()).unwrap();
    assert!(matches!(cancelled, Cancelled::Done(_)), "{ahead}");
    assert!(seen_by_database(&store, 5).0.is_queued());
    let mut later = Charger::connect(&world, "CP-2").await;
    receives(&mut later, 5).await;
    replies(&mut later, 5).await;
    until("the answer", || {
        seen_by_database(&store, 5).1.as_deref() == Some("Accepted")
    })
    .await;
    assert_eq!(
        seen_by_database(&store, 4).1.as_deref(),
        Some("cancelled"),
        "{ahead}"
    );
}

/// The rule of 60 seconds: what may have been shown as uncertain is never sent, and what was not is queued again.
#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_gives_back_only_what_was_not_shown_as_uncertain() {
    tokio::join!(claims_with_a_clock(OFF_MS), claims_with_a_clock(-OFF_MS));
}

async fn claims_with_a_clock(ahead: i64) {
    let store = Arc::new(MemoryStore::default());
    store.set_clock_ahead_ms(ahead);
    let now = store.time().unwrap();
    for (number, at) in [(1, now), (2, now.plus_millis(-SILENCE_MAX_MS))] {
        let charger = format!("CP-{number}");
        request_by_database(&store, number, &charger, true, 3_600_000);
        let key = ChargerKey::of(&charger);
        let claimed = store.claim(earlier_claim(1, at), &[key]).unwrap();
        assert_eq!(claimed.len(), 1);
    }
    assert_eq!(seen_by_database(&store, 1).0, CommandState::Claimed);
    assert_eq!(seen_by_database(&store, 2).1.as_deref(), Some("uncertain"));
    let world = World::after(&[], |setup| {
        *setup.sink.store.lock().unwrap() = Some(Arc::clone(&store));
        setup.commands = Some(Arc::clone(&store) as _);
    })
    .await;
    until("the claims are settled", || {
        seen_by_database(&store, 1).0.is_queued()
            && seen_by_database(&store, 2).1.as_deref() == Some("expired")
    })
    .await;
    let mut charger = Charger::connect(&world, "CP-1").await;
    receives(&mut charger, 1).await;
}
