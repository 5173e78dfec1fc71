//! Transaction ids of OCPP 1.6, derived from the start's content, so that a resend gets the same id from any gateway,
//! after a restart, and without a database. Why a hash, and what a collision causes: `docs/adr/0002-transaction-ids.md`.

use crate::actions::v16::start_transaction::natural_key;
use crate::model::ChargerKey;
use crate::natural_key::StableHasher;

/// Domain of an id's hash; never change it, chargers hold the ids.
const DOMAIN: &str = "wattpost transaction id 1";

/// Domain of the hash of a further session's id with an equal start; never change it.
const NEXT_DOMAIN: &str = "wattpost next transaction id 1";

/// The transaction id for this StartTransaction of this charger: 1 to 2,147,483,647 (rule Q-16), the same for the same
/// connector, token, time and meter reading as the charger wrote them. A payload that lacks one of them, or is not JSON,
/// is hashed as a whole.
#[must_use]
pub fn transaction_id(charger: &ChargerKey, payload: &str) -> i32 {
    let hash = natural_key(payload).stable_hash(DOMAIN, charger);
    positive(&hash, None)
}

/// The transaction id for an equal StartTransaction after the session with the id `ended` was stopped: it begins another
/// session, so its id differs from `ended`. It depends on the payload and `ended` only, so that all gateways that know
/// of the stop give the same id.
#[must_use]
pub fn next_transaction_id(charger: &ChargerKey, payload: &str, ended: i64) -> i32 {
    let start = natural_key(payload).stable_hash(NEXT_DOMAIN, charger);
    let mut hasher = StableHasher::new(NEXT_DOMAIN);
    for word in start.chunks_exact(8) {
        hasher.add(&format!("{word:02x?}"));
    }
    hasher.add(&ended.to_string());
    positive(&hasher.finish(), Some(ended))
}

/// The first 31-bit word of a hash that is neither 0 nor `other_than`.
fn positive(hash: &[u8; 32], other_than: Option<i64>) -> i32 {
    hash.chunks_exact(4)
        .map(|word| i32::from_le_bytes([word[0], word[1], word[2], word[3] & 0x7f]))
        .find(|id| *id != 0 && Some(i64::from(*id)) != other_than)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: &str =
        r#"{"connectorId":1,"idTag":"04A1","timestamp":"2026-01-01T00:00:00Z","meterStart":5}"#;

    #[test]
    fn the_id_never_changes_between_builds() {
        // Chargers in the field hold ids that were given by earlier builds.
        assert_eq!(transaction_id(&ChargerKey::of("CP-17"), START), 716_977_429);
    }

    #[test]
    fn an_equal_start_after_a_stop_gets_another_stable_id() {
        let first = transaction_id(&ChargerKey::of("CP-17"), START).into();
        let second = next_transaction_id(&ChargerKey::of("CP-17"), START, first);
        assert_eq!(
            second,
            next_transaction_id(&ChargerKey::of("cp-17"), START, first)
        );
        assert_ne!(i64::from(second), first);
        let third = next_transaction_id(&ChargerKey::of("CP-17"), START, second.into());
        assert_ne!(third, second);
        assert!(second > 0 && third > 0);
    }

    #[test]
    fn letter_case_of_the_identity_does_not_matter() {
        assert_eq!(
            transaction_id(&ChargerKey::of("cp-17"), START),
            transaction_id(&ChargerKey::of("CP-17"), START)
        );
        assert_ne!(
            transaction_id(&ChargerKey::of("CP-18"), START),
            transaction_id(&ChargerKey::of("CP-17"), START)
        );
    }

    proptest! {
        #[test]
        fn the_id_is_positive_and_stable(charger in ".{0,20}", payload in ".{0,80}") {
            let charger = ChargerKey::of(&charger);
            let id = transaction_id(&charger, &payload);
            prop_assert!(id > 0);
            prop_assert_eq!(id, transaction_id(&charger, &payload));
        }
    }
}
