//! Refused handshakes: gateways count them, the API lists them.

use super::{QueryError, Unavailable};
use crate::model::{Origin, RefusedHandshake, RefusedHandshakeView};
use crate::query::{HandshakeFilter, Page, PageRequest};

/// Stores refused handshakes. Calls block.
///
/// Laws: refusals with one [`RefusedHandshake::key`] are one row, whichever gateways report them. There are never more rows
/// than [`REFUSED_HANDSHAKES_MAX`](crate::model::REFUSED_HANDSHAKES_MAX), nor more of one address than
/// [`REFUSED_PER_ADDRESS_MAX`](crate::model::REFUSED_PER_ADDRESS_MAX). A change of a charger's settings deletes its rows,
/// because they say what was true before; for the same
/// reason no row is added of a refusal that was judged by an older directory
/// ([`RefusedHandshake::is_before`](crate::model::RefusedHandshake::is_before)): gateways learn of a change seconds later,
/// and report what they have refused seconds later.
pub trait Handshakes: Send + Sync + 'static {
    /// Adds what one gateway has refused since its last call; no two rows have one key. A new row has the event
    /// `charger.refused`, at most [`REFUSED_EVENTS_PER_CALL_MAX`](crate::model::REFUSED_EVENTS_PER_CALL_MAX) of one call,
    /// and not if its address has more than
    /// [`REFUSED_EVENTS_PER_ADDRESS_MAX`](crate::model::REFUSED_EVENTS_PER_ADDRESS_MAX) rows of the last hour, so that a
    /// flood of random identities does not fill the log of events.
    ///
    /// # Errors
    /// When the database refuses; then nothing is added, or it is and was not reported.
    fn add_refused(&self, refused: &[RefusedHandshake]) -> Result<(), Unavailable>;

    /// The rows, the one that was added last first.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn refused(
        &self,
        filter: &HandshakeFilter,
        page: &PageRequest,
    ) -> Result<Page<RefusedHandshakeView>, QueryError>;

    /// Deletes one row, with an entry in the audit log. `false` if there is none. It comes back with the next refusal.
    ///
    /// # Errors
    /// When the database refuses.
    fn dismiss_refused(&self, no: i64, origin: &Origin) -> Result<bool, Unavailable>;
}
