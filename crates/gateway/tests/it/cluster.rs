//! Two gateways that share a directory, a database and events.

use crate::common::charger::Charger;
use crate::common::{FakeDirectory, World, log, soon, transaction_id, until};
use central::Epoch;
use central::RecordKind;
use central::memory::MemoryStore;
use central::model::ConcurrentTransactions;
use central::policy::UnknownCharger;
use central::ports::{ClusterEvent, ClusterEvents, Token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

type Handler = Box<dyn Fn(ClusterEvent) + Send + Sync>;

/// Delivers events between gateways, at once or on request.
#[derive(Default)]
struct Bus {
    subscribers: Mutex<Vec<(usize, Arc<Handler>)>>,
    /// Events that were published and not yet delivered.
    waiting: Mutex<Vec<(usize, ClusterEvent)>>,
    is_slow: AtomicBool,
    published: Mutex<Vec<ClusterEvent>>,
}

impl Bus {
    fn deliver_waiting(&self) {
        loop {
            let Some((from, event)) = self.waiting.lock().unwrap().pop() else {
                return;
            };
            let subscribers = self.subscribers.lock().unwrap().clone();
            for (_, on_event) in subscribers.iter().filter(|(owner, _)| *owner != from) {
                on_event(event.clone());
            }
        }
    }
}

/// The bus as one gateway uses it.
struct BusEnd {
    owner: usize,
    bus: Arc<Bus>,
}

impl ClusterEvents for BusEnd {
    fn publish(&self, event: ClusterEvent) {
        self.bus.published.lock().unwrap().push(event.clone());
        self.bus.waiting.lock().unwrap().push((self.owner, event));
        if !self.bus.is_slow.load(Ordering::SeqCst) {
            self.bus.deliver_waiting();
        }
    }

    fn subscribe(&self, on_event: Handler) {
        self.bus
            .subscribers
            .lock()
            .unwrap()
            .push((self.owner, Arc::new(on_event)));
    }
}

async fn two_gateways() -> ([World; 2], Arc<Bus>, Arc<MemoryStore>) {
    let (worlds, bus, store, _) = two_gateways_with(3_600, &[]).await;
    (worlds, bus, store)
}

/// Two gateways that read their directory, with these tokens, every `refresh_s` seconds.
async fn two_gateways_with(
    refresh_s: u64,
    tokens: &[Token],
) -> ([World; 2], Arc<Bus>, Arc<MemoryStore>, Arc<FakeDirectory>) {
    let (bus, store) = (Arc::new(Bus::default()), Arc::new(MemoryStore::default()));
    let directory = Arc::new(FakeDirectory::default());
    *directory.store.lock().unwrap() = Some(Arc::clone(&store));
    let known = tokens.iter().map(|token| (token.key(), token.clone()));
    directory.snapshot.lock().unwrap().tokens.extend(known);
    let read = Arc::clone(&directory);
    let open = |owner: usize| {
        let (bus, store, directory) =
            (Arc::clone(&bus), Arc::clone(&store), Arc::clone(&directory));
        World::with(move |setup| {
            setup.gateway_id = 10 + owner as u128;
            setup.config.directory_refresh_s = refresh_s;
            setup.policy.unknown_charger = UnknownCharger::Accept;
            setup.directory = directory;
            *setup.sink.store.lock().unwrap() = Some(store);
            setup.cluster_events = Some(Arc::new(BusEnd { owner, bus }));
        })
    };
    ([open(0).await, open(1).await], bus, store, read)
}

#[tokio::test]
async fn the_newest_connection_wins_across_gateways() {
    let ([a, b], ..) = two_gateways().await;
    let mut old = Charger::connect(&a, "CP-1").await;
    let mut bystander = Charger::connect(&a, "CP-2").await;
    old.heartbeat().await;
    for round in 0..10 {
        let mut new = Charger::connect(if round % 2 == 0 { &b } else { &a }, "cp-1").await;
        assert_eq!(old.closed().await, Some(1000));
        new.heartbeat().await;
        old = new;
    }
    bystander.heartbeat().await;
    drop(old);
    until("the ends are stored", || {
        let ends = [&a, &b].map(|world| {
            let elsewhere = |reason: &str| reason.starts_with("replaced elsewhere");
            world.sink.count(|stored| {
                stored.kind == RecordKind::Disconnected && elsewhere(&stored.reason)
            })
        });
        ends == [5, 5]
    })
    .await;
}

/// Two chargers with one identity behind a load balancer: each replaces the other at the other gateway.
#[tokio::test]
async fn two_chargers_with_one_identity_at_two_gateways_are_logged() {
    log::capture();
    let ([a, b], ..) = two_gateways().await;
    let mut old = Charger::connect(&a, "TWIN-ELSEWHERE").await;
    for round in 0..4 {
        let world = if round % 2 == 0 { &b } else { &a };
        let new = Charger::connect(world, "TWIN-ELSEWHERE").await;
        assert_eq!(old.closed().await, Some(1000));
        old = new;
    }
    let texts = ["replace each other again and again", "TWIN-ELSEWHERE"];
    assert!(log::lines(&texts).is_empty(), "twice at each gateway");
    for world in [&b, &a] {
        let new = Charger::connect(world, "TWIN-ELSEWHERE").await;
        assert_eq!(old.closed().await, Some(1000));
        old = new;
    }
    let line = log::line(&texts).await;
    assert!(line.contains("at_another_gateway=true"), "{line}");
}

#[tokio::test]
async fn of_two_simultaneous_connections_one_stays_open() {
    let ([a, b], bus, _) = two_gateways().await;
    for round in 0..20 {
        let identity = format!("CP-{round}");
        // Neither gateway has received the other's event when it accepts.
        bus.is_slow.store(true, Ordering::SeqCst);
        let (mut at_a, mut at_b) = tokio::join!(
            Charger::connect(&a, &identity),
            Charger::connect(&b, &identity)
        );
        bus.is_slow.store(false, Ordering::SeqCst);
        bus.deliver_waiting();
        tokio::select! {
            code = at_a.closed() => {
                assert_eq!(code, Some(1000));
                at_b.heartbeat().await;
            }
            code = at_b.closed() => {
                assert_eq!(code, Some(1000));
                at_a.heartbeat().await;
            }
        }
    }
}

#[tokio::test]
async fn after_a_lost_event_the_next_one_closes_the_older_connection() {
    let ([a, b], bus, _) = two_gateways().await;
    let mut at_a = Charger::connect(&a, "CP-1").await;
    bus.is_slow.store(true, Ordering::SeqCst);
    let mut at_b = Charger::connect(&b, "CP-1").await;
    let lost = bus
        .waiting
        .lock()
        .unwrap()
        .pop()
        .expect("b has published it");
    at_a.heartbeat().await;
    at_b.heartbeat().await;
    bus.is_slow.store(false, Ordering::SeqCst);
    // The first gateway publishes its connection again; the other one is newer and publishes its own.
    let ClusterEvent::Connected { charger_id, .. } = lost.1 else {
        panic!("a gateway publishes connections");
    };
    let old = bus.published.lock().unwrap()[0].clone();
    assert!(
        matches!(&old, ClusterEvent::Connected { charger_id: other, .. } if *other == charger_id)
    );
    bus.waiting.lock().unwrap().push((0, old));
    bus.deliver_waiting();
    assert_eq!(at_a.closed().await, Some(1000));
    at_b.heartbeat().await;
}

#[tokio::test]
async fn a_charger_can_change_gateways_while_the_clock_of_another_gateway_is_ahead() {
    let ([a, b], bus, _) = two_gateways().await;
    let now = ::common::clock::now_ms().unsigned_abs();
    // A third gateway, an hour ahead, has the charger.
    let ahead = ClusterEvent::Connected {
        charger_id: "CP-1".into(),
        gateway: central::GatewayId(uuid::Uuid::from_u128(99)),
        epoch: Epoch(now + 3_600_000),
    };
    bus.waiting.lock().unwrap().push((9, ahead));
    bus.deliver_waiting();
    let mut at_a = Charger::connect(&a, "CP-1").await;
    at_a.heartbeat().await;
    let ClusterEvent::Connected {
        epoch: published, ..
    } = bus.published.lock().unwrap()[0].clone()
    else {
        panic!("a gateway publishes connections");
    };
    assert!(
        published > Epoch(now + 3_600_000),
        "above the epoch that was received"
    );
    let mut at_b = Charger::connect(&b, "CP-1").await;
    assert_eq!(at_a.closed().await, Some(1000));
    at_b.heartbeat().await;
}

#[tokio::test]
async fn a_resend_at_another_gateway_gets_the_same_transaction() {
    let ([a, b], _, store) = two_gateways().await;
    let mut charger = Charger::connect(&a, "CP-1").await;
    let first = charger.start_transaction("s").await;
    let mut charger = Charger::connect(&b, "CP-1").await;
    let again = charger.start_transaction("again").await;
    assert_eq!(transaction_id(&first), transaction_id(&again));
    let id = transaction_id(&first);
    let stop = format!(
        r#"{{"transactionId":{id},"meterStop":50,"timestamp":"2026-01-02T04:04:05Z","idTag":"TAG"}}"#
    );
    charger.call("StopTransaction", &stop).await;
    let mut charger = Charger::connect(&a, "CP-1").await;
    charger.call("StopTransaction", &stop).await;
    until("all is stored", || {
        let calls = |action: &str| {
            let count = |world: &World| world.sink.count(|stored| stored.action == action);
            (count(&a), count(&b))
        };
        calls("StartTransaction") == (1, 1) && calls("StopTransaction") == (1, 1)
    })
    .await;
    let contents = soon("the store", async { store.contents() }).await;
    assert_eq!(contents.states.transactions.len(), 1, "one transaction");
    let ((charger, key), state) = contents.states.transactions.iter().next().expect("one");
    let views = state.views(charger.as_str(), key);
    assert_eq!(views.len(), 1, "{views:#?}");
    assert_eq!(
        (views[0].meter_start_wh, views[0].meter_stop_wh),
        (Some(5.0), Some(50.0))
    );
    assert_eq!(contents.dead.len(), 0);
}

#[tokio::test]
async fn a_token_in_a_transaction_at_one_gateway_starts_none_at_the_other() {
    let card = Token {
        concurrent: Some(ConcurrentTransactions::Refuse),
        ..Token::accepted("CARD")
    };
    let ([a, b], _, _, directory) = two_gateways_with(1, &[card]).await;
    let start = |second: i64| {
        let at = central::Timestamp(::common::clock::now_ms() + second * 1_000);
        format!(r#"{{"connectorId":1,"idTag":"CARD","meterStart":5,"timestamp":"{at}"}}"#)
    };
    let read_again = async || {
        let before = directory.reads.load(Ordering::SeqCst);
        // Both gateways have read once more, from the beginning.
        until("both have read", || {
            directory.reads.load(Ordering::SeqCst) >= before + 4
        })
        .await;
    };
    let mut at_a = Charger::connect(&a, "CP-A").await;
    let mut at_b = Charger::connect(&b, "CP-B").await;
    let answer = at_a.call("StartTransaction", &start(0)).await;
    assert!(answer.contains(r#""status":"Accepted""#), "{answer}");
    until("it is stored", || {
        a.sink.count(|stored| stored.action == "StartTransaction") == 1
    })
    .await;
    read_again().await;
    let refused = at_b.call("StartTransaction", &start(1)).await;
    assert!(refused.contains(r#""status":"ConcurrentTx""#), "{refused}");
    // Its charger stops it at the other gateway.
    let mut moved = Charger::connect(&b, "CP-A").await;
    let stop = format!(
        r#"{{"transactionId":{},"timestamp":"2026-01-02T03:04:05Z","meterStop":9}}"#,
        transaction_id(&answer)
    );
    moved.call("StopTransaction", &stop).await;
    let next = at_b.call("StartTransaction", &start(2)).await;
    assert!(next.contains(r#""status":"Accepted""#), "{next}");
    // The refused start is no transaction of the token, and what has ended is not one at the first gateway either.
    until("it is stored", || {
        b.sink.count(|stored| stored.action == "StopTransaction") == 1
    })
    .await;
    let stop = stop.replace(
        &transaction_id(&answer).to_string(),
        &transaction_id(&next).to_string(),
    );
    at_b.call("StopTransaction", &stop).await;
    until("it is stored", || {
        b.sink.count(|stored| stored.action == "StopTransaction") == 2
    })
    .await;
    read_again().await;
    let mut third = Charger::connect(&a, "CP-C").await;
    let last = third.call("StartTransaction", &start(3)).await;
    assert!(last.contains(r#""status":"Accepted""#), "{last}");
}
