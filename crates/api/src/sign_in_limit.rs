//! The limit of failed sign-ins with a password, by address and by user name.
//!
//! Each address and each name has a number of attempts, which come back with time; a successful sign-in takes none. A name
//! has more of them, and gets them back faster, than any one address can use: so no address alone can keep a user out.
//!
//! Time is that of a clock that is never set: were the clock of the machine set back, attempts would come back only when it
//! has caught up, and a user would be kept out until then.

use common::lock::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

/// Attempts of an address.
pub(crate) const ADDRESS: Limit = Limit {
    attempts: 10.0,
    back_after_ms: 15_000.0,
};
/// Attempts for a name, by all addresses together.
pub(crate) const NAME: Limit = Limit {
    attempts: 100.0,
    back_after_ms: 5_000.0,
};
/// Addresses and names that are known at once. Of more, the one is forgotten that has used the fewest attempts.
const KNOWN_MAX: usize = 10_000;

/// How many attempts there are, and how fast one comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    attempts: f64,
    back_after_ms: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    /// An address; of IPv6 the /64, which one client can have whole.
    Address(IpAddr),
    Name(String),
}

impl Who {
    const fn limit(&self) -> Limit {
        match self {
            Self::Address(_) => ADDRESS,
            Self::Name(_) => NAME,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Used {
    attempts: f64,
    at_ms: i64,
}

impl Used {
    fn now(self, limit: Limit, now_ms: i64) -> f64 {
        let back = now_ms.saturating_sub(self.at_ms).max(0) as f64 / limit.back_after_ms;
        (self.attempts - back).max(0.0)
    }
}

/// The failed sign-ins of this process.
#[derive(Debug)]
pub(crate) struct SignInLimit {
    began: Instant,
    used: Mutex<HashMap<Who, Used>>,
}

impl Default for SignInLimit {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            used: Mutex::default(),
        }
    }
}

impl SignInLimit {
    /// Takes an attempt before the password is looked at, so that attempts at the same time count too.
    ///
    /// # Errors
    /// There is none left: the seconds until there is one.
    pub(crate) fn take(&self, address: IpAddr, name: &str) -> Result<(), u32> {
        let now_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.take_at(address, name, now_ms)
    }

    /// As [`SignInLimit::take`], so many milliseconds after the start.
    fn take_at(&self, address: IpAddr, name: &str, now_ms: i64) -> Result<(), u32> {
        let mut used = lock(&self.used);
        let both = both(address, name);
        for who in &both {
            let limit = who.limit();
            let spent = used.get(who).map_or(0.0, |used| used.now(limit, now_ms));
            let missing = spent + 1.0 - limit.attempts;
            if missing > 0.0 {
                return Err((missing * limit.back_after_ms / 1_000.0).ceil() as u32);
            }
        }
        for who in both {
            let limit = who.limit();
            let spent = used.get(&who).map_or(0.0, |used| used.now(limit, now_ms));
            if used.len() >= KNOWN_MAX && !used.contains_key(&who) {
                forget(&mut used, now_ms);
            }
            let after = Used {
                attempts: spent + 1.0,
                at_ms: now_ms,
            };
            used.insert(who, after);
        }
        Ok(())
    }

    /// Gives the attempt back: it has succeeded.
    pub(crate) fn give_back(&self, address: IpAddr, name: &str) {
        let mut used = lock(&self.used);
        for who in both(address, name) {
            if let Some(used) = used.get_mut(&who) {
                used.attempts = (used.attempts - 1.0).max(0.0);
            }
        }
    }
}

fn both(address: IpAddr, name: &str) -> [Who; 2] {
    let address = match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address @ IpAddr::V4(_) => address,
    };
    [Who::Address(address), Who::Name(name.to_owned())]
}

/// Makes room: forgets those that have all their attempts again, or else the one with the most left.
fn forget(used: &mut HashMap<Who, Used>, now_ms: i64) {
    used.retain(|who, used| used.now(who.limit(), now_ms) > 0.0);
    if used.len() < KNOWN_MAX {
        return;
    }
    let share = |(who, used): &(&Who, &Used)| used.now(who.limit(), now_ms) / who.limit().attempts;
    let least = used
        .iter()
        .min_by(|one, other| share(one).total_cmp(&share(other)));
    if let Some(least) = least.map(|(who, _)| who.clone()) {
        used.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_has_ten_attempts_and_one_more_each_fifteen_seconds() {
        let limit = SignInLimit::default();
        for _ in 0..10 {
            assert_eq!(limit.take_at(address(1), "anna", 0), Ok(()));
        }
        assert_eq!(limit.take_at(address(1), "anna", 0), Err(15));
        assert_eq!(limit.take_at(address(1), "berta", 5_000), Err(10));
        assert_eq!(limit.take_at(address(2), "anna", 0), Ok(()));
        assert_eq!(limit.take_at(address(1), "anna", 15_000), Ok(()));
        assert!(limit.take_at(address(1), "anna", 15_000).is_err());
        // A success takes none.
        limit.give_back(address(1), "anna");
        assert_eq!(limit.take_at(address(1), "anna", 15_000), Ok(()));
    }

    #[test]
    fn one_address_cannot_keep_a_user_out_and_many_cannot_guess_without_a_limit() {
        let limit = SignInLimit::default();
        for second in 0..3_600 {
            let _ = limit.take_at(address(1), "anna", second * 1_000);
        }
        assert_eq!(limit.take_at(address(2), "anna", 3_600_000), Ok(()));
        let limit = SignInLimit::default();
        let tried = (0..=255)
            .filter(|last| limit.take_at(address(*last), "anna", 0).is_ok())
            .count();
        assert_eq!(tried, 100);
        assert_eq!(limit.take_at(address(9), "anna", 0), Err(5));
        assert_eq!(limit.take_at(address(9), "berta", 0), Ok(()));
    }

    #[test]
    fn addresses_of_one_network_are_one_and_the_table_is_bounded() {
        let limit = SignInLimit::default();
        let of = |network: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
        for host in 0..10 {
            assert_eq!(limit.take_at(of(1, host), "anna", 0), Ok(()));
        }
        assert!(limit.take_at(of(1, 99), "anna", 0).is_err());
        for network in 2..9_000_u16 {
            let _ = limit.take_at(of(network, 1), &format!("user-{network}"), 0);
        }
        assert!(lock(&limit.used).len() <= KNOWN_MAX);
        // Who has used up the attempts is not forgotten.
        assert!(limit.take_at(of(1, 99), "anna", 0).is_err());
    }
}
