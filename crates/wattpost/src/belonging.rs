//! Do the database and the journal belong together?
//!
//! The journal's cursor says what the database has, and the database knows records by the gateway's id
//! and the journal's numbers. Restore one of the two from an old copy and both sayings are wrong: new
//! records would be taken for known ones, or old ones never delivered again. Both would be silent, so
//! every start compares them.

use crate::database::Database;
use anyhow::{Context, Result, bail};
use central::GatewayId;
use central::ports::{Batch, Sink};
use journal::Journal;
use std::sync::Arc;
use std::time::Duration;

/// Records per batch when retained ones are delivered again.
const BATCH_RECORDS: usize = 4_000;
const BATCH_BYTES: usize = 4 << 20;
/// Chargers wait at the door meanwhile.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Compares them, and delivers again (to `again`, if given) what the database lacks and the journal still
/// keeps. With the database away nothing can be compared, and the start goes on: chargers come first.
/// Where records go to RabbitMQ first, the database is behind by what lies there: `again` is `None`.
///
/// # Errors
/// When the database is ahead of the journal: going on would drop new records as known ones.
pub(crate) async fn check(
    journal: &Journal,
    gateway_id: GatewayId,
    database: &Arc<dyn Database>,
    again: Option<&dyn Sink>,
) -> Result<()> {
    let asked = Arc::clone(database);
    let asking = tokio::task::spawn_blocking(move || asked.last_seq(gateway_id));
    let Ok(stored) = tokio::time::timeout(LOOK_MAX, asking).await else {
        tracing::warn!("the database does not answer: it cannot be compared with the journal now");
        return Ok(());
    };
    let stored = stored.context("ask the database how far it is")?;
    let stored = match stored {
        Ok(stored) => stored.unwrap_or(0),
        Err(away) => {
            tracing::warn!(%away, "cannot compare the database with the journal now");
            return Ok(());
        }
    };
    let (durable, cursor) = (journal.durable_seq(), journal.cursor());
    if stored > durable {
        bail!(
            "the database holds records up to {stored} of this gateway, but its journal ends at \
             {durable}: the journal is an older copy; move the directory `journal` away (the next start \
             begins a new one under a new gateway id), so that no new record is taken for an old one"
        );
    }
    match again {
        Some(sink) if stored < cursor => {
            deliver_again(journal, gateway_id, sink, stored, cursor).await
        }
        _ => Ok(()),
    }
}

async fn deliver_again(
    journal: &Journal,
    gateway_id: GatewayId,
    sink: &dyn Sink,
    stored: u64,
    cursor: u64,
) -> Result<()> {
    let oldest = journal.oldest_seq();
    let after = stored.max(oldest.saturating_sub(1));
    tracing::error!(
        stored,
        cursor,
        gone = after - stored,
        again = cursor.saturating_sub(after),
        "the database lacks records that were delivered to it: is it an older copy? What the journal \
         still keeps is delivered again"
    );
    let mut reader = journal.reader(after);
    let mut reached = after;
    while reached < cursor {
        let mut batch = Batch::new(gateway_id);
        let read = tokio::task::block_in_place(|| {
            reader.read(BATCH_RECORDS, BATCH_BYTES, |seq, bytes| {
                batch.push(seq, bytes)
            })
        });
        read.context("read the records that the journal still keeps")?;
        let Some(last) = batch.last_seq() else {
            break;
        };
        if let Err(away) = sink.deliver(Arc::new(batch)).await {
            // The next start compares again.
            tracing::error!(%away, "the database does not take them now; they are tried again at the next start");
            return Ok(());
        }
        reached = last;
    }
    Ok(())
}
