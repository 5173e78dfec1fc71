//! Fills a journal with undelivered records, to measure a restart.

use anyhow::{Context, Result};
use central::record::Notes;
use central::{AnswerKind, Epoch, Record, RecordKind, Timestamp};
use journal::Journal;
use ocpp::Version;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends `records` meter values of 500 chargers.
pub(crate) fn run(data_dir: &Path, records: u64) -> Result<()> {
    let (journal, _) = Journal::open(&data_dir.join("journal"), journal::Options::default())
        .context("open the journal")?;
    let mut bytes = Vec::new();
    for n in 0..records {
        bytes.clear();
        let charger_id = format!("FILL-{:05}", n % 500);
        let at = Timestamp(1_767_225_600_000 + i64::try_from(n)?);
        let payload = format!(
            concat!(
                r#"{{"connectorId":1,"transactionId":4711,"meterValue":[{{"timestamp":"{}","sampledValue":["#,
                r#"{{"value":"{}","measurand":"Energy.Active.Import.Register","unit":"Wh"}},"#,
                r#"{{"value":"11040","measurand":"Power.Active.Import","unit":"W"}}]}}]}}"#
            ),
            at, n
        );
        Record {
            kind: RecordKind::Call,
            charger_id: &charger_id,
            ocpp_version: Version::V16,
            message_id: &n.to_string(),
            action: "MeterValues",
            payload: &payload,
            answer_kind: AnswerKind::Result,
            answer: "{}",
            received_at: at,
            epoch: Epoch(1),
            notes: Notes::default(),
            reason: "",
        }
        .encode_into(&mut bytes);
        journal.append(&bytes, None).context("append")?;
        if n % 4096 == 0 {
            wait_durable(&journal, n.saturating_sub(65_536))?;
        }
    }
    wait_durable(&journal, records)?;
    journal.close().context("close the journal")?;
    println!("{records} records written");
    Ok(())
}

fn wait_durable(journal: &Journal, seq: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while journal.durable_seq() < seq {
        anyhow::ensure!(
            Instant::now() < end,
            "timeout while waiting for the journal's sync"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
