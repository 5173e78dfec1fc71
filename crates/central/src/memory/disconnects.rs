//! Requests to close connections, in memory.

use crate::ports::{
    DatabaseClock, Disconnect, DisconnectRequest, Disconnects, Heard, NotConnected, Once,
    Unavailable,
};
use crate::record::GatewayId;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// An implementation of [`Disconnects`] for tests. It has no audit log.
#[derive(Debug, Default)]
pub struct MemoryDisconnects {
    contents: Mutex<Contents>,
    time: Timestamp,
}

#[derive(Debug, Default)]
struct Contents {
    requests: Vec<(Disconnect, Option<Heard>)>,
    /// By requester and key: the digest and what was done.
    keys: BTreeMap<(String, String), ([u8; 32], Disconnect)>,
}

impl MemoryDisconnects {
    /// With this time, which stands still.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Nothing between two changes of the contents panics, so they are consistent.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DatabaseClock for MemoryDisconnects {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        Ok(self.time)
    }
}

impl Disconnects for MemoryDisconnects {
    fn request_disconnect(
        &self,
        wanted: &DisconnectRequest,
    ) -> Result<Once<Disconnect, NotConnected>, Unavailable> {
        let mut contents = self.contents();
        let request = &wanted.request;
        let once = request.idempotency.as_ref().map(|idempotency| {
            let key = (request.requested_by().to_owned(), idempotency.key.clone());
            (key, idempotency.digest)
        });
        if let Some((key, digest)) = &once
            && let Some((known, done)) = contents.keys.get(key)
        {
            return Ok(match known == digest {
                true => Once::Repeated(done.clone()),
                false => Once::Mismatch,
            });
        }
        let request = match wanted.accept() {
            Ok(request) => request,
            Err(refused) => return Ok(Once::Refused(refused)),
        };
        contents.requests.push((request.clone(), None));
        if let Some((key, digest)) = once {
            contents.keys.insert(key, (digest, request.clone()));
        }
        Ok(Once::Done(request))
    }

    fn disconnect_heard(&self, id: Uuid) -> Result<Option<Heard>, Unavailable> {
        let contents = self.contents();
        let found = contents.requests.iter().find(|(known, _)| known.id == id);
        Ok(found.and_then(|(_, heard)| *heard))
    }

    fn disconnects_of(
        &self,
        gateway: GatewayId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Disconnect>, Unavailable> {
        let contents = self.contents();
        let waiting = contents.requests.iter().filter(|(request, heard)| {
            request.gateway_id == gateway && heard.is_none() && request.expires_at > now
        });
        Ok(waiting
            .map(|(request, _)| request.clone())
            .take(max)
            .collect())
    }

    fn heard_disconnects(&self, heard: &[(Uuid, Heard)]) -> Result<(), Unavailable> {
        let mut contents = self.contents();
        for (request, known) in &mut contents.requests {
            let said = heard.iter().find(|(id, _)| *id == request.id);
            *known = known.or(said.map(|(_, heard)| *heard));
        }
        Ok(())
    }
}
