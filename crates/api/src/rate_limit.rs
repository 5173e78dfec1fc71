//! How many requests each key and each user may make: a program in a loop must not take the API from all others.
//!
//! Each has a number of requests that come back with time. A request without a key, which only this machine can make
//! while there is no key, is not counted, and neither is what needs no key (health, metrics, the dashboard's files).
//!
//! Time is that of a clock that is never set.

use common::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

/// The time for which the setting gives the number of requests, in seconds.
pub(crate) const WINDOW_S: u32 = 60;
/// Keys and users that are known at once: more than can exist. Of more, those are forgotten that have all their requests, or
/// else the one that has used the fewest.
const KNOWN_MAX: usize = 4_096;

/// What is left to a key or a user after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Requests in [`WINDOW_S`] seconds.
    pub(crate) requests: u32,
    /// Those that are left now.
    pub(crate) remaining: u32,
    /// The seconds until all are back, at least 1.
    pub(crate) full_in_s: u32,
    /// The seconds until there is one, if there is none.
    pub(crate) retry_in_s: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Used {
    requests: f64,
    at_ms: u64,
}

/// The requests of this process.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// Requests in [`WINDOW_S`] seconds; 0: no limit.
    requests: u32,
    began: Instant,
    used: Mutex<HashMap<String, Used>>,
}

impl RateLimit {
    /// With so many requests in a minute for each; 0: without a limit.
    pub(crate) fn new(requests: u32) -> Self {
        Self {
            requests,
            began: Instant::now(),
            used: Mutex::default(),
        }
    }

    /// Takes a request of `who`, unless none is left; `None` if there is no limit.
    pub(crate) fn take(&self, who: &str) -> Option<Quota> {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.take_at(who, now_ms)
    }

    /// As [`RateLimit::take`], so many milliseconds after the start.
    fn take_at(&self, who: &str, now_ms: u64) -> Option<Quota> {
        if self.requests == 0 {
            return None;
        }
        let most = f64::from(self.requests);
        let per_ms = most / (f64::from(WINDOW_S) * 1_000.0);
        let left_over = |used: &Used| {
            let back = now_ms.saturating_sub(used.at_ms) as f64 * per_ms;
            (used.requests - back).max(0.0)
        };
        let mut used = lock(&self.used);
        let before = used.get(who).map_or(0.0, left_over);
        let seconds = |requests: f64| (requests / per_ms / 1_000.0).ceil().max(1.0) as u32;
        // Times are whole milliseconds, so what has come back is rounded down by less than this.
        let missing = before + 1.0 - most;
        if missing > 1e-9 {
            return Some(Quota {
                requests: self.requests,
                remaining: 0,
                full_in_s: seconds(before),
                retry_in_s: Some(seconds(missing)),
            });
        }
        if used.len() >= KNOWN_MAX && !used.contains_key(who) {
            used.retain(|_, used| left_over(used) > 0.0);
            let fewest = used
                .iter()
                .min_by(|(_, one), (_, other)| left_over(one).total_cmp(&left_over(other)));
            let fewest = fewest.map(|(who, _)| who.clone());
            if used.len() >= KNOWN_MAX
                && let Some(fewest) = fewest
            {
                used.remove(&fewest);
            }
        }
        let requests = before + 1.0;
        let at_ms = now_ms;
        used.insert(who.to_owned(), Used { requests, at_ms });
        Some(Quota {
            requests: self.requests,
            remaining: (most - requests).max(0.0) as u32,
            full_in_s: seconds(requests),
            retry_in_s: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_evenly_and_each_has_its_own() {
        let limit = RateLimit::new(60);
        for left in (0..60).rev() {
            let quota = limit.take_at("key a", 0).expect("a limit");
            assert_eq!((quota.remaining, quota.retry_in_s), (left, None));
        }
        let none = limit.take_at("key a", 0).expect("a limit");
        assert_eq!(
            (none.remaining, none.retry_in_s, none.full_in_s),
            (0, Some(1), 60)
        );
        // A refused request takes none.
        assert_eq!(
            limit
                .take_at("key a", 999)
                .and_then(|quota| quota.retry_in_s),
            Some(1)
        );
        assert_eq!(
            limit.take_at("key a", 1_000).map(|quota| quota.retry_in_s),
            Some(None)
        );
        assert_eq!(
            limit.take_at("user a", 1_000).map(|quota| quota.remaining),
            Some(59)
        );
        let later = limit.take_at("key a", 10_000_000).expect("a limit");
        assert_eq!((later.remaining, later.full_in_s), (59, 1));
    }

    #[test]
    fn the_number_of_those_that_are_known_is_bounded_and_zero_is_no_limit() {
        let limit = RateLimit::new(6_000);
        for who in 0..3 * KNOWN_MAX {
            limit.take_at(&format!("key {who}"), 0);
            limit.take_at("key busy", 0);
        }
        assert!(lock(&limit.used).len() <= KNOWN_MAX);
        let busy = limit.take_at("key busy", 0).expect("a limit");
        assert_eq!(
            busy.remaining, 0,
            "the one that has used the most is not forgotten"
        );
        assert_eq!(RateLimit::new(0).take_at("key a", 0), None);
    }
}
