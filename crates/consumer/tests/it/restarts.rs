//! A consumer that dies again and again, anywhere: what is applied is applied once in effect.

use crate::support::rabbit::{Crash, Rabbit};
use crate::support::store::{Fate, TestStore};
use crate::support::{config, id, oracle, record, start, until};
use std::sync::Arc;

const RESTARTS: u64 = 1_000;
const RECORDS_PER_LIFE: u64 = 30;

#[tokio::test]
async fn a_thousand_deaths_in_the_middle_of_a_batch_leave_each_record_applied_once() {
    let dice = fastrand::Rng::with_seed(4);
    let mut dice = dice;
    let rabbit = Rabbit::new(50);
    let store = Arc::new(TestStore::default());
    let mut deaths = [0_u32; 4];
    for life in 0..RESTARTS {
        rabbit.publish_records(
            1,
            life * RECORDS_PER_LIFE + 1..=(life + 1) * RECORDS_PER_LIFE,
        );
        let points = [
            Crash::Collecting,
            Crash::Collected,
            Crash::Acknowledging,
            Crash::Acknowledged,
        ];
        let point = dice.usize(..points.len());
        let times = if points[point] == Crash::Collecting {
            25
        } else {
            2
        };
        rabbit.crash_at(points[point], dice.u32(1..=times));
        match dice.u32(..10) {
            0 => store.next_is(Fate::Refused),
            1 => store.next_is(Fate::AnswerLost),
            _ => {}
        }
        let process = start(&rabbit, &store, config());
        let died = tokio::time::timeout(crate::support::PATIENCE, rabbit.crashed.notified()).await;
        died.expect("it gets to the point where it dies");
        deaths[point] += 1;
        drop(process.consumer);
        // A transaction under way ends one way or the other before the next life begins, as in a database.
        tokio::task::spawn_blocking(move || process.applier.close())
            .await
            .unwrap();
        until("RabbitMQ has everything back", || rabbit.unacked() == 0).await;
    }
    let _last = start(&rabbit, &store, config());
    until("all is consumed", || rabbit.is_drained()).await;

    assert!(deaths.iter().all(|deaths| *deaths > 100), "{deaths:?}");
    assert!(rabbit.redelivered() > 1_000, "{}", rabbit.redelivered());
    let all: Vec<_> = (1..=RESTARTS * RECORDS_PER_LIFE)
        .map(|seq| (id(1, seq), record(seq)))
        .collect();
    let expected = oracle(all.iter().map(|(id, bytes)| (*id, bytes.as_slice())));
    assert!(
        store.contents() == expected,
        "not what one application of each gives"
    );
}
