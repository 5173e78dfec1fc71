//! Idempotency keys of imports in memory.

use crate::import::{Applied, Verdict};
use crate::ports::{ChangeRequest, IDEMPOTENCY_KEPT_MS, Once};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// By requester and key: the digest, the result and the time.
#[derive(Debug, Default)]
pub(super) struct ImportKeys(BTreeMap<(String, String), ([u8; 32], Applied, Timestamp)>);

impl ImportKeys {
    /// Applies an import, unless the same request was made before.
    pub(super) fn once(
        &mut self,
        request: &ChangeRequest,
        effect: impl FnOnce() -> Result<Applied, Vec<Verdict>>,
    ) -> Once<Applied, Vec<Verdict>> {
        let now = request.origin.at;
        let key = request.idempotency.as_ref().map(|idempotency| {
            let requester = request.requested_by().to_owned();
            ((requester, idempotency.key.clone()), idempotency.digest)
        });
        if let Some((key, digest)) = &key
            && let Some((known, applied, at)) = self.0.get(key)
            && at.plus_millis(IDEMPOTENCY_KEPT_MS) >= now
        {
            return match known == digest {
                true => Once::Repeated(applied.clone()),
                false => Once::Mismatch,
            };
        }
        match effect() {
            Err(verdicts) => Once::Refused(verdicts),
            Ok(applied) => {
                if let Some((key, digest)) = key {
                    self.0.insert(key, (digest, applied.clone(), now));
                }
                Once::Done(applied)
            }
        }
    }
}
