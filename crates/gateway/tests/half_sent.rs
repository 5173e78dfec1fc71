//! Messages that are never finished. In a process of its own, because it measures the process's memory.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use crate::common::charger::{CLOSE, Charger, TEXT, encode};
use crate::common::{TIMEOUT, World, until};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

/// Sends a message without its last byte, or as much of it as the gateway reads.
async fn begin_message(charger: &mut Charger, message: &[u8]) {
    let all = &message[..message.len() - 1];
    let _ = tokio::time::timeout(TIMEOUT, charger.socket.write_all(all)).await;
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .expect("a size");
    kib.parse::<usize>().expect("a number") << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_unfinished_messages_use_bounded_memory() {
    const UNKNOWN_CHARGERS: usize = 600;
    let world = Arc::new(World::start().await);
    let mut bystander = Charger::connect(&world, "bystander").await;
    bystander.heartbeat().await;
    let message = Arc::new(encode(0x80 | TEXT, &vec![b'x'; (1 << 20) - 1_000]));
    let before = resident_bytes();
    let mut unknown_chargers = Vec::new();
    let mut most = 0;
    for i in 0..UNKNOWN_CHARGERS {
        let mut unknown = Charger::connect(&world, &format!("made-up-{i}")).await;
        begin_message(&mut unknown, &message).await;
        unknown_chargers.push(unknown);
        most = most.max(resident_bytes().saturating_sub(before));
    }
    until("most of them have been closed", || {
        world
            .sink
            .count(|stored| stored.reason.contains("not finished"))
            >= UNKNOWN_CHARGERS - 64
    })
    .await;
    most = most.max(resident_bytes().saturating_sub(before));
    assert!(most < 100 << 20, "{most} bytes");
    bystander.heartbeat().await;
    // A complete long message is answered meanwhile.
    let long = format!(r#"{{"vendorId":"v","data":"{}"}}"#, "x".repeat(500 << 10));
    bystander.call("DataTransfer", &long).await;
    // The close frame says why.
    let mut first = unknown_chargers.swap_remove(0);
    let (opcode, payload) = first.read().await;
    assert_eq!(
        (opcode, &payload[..2]),
        (CLOSE, &1008_u16.to_be_bytes()[..])
    );
}
