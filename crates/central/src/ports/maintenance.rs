//! What a process checks of its database, and the work that the database needs regularly.

use super::Unavailable;
use crate::record::{GatewayId, Seq};
use crate::time::Timestamp;

/// Checks of the database and its maintenance. Calls block.
///
/// Laws: a sequence number counts as stored once its record is a message or a dead letter, also one that was discarded.
/// A maintenance round changes nothing that [`QueryStore`](super::QueryStore) returns, except that rows past the
/// retention are gone. It may run in several processes at once and beside [`Store::apply`](super::Store::apply);
/// a round that fails keeps what it has done, and the next one does the rest.
pub trait Maintenance: Send + Sync + 'static {
    /// Checks whether the database can be used now: written, or only read where it was opened read-only.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn ping(&self) -> Result<(), Unavailable>;

    /// The greatest journal sequence number stored of this gateway; `None` if none is. One index lookup, however
    /// long the history.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn last_seq(&self, gateway: GatewayId) -> Result<Option<Seq>, Unavailable>;

    /// Which of the journal sequence numbers `first` to `last` of this gateway are stored, in any order. Memory
    /// and time grow with the range: ask for some thousand numbers at a time.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn stored_seqs(
        &self,
        gateway: GatewayId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Seq>, Unavailable>;

    /// One maintenance round: creates the partitions of the days around `now` and deletes what is past the
    /// retention. Cheap when there is nothing to do. Returns [`Maintenance::lacks_durability`].
    ///
    /// # Errors
    /// When the database cannot be used.
    fn maintain(&self, now: Timestamp) -> Result<Option<String>, Unavailable>;

    /// When the oldest message that is kept was received, as far as that is known without reading them: the beginning of
    /// its day at the earliest. `None` if there is none.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn oldest_message(&self) -> Result<Option<Timestamp>, Unavailable>;

    /// Why a power cut may lose what the database has reported as committed: one sentence with the setting and the
    /// remedy; `None` when it cannot.
    ///
    /// # Errors
    /// When the database cannot be asked now.
    fn lacks_durability(&self) -> Result<Option<String>, Unavailable>;
}
