//! `wattpost journal salvage --out`: what is left of a journal, as a file that people and programs can read.
//!
//! A repair needs a start of the gateway before anybody sees what was kept. The file shows it before, and also where the
//! journal cannot be repaired.

use crate::data_dir::sync_dir;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use central::{GatewayId, Record};
use journal::{Extracted, Inspection, OpenError};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes each undelivered record that can be read and each range of bytes that cannot, one JSON object a line, and at the
/// end a line with their numbers: without it, the file is not complete. Memory: one segment of the journal. Changes nothing
/// in the journal.
///
/// # Errors
/// When the file exists or cannot be written, or the journal cannot be examined.
pub(crate) fn write(
    dir: &Path,
    gateway: Option<GatewayId>,
    out: &Path,
) -> Result<Result<Inspection, OpenError>> {
    ensure!(
        !out.exists(),
        "--out is {}, which exists; give a new name",
        out.display()
    );
    // Messages may hold tokens and passwords.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("create {}; set --out to a new file", out.display()))?;
    let written = write_to(dir, gateway, &file);
    match &written {
        // It is not complete.
        Err(_) => drop(fs::remove_file(out)),
        Ok(_) => file
            .sync_all()
            .and_then(|()| sync_dir(crate::backup::parent(out)))
            .with_context(|| format!("sync {}", out.display()))?,
    }
    Ok(written)
}

fn write_to(dir: &Path, gateway: Option<GatewayId>, file: &File) -> Result<Inspection, OpenError> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (mut records, mut damaged) = (0_u64, 0_u64);
    let found = journal::extract(dir, |part| {
        let line = match part {
            Extracted::Record { seq, bytes } => {
                records += 1;
                shown(gateway, seq, bytes)
            }
            Extracted::Damaged(range) => {
                damaged += 1;
                json!({"damaged": {
                    "file": range.file, "byte": range.offset, "length": range.length, "what": range.what,
                    "first_lost_seq": range.lost.map(|(first, _)| first),
                    "last_lost_seq": range.lost.map(|(_, last)| last),
                }})
            }
        };
        put(&mut out, &line)
    })?;
    let beyond: Vec<String> = found.unrepairable.iter().map(ToString::to_string).collect();
    let end = json!({"end": {
        "cursor": found.cursor, "records": records, "damaged": damaged, "beyond_salvage": beyond,
    }});
    put(&mut out, &end)
        .and_then(|()| out.flush())
        .map_err(|source| OpenError::Io {
            what: "write the records of",
            path: dir.to_owned(),
            source,
        })?;
    Ok(found)
}

fn put(out: &mut impl Write, line: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// A record with the names of the messages on RabbitMQ (docs/messages.md).
fn shown(gateway: Option<GatewayId>, seq: u64, bytes: &[u8]) -> Value {
    let record_id = gateway.map(|gateway| format!("{}/{seq}", gateway.0));
    match Record::decode(bytes) {
        Ok(record) => json!({
            "record_id": record_id,
            "seq": seq,
            "charger_id": record.charger_id,
            "ocpp_version": record.ocpp_version.as_str(),
            "kind": record.kind,
            "message_id": record.message_id,
            "action": record.action,
            "received_at": record.received_at.to_string(),
            "epoch": record.epoch.0,
            "notes": record.notes.names().collect::<Vec<_>>(),
            "reason": record.reason,
            "answer_kind": record.answer_kind,
            "answer_text": record.answer,
            "payload_text": record.payload,
        }),
        Err(error) => json!({
            "record_id": record_id,
            "seq": seq,
            "error": error.to_string(),
            "record_base64": BASE64.encode(bytes),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use central::Epoch;
    use central::Timestamp;

    #[test]
    fn each_record_is_shown_also_one_of_another_format() {
        let gateway = Some(GatewayId(uuid::Uuid::from_u128(7)));
        let record = central::record::disconnected("CP-1", Epoch(9), "ended", Timestamp(0));
        let known = shown(gateway, 4, &record);
        assert_eq!(known["charger_id"], "CP-1");
        assert_eq!(known["kind"], "disconnected");
        assert_eq!(known["received_at"], "1970-01-01T00:00:00.000Z");
        assert!(known["record_id"].as_str().unwrap().ends_with("7/4"));
        let other = shown(None, 5, &[99, 1]);
        assert_eq!(
            (&other["seq"], &other["record_base64"]),
            (&json!(5), &json!("YwE="))
        );
        assert!(other["error"].is_string() && other["record_id"].is_null());
    }
}
