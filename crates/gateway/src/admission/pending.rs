//! Sockets whose handshake is not finished: how many there may be, in total and from one peer address, and which of them
//! is closed when there are too many.
//!
//! A peer that opens sockets and sends nothing must not block chargers. So a socket that has not sent the whole head
//! of its request (called *silent* here) keeps its place only while no other socket needs it: at a bound the socket that
//! has been silent for longest is closed for the new one; at the bound of an address, one of the same address. A
//! charger's request arrives within a round trip, so no socket is closed for another one before [`STAY_MIN`]. A new
//! socket that finds only younger sockets, or only requests that are being checked, is refused.
//!
//! Only unfinished handshakes count: any number of chargers may be *connected* behind one router or proxy.

use common::lock::lock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A silent socket is not closed for another one before this time: a round trip in a slow mobile network. Without it
/// chargers that reconnect behind one router would close each other's sockets for ever.
pub(crate) const STAY_MIN: Duration = Duration::from_secs(1);
/// A socket younger than this may have sent a request that was not read yet.
const UNREAD: Duration = Duration::from_millis(20);

/// A peer for the bounds by address: an IPv4 address, or the first 64 bits of an IPv6 address, because one customer has
/// all addresses that begin with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerAddress(IpAddr);

impl PeerAddress {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => {
                let network = ip.to_bits() & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// The two bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) total: usize,
    pub(crate) per_address: usize,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Total,
    Address,
}

/// What a new socket gets.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A place; at the bound that is named, another socket was told to close for it.
    Place(Place, Option<Limit>),
    /// None yet: the socket that would be closed may have sent a request that was not read. Try again in a millisecond or
    /// two.
    Soon,
    /// None.
    Full(Limit),
}

/// All sockets whose handshake is not finished.
#[derive(Debug, Clone)]
pub(crate) struct PendingHandshakes {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// By id, so by age.
    silent: BTreeMap<u64, Silent>,
    addresses: HashMap<PeerAddress, Held>,
    count: usize,
    /// Sockets that were told to close; each holds a file handle until its task has run.
    leaving: usize,
}

#[derive(Debug)]
struct Silent {
    address: PeerAddress,
    since: Instant,
    close: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Held {
    count: usize,
    silent: BTreeSet<u64>,
}

impl PendingHandshakes {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            state: Arc::default(),
        }
    }

    /// Sockets beyond the bound that were told to close.
    pub(crate) const fn leaving_max(total: usize) -> usize {
        total / 4 + 1
    }

    /// Asks for a place.
    pub(crate) fn enter(&self, address: PeerAddress, now: Instant) -> Entry {
        self.enter_within(address, self.bounds.per_address, now)
    }

    /// Asks for a place for a socket of a trusted proxy, to which the bound of one address does not apply. The
    /// charger's own address, to which it does, is passed to [`Place::move_to`] later.
    pub(crate) fn enter_from_proxy(&self, address: PeerAddress, now: Instant) -> Entry {
        self.enter_within(address, usize::MAX, now)
    }

    fn enter_within(&self, address: PeerAddress, per_address: usize, now: Instant) -> Entry {
        let mut state = lock(&self.state);
        let of_address = state.addresses.get(&address);
        let (limit, oldest) = if of_address.is_some_and(|held| held.count >= per_address) {
            let oldest = of_address.and_then(|held| held.silent.first().copied());
            (Some(Limit::Address), oldest)
        } else if state.count >= self.bounds.total {
            let oldest = state.silent.first_key_value().map(|(id, _)| *id);
            (Some(Limit::Total), oldest)
        } else {
            (None, None)
        };
        if let Some(limit) = limit {
            let Some((id, silent)) = oldest.and_then(|id| Some((id, state.silent.get(&id)?)))
            else {
                return Entry::Full(limit);
            };
            let age = now.saturating_duration_since(silent.since);
            if age < UNREAD || state.leaving >= Self::leaving_max(self.bounds.total) {
                return Entry::Soon;
            }
            if age < STAY_MIN {
                return Entry::Full(limit);
            }
            silent.close.notify_one();
            state.remove_silent(id);
            state.leaving += 1;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.count += 1;
        let close = Arc::new(Notify::new());
        let held = state.addresses.entry(address).or_default();
        held.count += 1;
        held.silent.insert(id);
        let silent = Silent {
            address,
            since: now,
            close: Arc::clone(&close),
        };
        state.silent.insert(id, silent);
        drop(state);
        let place = Place {
            id,
            address,
            close,
            has_request: false,
            per_address: self.bounds.per_address,
            state: Arc::clone(&self.state),
        };
        Entry::Place(place, limit)
    }

    /// Tells the socket that has been silent for longest to close, whatever its age: file handles have run out.
    pub(crate) fn make_room(&self) {
        let mut state = lock(&self.state);
        if let Some((id, silent)) = state.silent.first_key_value() {
            let id = *id;
            silent.close.notify_one();
            state.remove_silent(id);
            state.leaving += 1;
        }
    }

    /// Number of sockets, with those that were told to close.
    pub(crate) fn len(&self) -> usize {
        let state = lock(&self.state);
        state.count + state.leaving
    }
}

impl State {
    /// Frees the place of a silent socket.
    fn remove_silent(&mut self, id: u64) {
        if let Some(silent) = self.silent.remove(&id) {
            self.leave(silent.address, id);
        }
    }

    fn leave(&mut self, address: PeerAddress, id: u64) {
        self.count -= 1;
        if let Some(held) = self.addresses.get_mut(&address) {
            held.count -= 1;
            held.silent.remove(&id);
            if held.count == 0 {
                self.addresses.remove(&address);
            }
        }
    }
}

/// A place among the unfinished handshakes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    address: PeerAddress,
    close: Arc<Notify>,
    has_request: bool,
    per_address: usize,
    state: Arc<Mutex<State>>,
}

impl Place {
    /// The socket's charger has this address, which its proxy has named. At the bound of that address, its socket that has
    /// been silent for longest is closed for this one.
    ///
    /// # Errors
    /// With the bound, if there is no such socket: this one must be refused.
    pub(crate) fn move_to(&mut self, address: PeerAddress, now: Instant) -> Result<(), Limit> {
        let mut state = lock(&self.state);
        let is_silent = state.silent.contains_key(&self.id);
        if address == self.address || !(is_silent || self.has_request) {
            return Ok(());
        }
        let at_bound = state.addresses.get(&address);
        if let Some(held) = at_bound.filter(|held| held.count >= self.per_address) {
            let oldest = held.silent.first().copied();
            let oldest = oldest.and_then(|id| Some((id, state.silent.get(&id)?)));
            let Some((id, silent)) = oldest
                .filter(|(_, silent)| now.saturating_duration_since(silent.since) >= STAY_MIN)
            else {
                return Err(Limit::Address);
            };
            silent.close.notify_one();
            state.remove_silent(id);
            state.leaving += 1;
        }
        state.leave(self.address, self.id);
        state.count += 1;
        let held = state.addresses.entry(address).or_default();
        held.count += 1;
        if is_silent {
            held.silent.insert(self.id);
        }
        if let Some(silent) = state.silent.get_mut(&self.id) {
            silent.address = address;
        }
        self.address = address;
        Ok(())
    }

    /// Waits until another socket needs the place.
    pub(crate) async fn must_close(&self) {
        self.close.notified().await;
    }

    /// Whether it still waits for its request, and was not told to close.
    pub(crate) fn is_silent(&self) -> bool {
        lock(&self.state).silent.contains_key(&self.id)
    }

    /// The whole head of the request has arrived: from now on the socket is not closed for another one. False if it was
    /// told to close before.
    pub(crate) fn request_arrived(&mut self) -> bool {
        let mut state = lock(&self.state);
        self.has_request = state.silent.remove(&self.id).is_some();
        if let Some(held) = state.addresses.get_mut(&self.address) {
            held.silent.remove(&self.id);
        }
        self.has_request
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if self.has_request {
            state.leave(self.address, self.id);
        } else if state.silent.contains_key(&self.id) {
            state.remove_silent(self.id);
        } else {
            // It was told to close, and its place has belonged to the new socket since then.
            state.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(total: usize, per_address: usize) -> PendingHandshakes {
        PendingHandshakes::new(Bounds { total, per_address })
    }

    fn address(last: u8) -> PeerAddress {
        PeerAddress::of(IpAddr::from([192, 0, 2, last]))
    }

    fn place(entry: Entry) -> Place {
        match entry {
            Entry::Place(place, _) => place,
            Entry::Soon | Entry::Full(_) => panic!("{entry:?}"),
        }
    }

    async fn is_told_to_close(place: &Place) -> bool {
        tokio::time::timeout(Duration::from_millis(20), place.must_close())
            .await
            .is_ok()
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let of = |text: &str| PeerAddress::of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff::7"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_eq!(of("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[tokio::test]
    async fn at_the_bound_of_an_address_its_oldest_silent_socket_is_closed() {
        let all = unfinished(100, 2);
        let start = Instant::now();
        let elsewhere = place(all.enter(address(9), start));
        let first = place(all.enter(address(1), start));
        let second = place(all.enter(address(1), start));
        let entry = all.enter(address(1), start + STAY_MIN);
        assert!(matches!(&entry, Entry::Place(_, Some(Limit::Address))));
        assert!(is_told_to_close(&first).await);
        assert!(!is_told_to_close(&second).await && !is_told_to_close(&elsewhere).await);
        assert_eq!(all.len(), 4, "the closed one still has its file handle");
        drop(first);
        assert_eq!(all.len(), 3);
        drop((second, entry, elsewhere));
        assert_eq!(all.len(), 0);
        assert!(lock(&all.state).addresses.is_empty());
    }

    #[tokio::test]
    async fn at_the_total_bound_the_oldest_silent_socket_is_closed() {
        let all = unfinished(2, 2);
        let start = Instant::now();
        let mut asked = place(all.enter(address(1), start));
        assert!(asked.request_arrived());
        let silent = place(all.enter(address(2), start));
        let entry = all.enter(address(3), start + STAY_MIN);
        assert!(matches!(entry, Entry::Place(_, Some(Limit::Total))));
        assert!(is_told_to_close(&silent).await && !is_told_to_close(&asked).await);
    }

    #[test]
    fn a_socket_with_a_request_is_not_closed_for_a_new_one() {
        let all = unfinished(8, 1);
        let start = Instant::now();
        let mut asked = place(all.enter(address(1), start));
        assert!(asked.request_arrived());
        let late = start + STAY_MIN * 10;
        assert!(matches!(
            all.enter(address(1), late),
            Entry::Full(Limit::Address)
        ));
        drop(asked);
        assert!(matches!(all.enter(address(1), late), Entry::Place(_, None)));
    }

    #[test]
    fn a_silent_socket_is_not_closed_before_its_minimum_stay() {
        let all = unfinished(1, 1);
        let start = Instant::now();
        let mut first = place(all.enter(address(1), start));
        assert!(matches!(all.enter(address(1), start), Entry::Soon));
        let later = start + UNREAD;
        assert!(matches!(all.enter(address(1), later), Entry::Full(_)));
        let late = start + STAY_MIN;
        let _second = place(all.enter(address(1), late));
        assert!(!first.request_arrived(), "it was told to close before");
    }

    #[tokio::test]
    async fn sockets_of_a_trusted_proxy_count_for_the_address_that_it_names() {
        let all = unfinished(100, 2);
        let start = Instant::now();
        let proxy = address(250);
        let enter = |at| place(all.enter_from_proxy(proxy, at));
        let mut behind: Vec<_> = (0..10).map(|_| enter(start)).collect();
        for (i, one) in behind.iter_mut().enumerate() {
            let charger = address(u8::try_from(i).expect("few"));
            assert_eq!(one.move_to(charger, start), Ok(()));
        }
        // One address behind the proxy has its bound.
        let (mut second, mut third) = (enter(start), enter(start));
        assert_eq!(second.move_to(address(0), start), Ok(()));
        assert_eq!(third.move_to(address(0), start), Err(Limit::Address));
        let late = start + STAY_MIN;
        assert_eq!(third.move_to(address(0), late), Ok(()));
        assert!(is_told_to_close(&behind[0]).await && !is_told_to_close(&second).await);
        // A socket whose request has arrived keeps its place under its new address.
        let mut asked = enter(late);
        assert!(asked.request_arrived());
        assert_eq!(asked.move_to(address(77), late), Ok(()));
        assert_eq!(lock(&all.state).addresses[&address(77)].count, 1);
        drop((behind, second, third, asked));
        assert_eq!(all.len(), 0);
        assert!(lock(&all.state).addresses.is_empty());
    }

    #[test]
    fn sockets_that_were_told_to_close_are_bounded() {
        let all = unfinished(4, 4);
        let mut now = Instant::now();
        let mut stuck = Vec::new();
        for _ in 0..4 + PendingHandshakes::leaving_max(4) {
            stuck.push(place(all.enter(address(1), now)));
            now += STAY_MIN;
        }
        assert!(matches!(all.enter(address(1), now), Entry::Soon));
        assert_eq!(all.len(), 4 + PendingHandshakes::leaving_max(4));
        stuck.remove(0);
        assert!(matches!(
            all.enter(address(1), now),
            Entry::Place(_, Some(Limit::Address))
        ));
    }

    #[tokio::test]
    async fn without_file_handles_the_oldest_silent_socket_is_closed_at_once() {
        let all = unfinished(8, 8);
        let now = Instant::now();
        all.make_room();
        let first = place(all.enter(address(1), now));
        let second = place(all.enter(address(2), now));
        all.make_room();
        assert!(is_told_to_close(&first).await && !is_told_to_close(&second).await);
    }
}
