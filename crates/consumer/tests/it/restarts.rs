//! A consumer that is killed at every point again and again: each record is applied once in effect.

use crate::support::rabbit::{Crash, Rabbit};
use crate::support::store::{NextResult, TestStore};
use crate::support::{config, id, oracle, record, start, until};
use std::sync::Arc;

const RESTARTS: u64 = 1_000;
const RECORDS_PER_RUN: u64 = 30;

#[tokio::test]
async fn a_thousand_crashes_in_the_middle_of_a_batch_leave_each_record_applied_once() {
    let mut rng = fastrand::Rng::with_seed(4);
    let rabbit = Rabbit::new(50);
    let store = Arc::new(TestStore::default());
    let mut crashes = [0_u32; 4];
    for run in 0..RESTARTS {
        rabbit.publish_records(1, run * RECORDS_PER_RUN + 1..=(run + 1) * RECORDS_PER_RUN);
        let points = [
            Crash::Collecting,
            Crash::Collected,
            Crash::Acknowledging,
            Crash::Acknowledged,
        ];
        let point = rng.usize(..points.len());
        let times = if points[point] == Crash::Collecting {
            25
        } else {
            2
        };
        rabbit.crash_at(points[point], rng.u32(1..=times));
        match rng.u32(..10) {
            0 => store.next_is(NextResult::Refused),
            1 => store.next_is(NextResult::AnswerLost),
            _ => {}
        }
        let process = start(&rabbit, &store, config());
        let crashed =
            tokio::time::timeout(crate::support::TIMEOUT, rabbit.crashed.notified()).await;
        crashed.expect("the consumer reaches the point of its crash");
        crashes[point] += 1;
        drop(process.consumer);
        // As with a database, a running transaction ends before the next consumer starts.
        tokio::task::spawn_blocking(move || process.applier.close())
            .await
            .unwrap();
        until("RabbitMQ has everything back", || rabbit.unacked() == 0).await;
    }
    let _last = start(&rabbit, &store, config());
    until("all is consumed", || rabbit.is_drained()).await;

    assert!(crashes.iter().all(|crashes| *crashes > 100), "{crashes:?}");
    assert!(rabbit.redelivered() > 1_000, "{}", rabbit.redelivered());
    let all: Vec<_> = (1..=RESTARTS * RECORDS_PER_RUN)
        .map(|seq| (id(1, seq), record(seq)))
        .collect();
    let expected = oracle(all.iter().map(|(id, bytes)| (*id, bytes.as_slice())));
    assert!(
        store.contents() == expected,
        "differs from applying each record once"
    );
}
