//! Connections that an operator closes. The request names the epoch, so a charger that has connected again meanwhile keeps
//! its new connection.

use super::Commands;
use crate::connection::control::OrderedClose;
use central::model::ChargerKey;
use central::ports::{Disconnect, Heard, Unavailable};

/// Requests of one query; more follow in the next round.
const REQUESTS_MAX: usize = 256;

impl Commands {
    /// Tells the connections that operators want closed to end, and stores that they were told.
    ///
    /// A process that is killed in between has closed all of its connections. A request whose result could not be stored is
    /// carried out again, which changes nothing: the connection has ended.
    pub(super) fn close_by_operator(&self) -> Result<(), Unavailable> {
        let Some(disconnects) = &self.disconnects else {
            return Ok(());
        };
        let now = disconnects.time()?;
        let requests = disconnects.disconnects_of(self.gateway, now, REQUESTS_MAX)?;
        if requests.is_empty() {
            return Ok(());
        }
        let heard: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let id = request.id;
                let was_held = self.tell(request);
                (id, Heard { at: now, was_held })
            })
            .collect();
        disconnects.heard_disconnects(&heard)
    }

    /// Whether the connection is here.
    fn tell(&self, request: Disconnect) -> bool {
        let control = self.registry.find(&ChargerKey::of(&request.charger_id));
        let Some(control) = control.filter(|control| control.epoch == request.epoch) else {
            return false;
        };
        control.close_by_operator(OrderedClose {
            code: request.code,
            reason: request.reason,
        });
        true
    }
}
