//! The laws of the ports `Commands` and `CommandQueue`.

use crate::common::{
    Adapter, PostgresDatabase, Sent, apply, at, event, gateway, heartbeat, id, on_every_adapter,
    origin, put_profile,
};
use crate::reading::report_alive;
use central::model::{
    ChargerKey, Claim, Command, CommandId, CommandState, CommandView, NotSent, Origin,
    OutcomeClass, Refusal, TraceParent, unchecked_entry,
};
use central::ports::{
    Cancelled, ChangeRequest, ChargerAdmin, ChargerProfile, CommandQueue, Commands, Created,
    IDEMPOTENCY_KEPT_MS, Idempotency, NewCommand, QUEUED_PER_CHARGER_MAX, Store,
};
use central::query::{
    AuditFilter, ChargerFilter, CommandFilter, PageRequest, QueryStore, RemovedChargers,
};
use central::record::Notes;
use central::{AnswerKind, Epoch, Record, RecordKind, Seq, Timestamp};
use ocpp::Version;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use uuid::Uuid;

on_every_adapter!(
    a_command_is_claimed_once_in_the_order_of_creation,
    two_processes_never_claim_one_command,
    a_claim_and_a_cancellation_exclude_each_other,
    what_is_claimed_cannot_be_cancelled,
    a_release_and_a_refusal_need_the_very_claim,
    one_idempotency_key_makes_one_command,
    one_idempotency_key_at_the_same_time_makes_one_command,
    a_command_expires_and_is_never_claimed_at_or_after_its_time,
    records_settle_a_claim_in_any_order,
    what_records_say_was_sent_is_never_sent_again,
    lists_are_paged_with_the_newest_first,
    a_queue_has_a_bound,
    stored_records_are_known_up_to_the_gap,
    a_removed_charger_keeps_its_history_and_its_commands_end,
    a_command_keeps_its_trace_and_its_entry_of_the_audit_log,
    a_command_waits_for_its_charger_until_it_is_connected,
);

fn a_command_waits_for_its_charger_until_it_is_connected<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    store.create(&new(1, "CP-1")).unwrap();
    let fails = NewCommand {
        waits_when_offline: false,
        ..new(2, "CP-1")
    };
    store.create(&fails).unwrap();
    let waiting = CommandState::WaitingForCharger;
    let states = || {
        let filter = CommandFilter {
            queued: Some(true),
            ..CommandFilter::default()
        };
        let page = store.commands(&filter, &PageRequest::default(), at(0));
        let listed: Vec<CommandState> = page.unwrap().items.iter().map(|one| one.state).collect();
        let shown = [2, 1].map(|number| show(&store, number).state);
        assert_eq!(listed, shown);
        shown
    };
    assert_eq!(states(), [CommandState::Queued, waiting]);
    let connection = |seq, kind| event(id(0, seq), kind, "cp-1", 0, 1);
    apply(&store, &[connection(1, RecordKind::Connected)]).unwrap();
    assert_eq!(states()[1], waiting, "its gateway does not report");
    report_alive(&store, gateway(0));
    assert_eq!(states(), [CommandState::Queued; 2]);
    apply(&store, &[connection(2, RecordKind::Disconnected)]).unwrap();
    assert_eq!(states()[1], waiting);
    assert!(matches!(
        store.cancel(command_id(1), at(0)).unwrap(),
        Cancelled::Done(_)
    ));
    assert_eq!(show(&store, 1).state, CommandState::Done);
}

/// The payload of an answer.
const ACCEPTED: &str = r#"{"status":"Accepted"}"#;

fn command_id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(number))
}

pub(crate) fn new(number: u128, charger: &str) -> NewCommand {
    NewCommand {
        command: Command {
            id: command_id(number),
            charger_id: charger.to_owned(),
            action: "Reset".to_owned(),
            payload: r#"{"type":"Soft"}"#.to_owned(),
            answer_within_ms: 30_000,
            send_before: at(10),
            skips_check: false,
        },
        created_at: at(0),
        requested_by: "ops".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: None,
        audit: None,
        traceparent: None,
    }
}

fn create(store: &impl Commands, number: u128, charger: &str) -> CommandView {
    match store.create(&new(number, charger)).unwrap() {
        Created::New(view) => view,
        other => panic!("{other:?}"),
    }
}

fn claim_of(number: u128, seq: u64) -> Claim {
    Claim {
        gateway: gateway(number),
        started: Epoch(7),
        next_seq: Seq(seq),
        at: at(1),
    }
}

fn keys(chargers: &[&str]) -> Vec<ChargerKey> {
    chargers.iter().map(|id| ChargerKey::of(id)).collect()
}

fn ids(commands: &[Command]) -> Vec<CommandId> {
    commands.iter().map(|command| command.id).collect()
}

fn show(store: &impl Commands, number: u128) -> CommandView {
    store.command(command_id(number), at(1)).unwrap().unwrap()
}

fn reason(view: &CommandView) -> &str {
    let outcome = view.outcome.as_ref().unwrap();
    assert_eq!(outcome.class, OutcomeClass::NotSent);
    outcome.reason.as_deref().unwrap()
}

/// A record about a command.
pub(crate) fn record(seq: u64, number: u128, kind: RecordKind, payload: &str) -> Sent {
    let message_id = command_id(number).to_string();
    let record = Record {
        kind,
        charger_id: "CP-1",
        ocpp_version: Version::V16,
        message_id: &message_id,
        action: "Reset",
        payload,
        answer_kind: AnswerKind::None,
        answer: "",
        received_at: at(1),
        epoch: Epoch(9),
        notes: Notes::default(),
        reason: "",
    };
    Sent {
        id: id(0, seq),
        bytes: record.encode(),
    }
}

/// Each call of the ports once, for a role that has no more rights than the documented ones.
pub(crate) fn uses_every_call<S: Commands + CommandQueue + Store>(store: &S) {
    let created = store.create(&with_key(1, "k", 1)).unwrap();
    assert!(matches!(created, Created::New(_)));
    create(store, 2, "CP-1");
    create(store, 3, "CP-1");
    let claim = claim_of(0, 1_000);
    for _ in 0..2 {
        let claimed = store.claim(claim, &keys(&["CP-1"])).unwrap();
        assert_eq!(ids(&claimed), [command_id(1)]);
        store.release(claim, &[command_id(1)]).unwrap();
    }
    store.claim(claim, &keys(&["CP-1"])).unwrap();
    for (seq, kind) in [
        (1_000, RecordKind::CallToCharger),
        (1_001, RecordKind::CallResult),
    ] {
        apply(store, &[record(seq, 1, kind, ACCEPTED)]).unwrap();
    }
    store.claim(claim, &keys(&["CP-1"])).unwrap();
    let refusal = Refusal::new(NotSent::ChargerRejected, "");
    store.refuse(claim, command_id(2), &refusal, at(1)).unwrap();
    assert_eq!(store.waiting(None, at(1), 9).unwrap().len(), 1);
    assert!(matches!(
        store.cancel(command_id(3), at(1)).unwrap(),
        Cancelled::Done(_)
    ));
    assert_eq!(store.claims(gateway(0), Epoch(7), 9).unwrap(), []);
    assert!(store.has_all(gateway(0), Seq(1_000), Seq(1_002)).unwrap());
    store
        .expire(at(0).plus_millis(IDEMPOTENCY_KEPT_MS + 1), 9)
        .unwrap();
    let listed = store.commands(&CommandFilter::default(), &PageRequest::default(), at(1));
    assert_eq!(listed.unwrap().items.len(), 3);
}

fn a_command_is_claimed_once_in_the_order_of_creation<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    // Ids say nothing of the order.
    for (number, charger) in [(9, "CP-1"), (3, "cp-1"), (5, "CP-2"), (4, "CP-3")] {
        let view = create(&store, number, charger);
        assert!(view.state.is_queued());
        assert_eq!(view.charger_id, charger);
    }
    let waiting = |after: Option<&ChargerKey>, limit| store.waiting(after, at(1), limit).unwrap();
    assert_eq!(waiting(None, 9), keys(&["cp-1", "cp-2", "cp-3"]));
    assert_eq!(waiting(None, 2), keys(&["cp-1", "cp-2"]));
    assert_eq!(
        waiting(Some(&ChargerKey::of("cp-1")), 9),
        keys(&["cp-2", "cp-3"])
    );
    let chargers = keys(&["CP-2", "CP-1", "CP-9"]);
    let first = store.claim(claim_of(0, 1), &chargers).unwrap();
    assert_eq!(ids(&first), [command_id(9), command_id(5)]);
    assert_eq!(first[0], new(9, "CP-1").command);
    let second = store.claim(claim_of(0, 2), &chargers).unwrap();
    assert_eq!(ids(&second), [command_id(3)]);
    assert_eq!(store.claim(claim_of(0, 3), &chargers).unwrap(), []);
    assert_eq!(show(&store, 9).state, CommandState::Claimed);
    assert_eq!(show(&store, 9).gateway_id, Some(gateway(0)));
    assert_eq!(waiting(None, 9), keys(&["cp-3"]));
    let claims = store.claims(gateway(0), Epoch(7), 9).unwrap();
    let open: Vec<_> = claims
        .iter()
        .map(|open| (open.command.id, open.claim, open.sent.is_some()))
        .collect();
    assert_eq!(
        open,
        [
            (command_id(9), claim_of(0, 1), false),
            (command_id(3), claim_of(0, 2), false),
            (command_id(5), claim_of(0, 1), false)
        ]
    );
    assert_eq!(store.claims(gateway(0), Epoch(6), 9).unwrap(), []);
    assert_eq!(store.claims(gateway(1), Epoch(7), 9).unwrap(), []);
    assert_eq!(store.claims(gateway(0), Epoch(7), 1).unwrap().len(), 1);
}

fn two_processes_never_claim_one_command<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for number in 0..60 {
        create(&store, number, &format!("CP-{}", number % 4));
    }
    let chargers = keys(&["CP-0", "CP-1", "CP-2", "CP-3"]);
    let claimed: Vec<CommandId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (store, chargers) = (database.open(), &chargers);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    // A conflict with another process is tried again.
                    loop {
                        match store.claim(claim_of(number, 1), chargers) {
                            Ok(commands) if commands.is_empty() => return mine,
                            Ok(commands) => mine.extend(ids(&commands)),
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        let threads = threads.into_iter();
        threads.flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(claimed.len(), 60);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 60);
}

fn a_claim_and_a_cancellation_exclude_each_other<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for number in 0..30 {
        create(&store, number, "CP-1");
    }
    let (canceller, claimer) = (database.open(), database.open());
    let (cancelled, claimed) = std::thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            let mut cancelled = BTreeSet::new();
            for number in 0..30 {
                loop {
                    match canceller.cancel(command_id(number), at(1)) {
                        Ok(Cancelled::Done(_)) => {
                            cancelled.insert(command_id(number));
                        }
                        Ok(Cancelled::TooLate(_)) => {}
                        Ok(Cancelled::Unknown) => panic!("it was created"),
                        Err(_) => continue,
                    }
                    break;
                }
            }
            cancelled
        });
        let claimed = scope.spawn(|| {
            let mut claimed = BTreeSet::new();
            loop {
                match claimer.claim(claim_of(0, 1), &keys(&["CP-1"])) {
                    Ok(commands) if commands.is_empty() => return claimed,
                    Ok(commands) => claimed.extend(ids(&commands)),
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        (cancelled.join().unwrap(), claimed.join().unwrap())
    });
    assert_eq!(cancelled.intersection(&claimed).count(), 0);
    assert_eq!(cancelled.len() + claimed.len(), 30);
}

fn what_is_claimed_cannot_be_cancelled<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    create(&store, 1, "CP-1");
    create(&store, 2, "CP-1");
    store.claim(claim_of(0, 1), &keys(&["CP-1"])).unwrap();
    let cancel = |number| store.cancel(command_id(number), at(1)).unwrap();
    assert!(matches!(cancel(1), Cancelled::TooLate(view) if view.state == CommandState::Claimed));
    assert!(matches!(cancel(2), Cancelled::Done(view) if reason(&view) == "cancelled"));
    assert!(matches!(cancel(2), Cancelled::TooLate(view) if reason(&view) == "cancelled"));
    assert_eq!(cancel(3), Cancelled::Unknown);
    assert_eq!(store.claim(claim_of(0, 1), &keys(&["CP-1"])).unwrap(), []);
}

fn a_release_and_a_refusal_need_the_very_claim<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    create(&store, 1, "CP-1");
    create(&store, 2, "CP-1");
    let claim = claim_of(0, 5);
    store.claim(claim, &keys(&["CP-1"])).unwrap();
    let others = [
        claim_of(1, 5),
        claim_of(0, 6),
        Claim {
            started: Epoch(8),
            ..claim
        },
        Claim { at: at(2), ..claim },
    ];
    let refusal = Refusal::new(NotSent::ChargerRejected, "so it is");
    for other in others {
        store.release(other, &[command_id(1)]).unwrap();
        store.refuse(other, command_id(1), &refusal, at(1)).unwrap();
        assert_eq!(show(&store, 1).state, CommandState::Claimed);
    }
    // Released, it is at its old place again.
    store
        .release(claim, &[command_id(1), command_id(2)])
        .unwrap();
    assert!(show(&store, 1).state.is_queued());
    let again = claim_of(0, 7);
    let claimed = store.claim(again, &keys(&["CP-1"])).unwrap();
    assert_eq!(ids(&claimed), [command_id(1)]);
    store.release(claim, &[command_id(1)]).unwrap();
    for _ in 0..2 {
        store.refuse(again, command_id(1), &refusal, at(1)).unwrap();
        let view = show(&store, 1);
        assert_eq!(reason(&view), "charger_rejected");
        assert_eq!(view.outcome.unwrap().detail.as_deref(), Some("so it is"));
    }
    store.release(again, &[command_id(1)]).unwrap();
    assert_eq!(show(&store, 1).state, CommandState::Done);
}

fn a_removed_charger_keeps_its_history_and_its_commands_end<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    apply(&store, &[heartbeat(1, "CP-1"), heartbeat(2, "CP-3")]).unwrap();
    for id in ["CP-1", "CP-2"] {
        put_profile(&store, &ChargerProfile::new(id));
    }
    for number in 1..=3 {
        create(&store, number, "CP-1");
    }
    create(&store, 4, "CP-3");
    let (claim, sent) = (claim_of(0, 5), claim_of(0, 6));
    store.claim(sent, &keys(&["CP-1"])).unwrap();
    store.claim(claim, &keys(&["CP-1"])).unwrap();
    let removal = ChangeRequest::of(Origin {
        at: at(3),
        ..origin()
    });
    for id in ["CP-1", "CP-2"] {
        assert_eq!(store.remove_charger(id, &removal).unwrap(), Ok(()));
    }

    // What no gateway has claimed ends at once, what was claimed when it is given back, unless it was sent.
    assert_eq!(reason(&show(&store, 3)), "charger_removed");
    assert!(show(&store, 4).state.is_queued());
    assert_eq!(show(&store, 2).state, CommandState::Claimed);
    apply(&store, &[record(6, 1, RecordKind::CallToCharger, "{}")]).unwrap();
    let ids = [command_id(1), command_id(2)];
    store.release(sent, &ids).unwrap();
    store.release(claim, &ids).unwrap();
    let ended = show(&store, 2);
    assert_eq!(reason(&ended), "charger_removed");
    assert_eq!(show(&store, 1).state, CommandState::Sent);

    let listed = |removed| {
        let filter = ChargerFilter {
            removed,
            ..ChargerFilter::default()
        };
        let page = store.chargers(&filter, &PageRequest::default()).unwrap();
        let ids = page.items.into_iter().map(|item| item.charger.charger_id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(listed(RemovedChargers::Hidden), ["CP-3"]);
    assert_eq!(listed(RemovedChargers::Only), ["CP-1"]);
    assert_eq!(listed(RemovedChargers::Shown), ["CP-1", "CP-3"]);
    let detail = store.charger("cp-1").unwrap().unwrap();
    assert_eq!(detail.settings, None);
    assert_eq!(detail.removed_at, Some(at(3)));
    assert_eq!(detail.removed_by, Some(origin().by));
    // It never sent a message.
    assert_eq!(store.charger("CP-2").unwrap(), None);

    // A command that is requested later, while it is connected as an unknown charger, is a command like any other.
    let mut later = new(5, "CP-1");
    later.created_at = at(4);
    store.create(&later).unwrap();
    store.claim(claim, &keys(&["CP-1"])).unwrap();
    store.release(claim, &[command_id(5)]).unwrap();
    assert!(show(&store, 5).state.is_queued());

    put_profile(&store, &ChargerProfile::new("CP-1"));
    let again = store.charger("CP-1").unwrap().unwrap();
    assert_eq!((again.removed_at, again.removed_by), (None, None));
    assert_eq!(again.charger.first_seen_at, detail.charger.first_seen_at);
}

/// Stores a command while `held` keeps it from going on, and removes its charger meanwhile. `removes_first`: whether the removal
/// ends before the command is stored. Returns the command.
fn create_beside_removal(held: &str, new: NewCommand, removes_first: bool) -> CommandView {
    let database = PostgresDatabase::new();
    // The removal comes from another process.
    let (store, other) = (database.open(), database.open());
    apply(&store, &[heartbeat(1, "CP-1")]).unwrap();
    put_profile(&store, &ChargerProfile::new("CP-1"));
    let id = new.command.id;
    let removal = ChangeRequest::of(Origin {
        at: at(3),
        ..origin()
    });
    // On a thread of its own, because the caller is in the runtime of the held transaction.
    let wait_for = |waiting: &str| {
        let sql = "SELECT count(DISTINCT l.pid) AS value FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
                   WHERE NOT l.granted AND a.datname = current_database()";
        let deadline = Instant::now() + Duration::from_secs(20);
        let query = || database.query(sql);
        while std::thread::scope(|scope| scope.spawn(query).join().unwrap()) != [waiting] {
            assert!(Instant::now() < deadline, "{waiting} do not wait");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        database.hold(held, || {
            running.push(scope.spawn(|| {
                assert!(matches!(store.create(&new).unwrap(), Created::New(_)));
            }));
            wait_for("1");
            running.push(scope.spawn(|| {
                assert_eq!(other.remove_charger("CP-1", &removal).unwrap(), Ok(()));
            }));
            match removes_first {
                true => running.pop().unwrap().join().unwrap(),
                false => wait_for("2"),
            }
        });
        for thread in running {
            thread.join().unwrap();
        }
    });
    store.command(id, at(4)).unwrap().unwrap()
}

#[test]
fn a_command_that_is_stored_after_the_removal_of_its_charger_is_not_sent() {
    let held = "INSERT INTO command_keys (requested_by, key, digest, command, at)
                VALUES ('ops', 'k', 'x', '00000000-0000-4000-8000-000000000000', 0)";
    let view = create_beside_removal(held, with_key(1, "k", 1), true);
    assert_eq!(reason(&view), "charger_removed");
}

#[test]
fn the_removal_of_a_charger_ends_a_command_that_is_not_committed_yet() {
    let mut new = new(1, "CP-1");
    new.command.skips_check = true;
    new.audit = unchecked_entry(&new.command, origin());
    // The command is inserted, and its entry of the audit log waits.
    let held = "LOCK TABLE audit_log IN SHARE MODE";
    let view = create_beside_removal(held, new, false);
    assert_eq!(reason(&view), "charger_removed");
}

fn a_command_keeps_its_trace_and_its_entry_of_the_audit_log<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace = TraceParent::parse(text);
    let mut traced = with_key(1, "k", 1);
    traced.command.skips_check = true;
    traced.traceparent = trace.clone();
    let origin = Origin {
        traceparent: trace.clone(),
        ..origin()
    };
    traced.audit = unchecked_entry(&traced.command, origin);
    assert!(matches!(store.create(&traced).unwrap(), Created::New(_)));
    // A repeat stores neither the command nor the entry again.
    for number in [1, 2] {
        let mut again = with_key(number, "k", 1);
        again.audit = traced.audit.clone();
        assert!(matches!(
            store.create(&again).unwrap(),
            Created::Repeated(_)
        ));
    }
    create(&store, 3, "CP-1");
    let shown = show(&store, 1);
    assert_eq!((shown.check, shown.traceparent), ("off", trace.clone()));
    let other = show(&store, 3);
    assert_eq!((other.check, other.traceparent), ("on", None));
    let claimed = store.claim(claim_of(0, 5), &keys(&["CP-1"])).unwrap();
    assert_eq!(claimed, [traced.command]);
    let page = PageRequest::default();
    let entries = store.audit(&AuditFilter::default(), &page).unwrap().items;
    let [entry] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(entry.action, "command.unchecked");
    assert_eq!(entry.subject, "CP-1");
    assert_eq!(entry.traceparent, trace);
    assert_eq!(entry.after.as_ref().unwrap()["action"], "Reset");
}

fn with_key(number: u128, key: &str, digest: u8) -> NewCommand {
    NewCommand {
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            digest: [digest; 32],
        }),
        ..new(number, "CP-1")
    }
}

fn one_idempotency_key_makes_one_command<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    assert!(matches!(
        store.create(&with_key(1, "k", 1)).unwrap(),
        Created::New(_)
    ));
    let repeated = store.create(&with_key(2, "k", 1)).unwrap();
    assert!(matches!(repeated, Created::Repeated(view) if view.id == command_id(1)));
    assert_eq!(
        store.create(&with_key(3, "k", 2)).unwrap(),
        Created::Mismatch
    );
    let ask = |requested_by: &str, digest, at| {
        let idempotency = with_key(1, "k", digest).idempotency.unwrap();
        store
            .created_before(requested_by, &idempotency, at)
            .unwrap()
    };
    let first = new(1, "CP-1");
    let before = ask(&first.requested_by, 1, at(0));
    assert!(matches!(before, Some(Created::Repeated(view)) if view.id == command_id(1)));
    assert_eq!(ask(&first.requested_by, 2, at(0)), Some(Created::Mismatch));
    assert_eq!(ask("other", 1, at(0)), None);
    let expired = at(0).plus_millis(IDEMPOTENCY_KEPT_MS + 1);
    assert_eq!(ask(&first.requested_by, 1, expired), None);
    // The key is the requester's own.
    let other = NewCommand {
        requested_by: "other".to_owned(),
        ..with_key(4, "k", 1)
    };
    assert!(matches!(store.create(&other).unwrap(), Created::New(_)));
    // A repeat of the very request, such as after a commit whose answer was lost.
    let repeated = store.create(&with_key(1, "k", 1)).unwrap();
    assert!(matches!(repeated, Created::Repeated(view) if view.id == command_id(1)));
    // It is kept for 72 hours.
    let later = NewCommand {
        created_at: at(0).plus_millis(IDEMPOTENCY_KEPT_MS + 1),
        ..with_key(5, "k", 2)
    };
    assert!(matches!(store.create(&later).unwrap(), Created::New(_)));
    assert_eq!(store.command(command_id(2), at(1)).unwrap(), None);
    // The other one's key is swept.
    store.expire(later.created_at, 9).unwrap();
    let keys = database.query("SELECT requested_by AS value FROM command_keys");
    assert_eq!(keys, ["ops"]);
}

fn one_idempotency_key_at_the_same_time_makes_one_command<A: Adapter>() {
    let database = A::new();
    drop(database.open());
    for round in 0..8 {
        let key = format!("key-{round}");
        let created: Vec<Created> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|number| {
                    let (store, key) = (database.open(), &key);
                    scope.spawn(move || {
                        loop {
                            if let Ok(created) =
                                store.create(&with_key(1 + round * 10 + number, key, 1))
                            {
                                return created;
                            }
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let ids: BTreeSet<CommandId> = created
            .iter()
            .map(|created| match created {
                Created::New(view) | Created::Repeated(view) => view.id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids.len(), 1, "{created:?}");
        let new = created.iter().filter(|one| matches!(one, Created::New(_)));
        assert_eq!(new.count(), 1);
    }
}

fn a_command_expires_and_is_never_claimed_at_or_after_its_time<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    create(&store, 1, "CP-1");
    create(&store, 2, "CP-1");
    store.claim(claim_of(0, 1), &keys(&["CP-1"])).unwrap();
    for (number, charger) in [(3, "CP-2"), (4, "CP-1")] {
        let impatient = NewCommand {
            waits_when_offline: false,
            ..new(number, charger)
        };
        store.create(&impatient).unwrap();
    }
    let late = Claim {
        at: at(10),
        ..claim_of(0, 2)
    };
    assert_eq!(store.claim(late, &keys(&["CP-1", "CP-2"])).unwrap(), []);
    assert_eq!(store.waiting(None, at(10), 9).unwrap(), []);
    assert_eq!(store.expire(Timestamp(at(10).0 - 1), 9).unwrap(), 0);
    assert_eq!(store.expire(at(10), 2).unwrap(), 2);
    assert_eq!(store.expire(at(10), 2).unwrap(), 1);
    assert_eq!(store.expire(at(10), 2).unwrap(), 0);
    assert_eq!(show(&store, 1).state, CommandState::Claimed);
    assert_eq!(reason(&show(&store, 2)), "expired");
    assert_eq!(reason(&show(&store, 3)), "charger_offline");
    // Its charger was busy with the first one, so whether it was offline is not known.
    assert_eq!(reason(&show(&store, 4)), "expired");
}

fn records_settle_a_claim_in_any_order<A: Adapter>() {
    use RecordKind::{CallResult, CallToCharger, CallUnanswered};
    let database = A::new();
    let store = database.open();
    let orders = [
        [CallToCharger, CallUnanswered, CallResult],
        [CallResult, CallToCharger, CallUnanswered],
        [CallUnanswered, CallResult, CallToCharger],
    ];
    for (number, kinds) in (0..).zip(orders) {
        create(&store, number, "CP-1");
        let claim = claim_of(0, 1 + 10 * number as u64);
        store.claim(claim, &keys(&["CP-1"])).unwrap();
        for (kind, seq) in kinds.into_iter().zip(claim.next_seq.0..) {
            for _ in 0..2 {
                apply(&store, &[record(seq, number, kind, ACCEPTED)]).unwrap();
            }
            // A settled claim is not returned any more.
            let open = store.claims(gateway(0), Epoch(7), 9).unwrap();
            let is_open = kind == CallToCharger && seq == claim.next_seq.0;
            assert_eq!(
                open.iter()
                    .map(|open| open.sent.is_some())
                    .collect::<Vec<_>>(),
                vec![true; usize::from(is_open)]
            );
        }
        let view = show(&store, number);
        assert_eq!(view.state, CommandState::Done);
        assert_eq!(view.outcome.unwrap().status.as_deref(), Some("Accepted"));
        assert_eq!(view.record_ids.len(), 3);
    }
}

fn what_records_say_was_sent_is_never_sent_again<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    create(&store, 1, "CP-1");
    create(&store, 2, "CP-1");
    apply(&store, &[record(1, 1, RecordKind::CallToCharger, ACCEPTED)]).unwrap();
    // As after a claim that the database forgot.
    assert!(matches!(
        store.cancel(command_id(1), at(1)).unwrap(),
        Cancelled::TooLate(_)
    ));
    let claim = claim_of(0, 1);
    let claimed = store.claim(claim, &keys(&["CP-1"])).unwrap();
    assert_eq!(ids(&claimed), [command_id(2)]);
    apply(&store, &[record(2, 2, RecordKind::CallToCharger, ACCEPTED)]).unwrap();
    store.release(claim, &[command_id(2)]).unwrap();
    let refusal = Refusal::new(NotSent::Expired, "");
    store.refuse(claim, command_id(2), &refusal, at(1)).unwrap();
    for number in [1, 2] {
        assert_eq!(show(&store, number).state, CommandState::Sent);
    }
    assert_eq!(store.waiting(None, at(1), 9).unwrap(), []);
}

fn lists_are_paged_with_the_newest_first<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    for number in 0..7 {
        create(
            &store,
            number,
            if number % 2 == 0 { "CP-1" } else { "CP-2" },
        );
    }
    store.claim(claim_of(0, 1), &keys(&["CP-1"])).unwrap();
    let list = |filter: &CommandFilter| {
        let (mut found, mut page) = (
            Vec::new(),
            PageRequest {
                after: None,
                limit: 2,
            },
        );
        loop {
            let read = store.commands(filter, &page, at(1)).unwrap();
            assert!(read.items.len() <= 2);
            found.extend(read.items.iter().map(|view| view.id.0.as_u128()));
            page.after = read.next;
            if page.after.is_none() {
                return found;
            }
        }
    };
    let all = CommandFilter::default();
    assert_eq!(list(&all), [6, 5, 4, 3, 2, 1, 0]);
    let of_one = CommandFilter {
        charger: Some("cP-1".to_owned()),
        ..all.clone()
    };
    assert_eq!(list(&of_one), [6, 4, 2, 0]);
    let queued = |queued| CommandFilter {
        queued: Some(queued),
        ..of_one.clone()
    };
    assert_eq!(list(&queued(true)), [6, 4, 2]);
    assert_eq!(list(&queued(false)), [0]);
    let of_action = |action: &str| CommandFilter {
        action: Some(action.to_owned()),
        ..all.clone()
    };
    assert_eq!(list(&of_action("Reset")).len(), 7);
    assert_eq!(list(&of_action("ClearCache")), [0_u128; 0]);
}

fn a_queue_has_a_bound<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    create(&store, 1, "CP-1");
    let copies = format!(
        "INSERT INTO commands (id, charger_key, charger_id, action, payload, answer_within_ms, send_before, created_at, \
         requested_by, waits, stage) WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {}) ",
        QUEUED_PER_CHARGER_MAX
    );
    let id = match database
        .query("SELECT count(*) AS value FROM commands WHERE CAST(id AS TEXT) LIKE '%-%'")
        .as_slice()
    {
        [one] if one == "1" => {
            "CAST('00000000-0000-4000-8000-' || lpad(CAST(i AS TEXT), 12, '0') AS uuid)"
        }
        _ => "randomblob(16)",
    };
    let of = "charger_key, charger_id, action, payload, answer_within_ms, send_before, created_at, requested_by, waits, stage";
    database.execute(&format!("{copies} SELECT {id}, {of} FROM n, commands"));
    let full = store.create(&with_key(5_000, "k", 1)).unwrap();
    assert_eq!(full, Created::QueueFull);
    // Another charger's queue has room, and so has this one once one is gone.
    create(&store, 5_001, "CP-2");
    store.cancel(command_id(1), at(1)).unwrap();
    assert!(matches!(
        store.create(&with_key(5_000, "k", 1)).unwrap(),
        Created::New(_)
    ));
}

fn stored_records_are_known_up_to_the_gap<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let has = |from, to| store.has_all(gateway(0), Seq(from), Seq(to)).unwrap();
    assert!(has(1, 1), "nothing is there, and nothing is asked for");
    assert!(!has(1, 2));
    apply(&store, &[1, 2, 3, 5].map(|seq| heartbeat(seq, "CP-1"))).unwrap();
    assert!(has(1, 4));
    assert!(!has(1, 5));
    assert!(!has(3, 6));
    assert!(has(5, 6));
    assert!(!has(1, 100_000));
}
