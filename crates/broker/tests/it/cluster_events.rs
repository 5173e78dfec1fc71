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
    let (tell, heard) = mpsc::unbounded_channel();
    broker.subscribe(Box::new(move |news| {
        let _ = tell.send(news);
    }));
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_all_other_processes_and_not_its_publisher() {
    let config = config();
    let one = Broker::start(config.clone(), "one");
    let two = Broker::start(config.clone(), "two");
    let three = Broker::start(config, "three");
    let mut own = listen(&one);
    let mut others = [listen(&two), listen(&three)];
    let news = ClusterEvent::Connected {
        charger_id: "CP-1".into(),
        gateway: Gateway::new().id,
        epoch: Epoch(7),
    };
    // Lossy by contract: said until it is heard, for listening begins in the background.
    for heard in &mut others {
        let got = tokio::time::timeout(SOON, async {
            loop {
                one.publish(news.clone());
                let wait = Duration::from_millis(100);
                if let Ok(Some(news)) = tokio::time::timeout(wait, heard.recv()).await {
                    return news;
                }
            }
        })
        .await
        .expect("heard");
        assert_eq!(got, news);
    }
    let other = ClusterEvent::Connected {
        charger_id: "CP-2".into(),
        gateway: Gateway::new().id,
        epoch: Epoch(8),
    };
    two.publish(other.clone());
    let first = tokio::time::timeout(SOON, own.recv()).await.expect("heard");
    assert_eq!(first, Some(other), "not its own");
}
