//! Checks of the database, and its maintenance. A file has no partitions, so a round applies the retention only.

use crate::refusal::Refusal;
use crate::sqlite::{SqliteStore, numbers};
use central::ports::{Maintenance, Unavailable};
use central::{GatewayId, Seq, Timestamp};

impl Maintenance for SqliteStore {
    fn ping(&self) -> Result<(), Unavailable> {
        self.connect().map_err(Refusal::into_unavailable)?;
        if !self.read_only {
            self.transact(|_, _| Ok(()))?;
        }
        Ok(())
    }

    fn last_seq(&self, gateway: GatewayId) -> Result<Option<Seq>, Unavailable> {
        self.readers
            .read(|connection| numbers::last_seq(connection, gateway))
            .map_err(Refusal::into_unavailable)
    }

    fn stored_seqs(
        &self,
        gateway: GatewayId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Seq>, Unavailable> {
        self.readers
            .read(|connection| numbers::stored_seqs(connection, gateway, first, last))
            .map_err(Refusal::into_unavailable)
    }

    fn maintain(&self, now: Timestamp) -> Result<Option<String>, Unavailable> {
        let gone = self.expire(now)?;
        metrics::counter!("wattpost_store_rows_expired_total").increment(gone);
        let (bytes, free_bytes) = self.sizes()?;
        metrics::gauge!("wattpost_store_database_bytes").set(bytes as f64);
        metrics::gauge!("wattpost_store_free_bytes").set(free_bytes as f64);
        if gone > 0 {
            tracing::info!(rows = gone, "rows past the retention were deleted");
        }
        Ok(None)
    }

    fn oldest_message(&self) -> Result<Option<Timestamp>, Unavailable> {
        self.oldest()
    }

    /// Every writing connection sets `synchronous = FULL`.
    fn lacks_durability(&self) -> Result<Option<String>, Unavailable> {
        Ok(None)
    }
}
