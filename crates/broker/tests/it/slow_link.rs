//! A slow link, on which the prefetched records take longer than every timeout.

use crate::common::{
    SOON, bounds, config, deliver_until_accepted, record, subscribe_until_accepted,
};
use crate::{shared_node, virtual_host};
use broker::{Broker, Config};
use central::Record;
use central::Seq;
use central::ports::Batch;
use central::record::GatewayId;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Bytes from RabbitMQ pass in steps of this size, with a pause after each.
const STEP_BYTES: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(10);

/// A link to `node`, fast towards it and slow from it: about 1.5 MB/s.
fn slow_link(node: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(node).expect("RabbitMQ");
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || copy_slowly(server, client));
        }
    });
    address
}

fn copy_slowly(mut from: TcpStream, mut to: TcpStream) {
    let mut step = [0; STEP_BYTES];
    while let Ok(count @ 1..) = from.read(&mut step) {
        std::thread::sleep(PAUSE);
        if to.write_all(&step[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_records_pass_a_slow_link_though_they_take_longer_than_every_timeout() {
    const RECORDS: u64 = 30;
    let node = SocketAddr::from((Ipv4Addr::LOCALHOST, shared_node().node.port()));
    let host = virtual_host();
    let wide = config(format!("amqp://wattpost:wattpost@{node}/{host}"));
    let link = slow_link(node);
    let narrow = Config {
        url: format!("amqp://wattpost:wattpost@{link}/{host}"),
        connect_timeout_ms: 3_000,
        ..wide.clone()
    };

    let gateway = Broker::start(wide, "gateway");
    gateway.up().await;
    let payload = format!("\"{}\"", "x".repeat(950_000));
    let id = GatewayId(Uuid::new_v4());
    for seq in 1..=RECORDS {
        let small = record("CP-1", seq);
        let record = Record {
            payload: &payload,
            ..Record::decode(&small).expect("a record")
        };
        let mut batch = Batch::new(id);
        batch.push(Seq(seq), &record.encode());
        deliver_until_accepted(&gateway, Arc::new(batch)).await;
    }

    let consumer = Broker::start(narrow, "consumer");
    consumer.up().await;
    let mut subscription = subscribe_until_accepted(&consumer).await;
    let begun = Instant::now();
    let mut seqs = Vec::new();
    while seqs.len() < RECORDS as usize {
        let collected = tokio::time::timeout(SOON, subscription.collect(bounds()))
            .await
            .expect("something to collect")
            .expect("the connection lasts");
        seqs.extend(collected.batch.iter().map(|(id, _)| id.seq));
        subscription
            .acknowledge(collected.upto)
            .await
            .expect("acknowledged");
    }
    assert_eq!(seqs, (1..=RECORDS).map(Seq).collect::<Vec<_>>());
    // Else the link was not narrow and this proves nothing.
    assert!(
        begun.elapsed() > Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}
