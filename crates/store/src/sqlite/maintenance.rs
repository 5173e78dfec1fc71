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

    fn maintain(&self, _now: Timestamp) -> Result<Option<String>, Unavailable> {
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
