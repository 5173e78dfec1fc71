//! A program in another language consumes records from a queue of its own.

use crate::common::{Gateway, Received, deliver_until_accepted};
use crate::config;
use broker::Broker;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The process of the example; killed at the end of the test.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The Python of `make setup`, or `None` if it has no pika.
fn python() -> Option<String> {
    let python = std::env::var("WATTPOST_PYTHON").ok()?;
    let has_pika = Command::new(&python)
        .args(["-c", "import pika"])
        .status()
        .is_ok_and(|status| status.success());
    has_pika.then_some(python)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_in_python_receives_the_records_that_it_binds() {
    let Some(python) = python() else {
        eprintln!("not run: `make setup` installs the Python that this needs");
        return;
    };
    let config = config();
    let broker = Broker::start(config.clone(), "both");
    broker.up().await;
    let mut child = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/consume.py"
        ))
        .arg(&config.url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    let stdout = child.stdout.take().expect("its output");
    let _example = Example(child);
    let mut lines = BufReader::new(stdout)
        .lines()
        .map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("listening"));

    let mut gateway = Gateway::new();
    deliver_until_accepted(&broker, gateway.batch(20, 20)).await;
    let mut chargers: Vec<String> = lines
        .take(20)
        .map(|line| {
            assert!(
                line.contains("2026-01-01T00:00:00.000Z {\"connectorId\": 1"),
                "{line}"
            );
            line.split(' ').next().expect("a charger").to_owned()
        })
        .collect();
    chargers.sort();
    chargers.dedup();
    assert_eq!(chargers.len(), 20);
    // Wattpost's own queues still hold all records.
    Received::default().all_of(&broker, &gateway).await;
}
