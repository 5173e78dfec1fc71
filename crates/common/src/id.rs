//! New ids. `Uuid::now_v7` panics while the clock of the machine is before 1970, as that of a machine without a battery is
//! until its time service answers; then no request would get an answer and no alert would be evaluated. Clippy refuses it
//! elsewhere.

use crate::clock::since_epoch;
use std::sync::Mutex;
use std::time::Duration;
use uuid::{ContextV7, Timestamp, Uuid};

/// Makes ids of one millisecond ascend.
static COUNTER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A new UUID of version 7 (RFC 9562, section 5.7). Later ones of this process are greater while the clock does not go back.
/// While the clock shows a time before 1970, it has the time zero; it is unique all the same.
#[must_use]
pub fn new_v7() -> Uuid {
    at(since_epoch())
}

fn at(since_epoch: Duration) -> Uuid {
    let (seconds, nanos) = (since_epoch.as_secs(), since_epoch.subsec_nanos());
    Uuid::new_v7(Timestamp::from_unix(&COUNTER, seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_ascend_and_have_the_time() {
        let made: Vec<Uuid> = (0..1_000).map(|_| new_v7()).collect();
        assert!(made.is_sorted_by(|one, next| one < next));
        assert!(made.iter().all(|id| id.get_version_num() == 7));
        let (seconds, _) = made[0].get_timestamp().expect("it has a time").to_unix();
        assert!(since_epoch().as_secs() - seconds < 60);
    }

    #[test]
    fn a_clock_before_1970_makes_unique_ids() {
        // What `since_epoch` returns then.
        let made: BTreeSet<Uuid> = (0..1_000).map(|_| at(Duration::ZERO)).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }
}
