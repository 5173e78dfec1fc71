//! An event that one process publishes arrives at all others.

use crate::common::{Gateway, SOON};
use crate::config;
use broker::Broker;
use central::Epoch;
use central::ports::{ClusterEvent, ClusterEvents};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

fn listen(broker: &Arc<Broker>) -> mpsc::UnboundedReceiver<ClusterEvent> {
    let (sender, receiver) = mpsc::unbounded_channel();
    broker.subscribe(Box::new(move |event| {
        let _ = sender.send(event);
    }));
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_all_other_processes_and_not_its_publisher() {
    let config = config();
    let one = Broker::start(config.clone(), "one");
    let two = Broker::start(config.clone(), "two");
    let three = Broker::start(config, "three");
    let mut own = listen(&one);
    let mut others = [listen(&two), listen(&three)];
    let event = ClusterEvent::Connected {
        charger_id: "CP-1".into(),
        gateway: Gateway::new().id,
        epoch: Epoch(7),
    };
    // Events may be lost, and subscribing completes in the background: published again until it is received.
    for receiver in &mut others {
        let got = tokio::time::timeout(SOON, async {
            loop {
                one.publish(event.clone());
                let wait = Duration::from_millis(100);
                if let Ok(Some(event)) = tokio::time::timeout(wait, receiver.recv()).await {
                    return event;
                }
            }
        })
        .await
        .expect("received");
        assert_eq!(got, event);
    }
    let other = ClusterEvent::Connected {
        charger_id: "CP-2".into(),
        gateway: Gateway::new().id,
        epoch: Epoch(8),
    };
    two.publish(other.clone());
    let first = tokio::time::timeout(SOON, own.recv())
        .await
        .expect("received");
    assert_eq!(first, Some(other), "not its own");
}
