//! The laws of the port `Webhooks`.

use crate::common::{Adapter, at, on_every_adapter, origin};
use central::Timestamp;
use central::model::{
    ActorKind, EventId, EventType, WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_ATTEMPTS_KEPT,
    WEBHOOK_ATTEMPTS_KEPT_MS, WEBHOOKS_MAX, Webhook, WebhookAttempt, WebhookId, WebhookPatch,
    WebhookProgress, WebhookRetry, WebhookSecret, WebhookSettings, WebhookState,
};
use central::ports::{
    ChangeRequest, ClaimedWebhook, Condition, EventLog, Idempotency, NewWebhook, NotChanged,
    NotRedelivered, Once, RedeliverFrom, StepRecorded, Token, Tokens, WebhookNotAdded, WebhookStep,
    Webhooks,
};
use central::query::{AuditFilter, PageRequest, QueryStore};
use std::sync::Barrier;
use uuid::Uuid;

on_every_adapter!(
    a_webhook_begins_at_the_end_of_the_log,
    one_lease_holds_a_webhook_and_its_steps_are_kept,
    a_change_while_a_webhook_is_held_is_not_undone_by_the_next_step,
    a_holder_sees_a_change_and_the_loss_of_its_lease,
    a_clock_that_was_set_back_postpones_nothing,
    a_webhook_that_is_switched_off_says_why_until_it_is_enabled,
    events_are_delivered_again_from_an_event_or_a_time,
    the_number_of_webhooks_is_bounded_also_for_two_processes,
    the_attempts_of_a_webhook_are_bounded,
    a_change_expects_a_version_and_is_made_once,
    no_secret_is_in_the_audit_log_or_under_a_key,
    a_webhook_that_cannot_be_read_stops_no_other,
);

fn webhook_id(number: u128) -> WebhookId {
    WebhookId(Uuid::from_u128(number))
}

fn secret(byte: u8) -> WebhookSecret {
    WebhookSecret::from_random([byte; 32])
}

fn new(number: u128) -> NewWebhook {
    NewWebhook {
        id: webhook_id(number),
        settings: WebhookSettings {
            url: format!("https://example.com/{number}"),
            types: vec!["token.*".to_owned()],
            charger_id: Some("CP-Ü".to_owned()),
            description: "for the accounts".to_owned(),
            enabled: true,
        },
        secret: secret(7),
        request: request(0),
    }
}

fn request(minute: i64) -> ChangeRequest {
    let mut origin = origin();
    origin.at = at(minute);
    ChangeRequest::of(origin)
}

fn with_key(key: &str, digest: u8, request: ChangeRequest) -> ChangeRequest {
    ChangeRequest {
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            digest: [digest; 32],
        }),
        ..request
    }
}

fn add(store: &impl Webhooks, number: u128) -> Webhook {
    match store.add_webhook(&new(number)).unwrap() {
        Once::Done(webhook) => webhook,
        other => panic!("not added: {other:?}"),
    }
}

fn changed(once: Once<Webhook, NotChanged>) -> Webhook {
    match once {
        Once::Done(webhook) => webhook,
        other => panic!("not changed: {other:?}"),
    }
}

/// Adds events to the log, recorded in this minute; returns the end of the log.
fn log(store: &(impl Tokens + EventLog), events: usize, minute: i64) -> EventId {
    for event in 0..events {
        let token = Token::accepted(format!("T-{minute}-{event}"));
        store.put_token(&token, &origin()).unwrap();
    }
    store.sequence_events(at(minute)).unwrap();
    store.event_bounds().unwrap().last
}

fn lease(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn claim(store: &impl Webhooks, number: u128, minute: i64) -> Vec<ClaimedWebhook> {
    let claimed = store.claim_webhooks(lease(number), at(minute), at(minute + 5), 10);
    claimed.unwrap()
}

fn step(claimed: &ClaimedWebhook, cursor: EventId) -> WebhookStep {
    WebhookStep {
        version: claimed.version,
        progress: WebhookProgress {
            cursor,
            ..claimed.progress.clone()
        },
        attempts: Vec::new(),
        switch_off: None,
        hold_until: None,
    }
}

fn attempt(event: EventId, minute: i64, number: u32) -> WebhookAttempt {
    WebhookAttempt {
        at: at(minute),
        event,
        kind: EventType::TokenSet,
        attempt: number,
        delivered: number > 1,
        status: Some(200),
        duration_ms: 12,
        answer: "ok".to_owned(),
    }
}

fn page(limit: usize) -> PageRequest {
    PageRequest { after: None, limit }
}

fn a_webhook_begins_at_the_end_of_the_log<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let end = log(&store, 2, 1);
    let added = add(&store, 1);
    assert_eq!(added.settings, new(1).settings);
    assert_eq!(added.progress.cursor, end);
    assert_eq!((added.state(), added.waiting), (WebhookState::Active, 0));
    // Nothing is to be sent.
    assert_eq!(claim(&store, 1, 1), []);
    log(&store, 3, 2);
    // Another process sees the same.
    let other = database.open();
    let stored = other.webhook(webhook_id(1)).unwrap().unwrap();
    assert_eq!(stored.waiting, 3);
    assert_eq!(
        stored,
        Webhook {
            waiting: 3,
            ..added
        }
    );
    assert_eq!(other.webhooks().unwrap(), [stored]);
    let (_, secrets) = other.webhook_secrets(webhook_id(1)).unwrap().unwrap();
    assert_eq!(secrets.valid_at(at(2)), [&secret(7)]);
    assert_eq!(other.webhook(webhook_id(2)).unwrap(), None);
}

fn one_lease_holds_a_webhook_and_its_steps_are_kept<A: Adapter>() {
    let database = A::new();
    let (one, other) = (database.open(), database.open());
    let begin = add(&one, 1).progress.cursor;
    add(&one, 2);
    let end = log(&one, 2, 2);
    let first = one.claim_webhooks(lease(1), at(2), at(7), 1).unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].progress.cursor, begin);
    assert_eq!(first[0].secrets.valid_at(at(2)), [&secret(7)]);
    // The other process gets the other webhook only, and then none.
    let second = claim(&other, 2, 3);
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].id, first[0].id);
    assert_eq!(claim(&other, 3, 3), []);
    let id = first[0].id;

    // Without the lease nothing is recorded.
    let failed = WebhookStep {
        progress: WebhookProgress {
            cursor: begin,
            retry: Some(WebhookRetry {
                event: end,
                attempts: 1,
                since: at(2),
            }),
            due_at: at(4),
            last_success_at: Some(at(1)),
            last_error: Some((at(2), "connection refused".to_owned())),
        },
        attempts: vec![attempt(end, 2, 1)],
        hold_until: Some(at(9)),
        ..step(&first[0], begin)
    };
    let lost = other.record_webhook(id, lease(2), &failed, at(3)).unwrap();
    assert_eq!(lost, StepRecorded::Lost);
    assert_eq!(one.webhook_attempts(id, &page(9), at(3)).unwrap().items, []);

    // The lease is extended, and then given back; the webhook is claimed again when it is due.
    let kept = one.record_webhook(id, lease(1), &failed, at(3)).unwrap();
    assert_eq!(kept, StepRecorded::Recorded);
    let stored = other.webhook(id).unwrap().unwrap();
    assert_eq!(stored.progress, failed.progress);
    assert_eq!(stored.state(), WebhookState::Retrying);
    assert_eq!(claim(&other, 4, 8).iter().filter(|w| w.id == id).count(), 0);
    let back = WebhookStep {
        hold_until: None,
        attempts: Vec::new(),
        ..failed.clone()
    };
    one.record_webhook(id, lease(1), &back, at(3)).unwrap();
    let lost = one.record_webhook(id, lease(1), &back, at(3)).unwrap();
    assert_eq!(lost, StepRecorded::Lost);
    assert!(claim(&other, 5, 3).iter().all(|webhook| webhook.id != id));
    let again = claim(&other, 6, 4);
    assert_eq!(again[0].id, id);
    assert_eq!(again[0].progress, failed.progress);

    // A sender that was killed loses its lease when it ends.
    assert!(claim(&one, 7, 8).iter().all(|webhook| webhook.id != id));
    let taken = claim(&one, 8, 9);
    assert!(taken.iter().any(|webhook| webhook.id == id));
    let lost = other.record_webhook(id, lease(6), &back, at(9)).unwrap();
    assert_eq!(lost, StepRecorded::Lost);
    let done = WebhookStep {
        progress: WebhookProgress {
            cursor: end,
            retry: None,
            ..back.progress.clone()
        },
        attempts: vec![attempt(end, 9, 2)],
        ..back
    };
    let recorded = one.record_webhook(id, lease(8), &done, at(9)).unwrap();
    assert_eq!(recorded, StepRecorded::Recorded);
    // At the end of the log it has nothing to do.
    assert!(claim(&one, 9, 30).iter().all(|webhook| webhook.id != id));
    let attempts = one.webhook_attempts(id, &page(9), at(9)).unwrap().items;
    assert_eq!(attempts.len(), 2);
    let newest = &attempts[0];
    assert_eq!((newest.attempt, newest.delivered), (2, true));
    assert_eq!((newest.status, newest.duration_ms), (Some(200), 12));
    assert_eq!(newest.event_id, end.to_string());
    assert_eq!(
        (newest.event_type.as_str(), newest.answer.as_str()),
        ("token.set", "ok")
    );
}

fn a_change_while_a_webhook_is_held_is_not_undone_by_the_next_step<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let id = add(&store, 1).id;
    let end = log(&store, 1, 1);
    let held = claim(&store, 1, 1).remove(0);
    let patch = WebhookPatch {
        url: Some("https://example.org/new".to_owned()),
        ..WebhookPatch::default()
    };
    let after = changed(store.change_webhook(id, &patch, &request(2)).unwrap());
    // The change does not end the lease: the old request may still run.
    assert_eq!(claim(&store, 2, 2), []);
    let gone = WebhookStep {
        switch_off: Some("410 Gone".to_owned()),
        attempts: vec![attempt(end, 2, 1)],
        hold_until: Some(at(60)),
        ..step(&held, end)
    };
    let recorded = store.record_webhook(id, lease(1), &gone, at(2)).unwrap();
    assert_eq!(recorded, StepRecorded::Changed);
    let stored = store.webhook(id).unwrap().unwrap();
    assert_eq!(stored.state(), WebhookState::Active);
    assert_eq!(stored.progress.cursor, held.progress.cursor);
    let attempts = store.webhook_attempts(id, &page(9), at(2)).unwrap();
    assert_eq!(attempts.items.len(), 1);
    // The lease was given back.
    let again = claim(&store, 3, 2).remove(0);
    assert_eq!(again.settings.url, "https://example.org/new");
    assert_eq!(again.version, after.version);
    let removed = store.remove_webhook(id, &request(3)).unwrap();
    assert_eq!(removed, Ok(()));
    let lost = store
        .record_webhook(id, lease(3), &step(&again, end), at(3))
        .unwrap();
    assert_eq!(lost, StepRecorded::Lost);
    let attempts = store.webhook_attempts(id, &page(9), at(2)).unwrap();
    assert_eq!(attempts.items, []);
}

fn a_holder_sees_a_change_and_the_loss_of_its_lease<A: Adapter>() {
    let database = A::new();
    let (one, other) = (database.open(), database.open());
    let id = add(&one, 1).id;
    log(&one, 1, 1);
    let held = claim(&one, 1, 1).remove(0);
    let is_held = |number, version| one.is_webhook_held(id, lease(number), version).unwrap();
    assert!(is_held(1, held.version));
    assert!(!is_held(2, held.version), "another lease");
    // Each change counts, whoever makes it.
    let off = WebhookPatch {
        enabled: Some(false),
        ..WebhookPatch::default()
    };
    let off = changed(other.change_webhook(id, &off, &request(2)).unwrap());
    assert!(!is_held(1, held.version));
    assert!(is_held(1, off.version));
    let rotated = other.rotate_webhook(id, &secret(8), at(2), &request(2));
    let rotated = changed(rotated.unwrap());
    assert!(!is_held(1, off.version));
    assert!(is_held(1, rotated.version));
    assert_eq!(other.remove_webhook(id, &request(3)), Ok(Ok(())));
    assert!(!is_held(1, rotated.version));

    // The lease of a process whose clock is behind is taken by another one.
    let id = add(&one, 2).id;
    log(&one, 1, 2);
    let behind = claim(&one, 3, 4).remove(0);
    let is_held = |number| {
        one.is_webhook_held(id, lease(number), behind.version)
            .unwrap()
    };
    assert!(is_held(3));
    assert_eq!(claim(&other, 4, 60).len(), 1);
    assert!(!is_held(3) && is_held(4));
}

fn a_clock_that_was_set_back_postpones_nothing<A: Adapter>() {
    const HOUR: i64 = 60;
    let database = A::new();
    let store = database.open();
    let id = add(&store, 1).id;
    let begin = store.webhook(id).unwrap().unwrap().progress.cursor;
    let end = log(&store, 1, 1);
    let mut lease_number = 0;
    // Records this, and returns whether the webhook is due when the clock shows this minute. It is claimed by a clock that is
    // far ahead, which waits for nothing.
    let mut is_due = |due_at: i64, failed_at: Option<i64>, minute: i64| {
        lease_number += 2;
        let held = store.claim_webhooks(
            lease(lease_number),
            at(1_000 * HOUR),
            at(1_000 * HOUR + 1),
            1,
        );
        let held = held.unwrap().remove(0);
        let waits = WebhookStep {
            progress: WebhookProgress {
                due_at: at(due_at),
                retry: failed_at.map(|since| WebhookRetry {
                    event: end,
                    attempts: 1,
                    since: at(since),
                }),
                last_error: Some((at(failed_at.unwrap_or(0)), "no answer".to_owned())),
                ..held.progress.clone()
            },
            ..step(&held, begin)
        };
        let recorded = store.record_webhook(id, lease(lease_number), &waits, at(10 * HOUR));
        assert_eq!(recorded.unwrap(), StepRecorded::Recorded);
        let claimed = claim(&store, lease_number + 1, minute);
        for webhook in &claimed {
            let back = step(webhook, begin);
            store
                .record_webhook(id, lease(lease_number + 1), &back, at(minute))
                .unwrap();
        }
        !claimed.is_empty()
    };
    let ten = 10 * HOUR;
    // Without a failure: due at once, and a wait of a minute at most.
    assert!(is_due(ten, None, ten));
    assert!(is_due(ten, None, ten - 5));
    assert!(is_due(ten, None, ten - 8 * HOUR));
    assert!(!is_due(ten + 1, None, ten));
    assert!(is_due(ten + 1, None, ten + 1));
    // After a failure: it waits as long as the clock goes on from it.
    for wait in [1, 5 * HOUR, 24 * HOUR] {
        assert!(!is_due(ten + wait, Some(ten), ten), "{wait}");
        assert!(!is_due(ten + wait, Some(ten), ten + wait - 1), "{wait}");
        assert!(is_due(ten + wait, Some(ten), ten + wait), "{wait}");
        assert!(is_due(ten + wait, Some(ten), ten - 5), "{wait}");
        assert!(is_due(ten + wait, Some(ten), ten - 9 * HOUR), "{wait}");
    }
    // Clocks of two processes may differ by a little.
    assert!(!is_due(ten + HOUR, Some(ten), ten - 1));
}

fn a_webhook_that_is_switched_off_says_why_until_it_is_enabled<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let id = add(&store, 1).id;
    log(&store, 1, 1);
    let held = claim(&store, 1, 1).remove(0);
    let off = WebhookStep {
        switch_off: Some("the receiver answers 410 Gone".to_owned()),
        ..step(&held, held.progress.cursor)
    };
    let recorded = store.record_webhook(id, lease(1), &off, at(2)).unwrap();
    assert_eq!(recorded, StepRecorded::Recorded);
    let stored = store.webhook(id).unwrap().unwrap();
    assert_eq!(stored.state(), WebhookState::SwitchedOff);
    let why = Some((at(2), "the receiver answers 410 Gone".to_owned()));
    assert_eq!(stored.switched_off, why);
    assert_ne!(stored.version, held.version);
    assert_eq!(claim(&store, 2, 3), []);
    let audit = store.audit(&AuditFilter::default(), &page(1)).unwrap();
    let entry = &audit.items[0];
    assert_eq!(entry.action, "webhook.switched_off");
    assert_eq!(
        (entry.by.kind, &entry.by.name),
        (ActorKind::Wattpost, &None)
    );
    assert_eq!(
        entry.after.as_ref().unwrap()["reason"],
        "the receiver answers 410 Gone"
    );
    // Another change keeps the reason.
    let mut patch = WebhookPatch {
        description: Some("old".to_owned()),
        ..WebhookPatch::default()
    };
    let after = changed(store.change_webhook(id, &patch, &request(4)).unwrap());
    assert_eq!(after.switched_off, why);
    patch.enabled = Some(true);
    let after = changed(store.change_webhook(id, &patch, &request(5)).unwrap());
    assert_eq!(
        (after.state(), after.switched_off),
        (WebhookState::Active, None)
    );
    // What came meanwhile is not skipped.
    assert_eq!(claim(&store, 3, 5)[0].progress.cursor, held.progress.cursor);
    patch.enabled = Some(false);
    let after = changed(store.change_webhook(id, &patch, &request(6)).unwrap());
    assert_eq!(after.state(), WebhookState::Disabled);
}

fn events_are_delivered_again_from_an_event_or_a_time<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let first = log(&store, 1, 1);
    let second = log(&store, 1, 2);
    let third = log(&store, 1, 3);
    let id = add(&store, 1).id;
    assert_eq!(claim(&store, 1, 3), []);
    let redeliver = |from| store.redeliver_webhook(id, from, &request(4)).unwrap();
    let cursor = |from| match redeliver(from) {
        Once::Done(webhook) => webhook.progress.cursor,
        other => panic!("{other:?}"),
    };
    assert_eq!(cursor(RedeliverFrom::Event(third)), second);
    assert_eq!(cursor(RedeliverFrom::Event(first)).position, 0);
    assert_eq!(cursor(RedeliverFrom::Time(at(3))), second);
    assert_eq!(cursor(RedeliverFrom::Time(at(0))), EventId::START);
    assert_eq!(cursor(RedeliverFrom::Time(at(9))), third);
    assert_eq!(cursor(RedeliverFrom::Event(second)), first);
    let held = claim(&store, 2, 4).remove(0);
    assert_eq!(held.progress.cursor, first);
    // A redelivery is not undone by the step of who sends at the moment.
    let from = cursor(RedeliverFrom::Time(at(0)));
    let recorded = store
        .record_webhook(id, lease(2), &step(&held, third), at(4))
        .unwrap();
    assert_eq!(recorded, StepRecorded::Changed);
    assert_eq!(claim(&store, 3, 4)[0].progress.cursor, from);

    // The oldest event that is kept can be delivered again, an expired one cannot.
    store.expire_events(at(2)).unwrap();
    let oldest = cursor(RedeliverFrom::Event(second));
    assert_eq!(oldest.position, 1);
    let bounds = store.event_bounds().unwrap();
    assert_eq!(bounds.knows(oldest), Some(true));
    let other = EventId {
        recorded_at: at(7),
        ..second
    };
    for unknown in [first, other, EventId::START] {
        let refused = Once::Refused(NotRedelivered::UnknownEvent);
        assert_eq!(redeliver(RedeliverFrom::Event(unknown)), refused);
    }
    let refused = store
        .redeliver_webhook(webhook_id(9), RedeliverFrom::Time(at(0)), &request(4))
        .unwrap();
    let unknown = NotRedelivered::Webhook(NotChanged::Unknown);
    assert_eq!(refused, Once::Refused(unknown));
}

fn the_number_of_webhooks_is_bounded_also_for_two_processes<A: Adapter>() {
    let database = A::new();
    let (one, other) = (database.open(), database.open());
    for number in 1..WEBHOOKS_MAX {
        add(&one, number as u128);
    }
    for round in 0..5_u128 {
        let barrier = Barrier::new(2);
        let (barrier, one, other) = (&barrier, &one, &other);
        let added = std::thread::scope(|scope| {
            let first = scope.spawn(move || {
                barrier.wait();
                one.add_webhook(&new(1_000 + round)).unwrap()
            });
            let second = scope.spawn(move || {
                barrier.wait();
                other.add_webhook(&new(2_000 + round)).unwrap()
            });
            [first.join().unwrap(), second.join().unwrap()]
        });
        let refused = Once::Refused(WebhookNotAdded::TooMany);
        assert_eq!(added.iter().filter(|once| **once == refused).count(), 1);
        let all = one.webhooks().unwrap();
        assert_eq!(all.len(), WEBHOOKS_MAX);
        let last = all.last().unwrap().id;
        assert_eq!(one.remove_webhook(last, &request(1)).unwrap(), Ok(()));
    }
}

fn the_attempts_of_a_webhook_are_bounded<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let id = add(&store, 1).id;
    let event = log(&store, 1, 1);
    let held = claim(&store, 1, 1).remove(0);
    let mut long = WebhookStep {
        attempts: (0..WEBHOOK_ATTEMPTS_KEPT as u32 + 7)
            .map(|number| attempt(event, 1, number))
            .collect(),
        hold_until: Some(at(5)),
        ..step(&held, held.progress.cursor)
    };
    long.attempts.last_mut().unwrap().answer = "ä\u{0}".repeat(WEBHOOK_ANSWER_BYTES_MAX);
    store.record_webhook(id, lease(1), &long, at(1)).unwrap();
    let kept = store.webhook_attempts(id, &page(1_000), at(1)).unwrap();
    assert_eq!(kept.items.len(), WEBHOOK_ATTEMPTS_KEPT);
    assert!(kept.items[0].answer.starts_with('ä'));
    assert!(kept.items[0].answer.len() <= 2 * WEBHOOK_ANSWER_BYTES_MAX);
    // Pages hold each attempt once.
    let (mut numbers, mut after) = (Vec::new(), None);
    loop {
        let request = PageRequest { after, limit: 90 };
        let page = store.webhook_attempts(id, &request, at(1)).unwrap();
        numbers.extend(page.items.iter().map(|attempt| attempt.attempt));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let wanted = (7..WEBHOOK_ATTEMPTS_KEPT as u32 + 7).rev();
    assert_eq!(numbers, wanted.collect::<Vec<_>>());
    let much_later = Timestamp(at(1).0 + WEBHOOK_ATTEMPTS_KEPT_MS + 1);
    let none = store.webhook_attempts(id, &page(9), much_later).unwrap();
    assert_eq!(none.items, []);
    let one = WebhookStep {
        attempts: vec![WebhookAttempt {
            at: much_later,
            ..attempt(event, 1, 1)
        }],
        ..long
    };
    store
        .record_webhook(id, lease(1), &one, much_later)
        .unwrap();
    let rows = database.query("SELECT attempt AS value FROM webhook_attempts");
    assert_eq!(rows, ["1"]);
}

fn a_change_expects_a_version_and_is_made_once<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut first = new(1);
    first.request = with_key("a", 1, request(0));
    let Once::Done(added) = store.add_webhook(&first).unwrap() else {
        panic!("not added");
    };
    let repeated = NewWebhook {
        id: webhook_id(2),
        ..first.clone()
    };
    let again = store.add_webhook(&repeated).unwrap();
    assert_eq!(again, Once::Repeated(added.clone()));
    let other = NewWebhook {
        request: with_key("a", 2, request(0)),
        ..repeated.clone()
    };
    assert_eq!(store.add_webhook(&other).unwrap(), Once::Mismatch);

    let patch = WebhookPatch {
        types: Some(Vec::new()),
        charger_id: Some(None),
        ..WebhookPatch::default()
    };
    let expecting = |versions: Vec<u64>, minute| ChangeRequest {
        condition: Condition::Versions(versions),
        ..request(minute)
    };
    let change = |request: &ChangeRequest| store.change_webhook(added.id, &patch, request);
    let refused = change(&expecting(vec![added.version + 1], 1)).unwrap();
    assert_eq!(refused, Once::Refused(NotChanged::OtherVersion));
    let right = with_key("b", 1, expecting(vec![added.version], 1));
    let after = changed(change(&right).unwrap());
    assert_eq!(after.settings.types, Vec::<String>::new());
    assert_eq!(after.settings.charger_id, None);
    assert_eq!(after.settings.url, added.settings.url);
    assert!(after.version > added.version);
    assert_eq!(change(&right).unwrap(), Once::Repeated(after.clone()));
    let stale = expecting(vec![added.version], 2);
    let removed = store.remove_webhook(added.id, &stale).unwrap();
    assert_eq!(removed, Err(NotChanged::OtherVersion));
    let removed = store.remove_webhook(added.id, &request(2)).unwrap();
    assert_eq!(removed, Ok(()));
    let removed = store.remove_webhook(added.id, &request(2)).unwrap();
    assert_eq!(removed, Err(NotChanged::Unknown));
    let refused = change(&request(3)).unwrap();
    assert_eq!(refused, Once::Refused(NotChanged::Unknown));
    let gone = Once::Refused(WebhookNotAdded::Removed(added.id));
    assert_eq!(store.add_webhook(&repeated).unwrap(), gone);
}

fn no_secret_is_in_the_audit_log_or_under_a_key<A: Adapter>() {
    let database = A::new();
    let store = database.open();
    let mut first = new(1);
    first.request = with_key("a", 1, request(0));
    store.add_webhook(&first).unwrap();
    let rotate = |byte, key, minute| {
        let request = with_key(key, 1, request(minute));
        store
            .rotate_webhook(first.id, &secret(byte), at(minute + 10), &request)
            .unwrap()
    };
    let after = changed(rotate(8, "b", 1));
    assert_eq!(after.former_secret_until, Some(at(11)));
    let (_, secrets) = store.webhook_secrets(first.id).unwrap().unwrap();
    assert_eq!(secrets.valid_at(at(10)), [&secret(8), &secret(7)]);
    assert_eq!(secrets.valid_at(at(11)), [&secret(8)]);
    // A repeat rotates nothing.
    assert_eq!(rotate(9, "b", 2), Once::Repeated(after));
    let (_, secrets) = store.webhook_secrets(first.id).unwrap().unwrap();
    assert_eq!(secrets.valid_at(at(10)), [&secret(8), &secret(7)]);
    store
        .redeliver_webhook(first.id, RedeliverFrom::Time(at(0)), &request(3))
        .unwrap();
    store
        .remove_webhook(first.id, &request(4))
        .unwrap()
        .unwrap();
    let audit = store.audit(&AuditFilter::default(), &page(9)).unwrap();
    let actions: Vec<&str> = audit.items.iter().map(|one| one.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "webhook.removed",
            "webhook.redelivered",
            "webhook.secret_rotated",
            "webhook.set"
        ]
    );
    let kept = database.query(
        "SELECT coalesce(before, '') || coalesce(after, '') AS value FROM audit_log
         UNION ALL SELECT result FROM idempotency_keys",
    );
    assert_eq!(kept.len(), 6);
    for text in kept {
        assert!(!text.contains("whsec_"), "{text}");
        assert!(
            ![7, 8]
                .iter()
                .any(|byte| text.contains(&secret(*byte).expose()[6..]))
        );
    }
}

/// Each call of the port once, for a role that has no more rights than the documented ones.
pub(crate) fn uses_every_call(store: &(impl Webhooks + Tokens + EventLog)) {
    let id = add(store, 1).id;
    let end = log(store, 1, 1);
    let held = claim(store, 1, 1).remove(0);
    assert!(store.is_webhook_held(id, lease(1), held.version).unwrap());
    let done = WebhookStep {
        attempts: vec![attempt(end, 1, 1)],
        ..step(&held, end)
    };
    let recorded = store.record_webhook(id, lease(1), &done, at(1)).unwrap();
    assert_eq!(recorded, StepRecorded::Recorded);
    let patch = WebhookPatch::default();
    changed(store.change_webhook(id, &patch, &request(1)).unwrap());
    let rotated = store.rotate_webhook(id, &secret(8), at(2), &request(1));
    changed(rotated.unwrap());
    let again = store.redeliver_webhook(id, RedeliverFrom::Event(end), &request(1));
    assert!(matches!(again, Ok(Once::Done(_))));
    let attempts = store.webhook_attempts(id, &page(9), at(1)).unwrap();
    assert_eq!(attempts.items.len(), 1);
    assert_eq!(store.webhooks().unwrap().len(), 1);
    assert_eq!(store.remove_webhook(id, &request(2)).unwrap(), Ok(()));
}

fn a_webhook_that_cannot_be_read_stops_no_other<A: Adapter>() {
    for (column, text) in [("types", "7"), ("secrets", "{}")] {
        let database = A::new();
        let store = database.open();
        let (damaged, other) = (add(&store, 1), add(&store, 2));
        // On both databases the first one has this URL, however its id is stored.
        database.execute(&format!(
            "UPDATE webhooks SET {column} = '{text}' WHERE url = '{}'",
            damaged.settings.url
        ));
        log(&store, 1, 1);
        let claimed = claim(&store, 1, 2);
        let claimed: Vec<WebhookId> = claimed.iter().map(|webhook| webhook.id).collect();
        assert_eq!(claimed, [other.id], "{column}");
        let listed = store.webhooks().unwrap();
        let listed: Vec<WebhookId> = listed.iter().map(|webhook| webhook.id).collect();
        assert_eq!(listed, [other.id], "{column}");
        // Whoever asks for this one is told, and can remove it.
        assert!(store.webhook(damaged.id).is_err(), "{column}");
        assert_eq!(store.remove_webhook(damaged.id, &request(3)), Ok(Ok(())));
        assert_eq!(store.webhook(damaged.id), Ok(None), "{column}");
    }
}
