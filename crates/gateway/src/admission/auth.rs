//! Checks a charger's Basic-auth password (security profile 1) and prevents reconnecting chargers, or a peer that
//! guesses passwords, from using up the cores that answers need.
//!
//! Argon2 takes tens of milliseconds on purpose, except for passwords that Wattpost has generated, which nobody can guess. So it runs on blocking threads, few at a time, and its result is cached
//! under a keyed hash of (stored hash, password): a reconnect of a charger that was checked before costs one BLAKE3.
//! Passwords are never logged and never stored.
//!
//! Checks wait in a queue. One peer address and one identity each have a share of it, so that neither one address that
//! guesses nor one charger's identity can fill it.

use crate::admission::pending::PeerAddress;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use central::model::ChargerKey;
use common::lock::lock;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Cached results, of correct and of wrong passwords each; 32 bytes each. When full, all are dropped, which costs one
/// Argon2 per charger.
const CACHED_MAX: usize = 65_536;

/// Checks that may wait for each concurrent one. More would wait for longer than a handshake may take.
const QUEUED_PER_CHECK: usize = 128;
/// Of these, checks from one address. Enough to keep one check running, so that chargers behind one proxy do not wait
/// longer.
const QUEUED_PER_ADDRESS: usize = QUEUED_PER_CHECK / 8;
/// Of these, checks of one identity from one address, for any number of concurrent checks: a charger has one
/// connection. Counted by address too, so that a peer at another address cannot block a charger by using its identity.
const QUEUED_PER_IDENTITY: usize = 4;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Correct,
    Wrong,
    /// The stored hash is not an Argon2 PHC string.
    Unusable,
    /// Too many checks wait already.
    Busy(Share),
}

/// The share of the queue that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Total,
    Address,
    Identity,
}

impl Share {
    pub(crate) const ALL: [Self; 3] = [Self::Total, Self::Address, Self::Identity];

    /// As in labels of metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::Identity => "identity",
        }
    }
}

type Digest = [u8; 32];

/// The gateway's password checks.
pub(crate) struct Passwords {
    key: [u8; 32],
    permits: Arc<Semaphore>,
    /// The checks that wait for a permit.
    queue: Queue,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    good: HashSet<Digest>,
    bad: HashSet<Digest>,
}

impl Passwords {
    pub(crate) fn new(checks_max: usize) -> Self {
        Self {
            key: random_key(),
            permits: Arc::new(Semaphore::new(checks_max)),
            queue: Queue {
                checks_max,
                waiting: Mutex::default(),
            },
            cache: Mutex::default(),
        }
    }

    /// Checks `password` against `stored` (Argon2, PHC string): as it was sent, as the hex text of its bytes, or as the
    /// bytes that its hex text stands for (rule S-4).
    pub(crate) async fn check(
        &self,
        stored: &str,
        password: &[u8],
        address: PeerAddress,
        charger: &ChargerKey,
    ) -> Verdict {
        let digest = self.digest(stored, password);
        if let Some(verdict) = self.recall(&digest) {
            return verdict;
        }
        let _place = match self.queue.enter(address, charger) {
            Ok(place) => place,
            Err(share) => return Verdict::Busy(share),
        };
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return Verdict::Wrong;
        };
        // Another connection of the same charger may have been checked meanwhile.
        if let Some(verdict) = self.recall(&digest) {
            return verdict;
        }
        let (stored, password) = (stored.to_owned(), password.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            verify(&stored, &password)
        })
        .await;
        let verdict = checked.unwrap_or(Verdict::Wrong);
        self.remember(digest, verdict);
        verdict
    }

    /// No check begins until the permits are dropped.
    #[cfg(test)]
    pub(crate) async fn hold_checks(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(self.queue.checks_max).expect("few");
        let permits = Arc::clone(&self.permits).acquire_many_owned(all).await;
        permits.expect("is never closed")
    }

    /// How many of one address may wait.
    #[cfg(test)]
    pub(crate) const fn address_share(&self) -> usize {
        self.queue.checks_max * QUEUED_PER_ADDRESS
    }

    /// Passwords that wait for their check, or are being checked.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queue.lock().total
    }

    fn digest(&self, stored: &str, password: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(stored.len() as u64).to_le_bytes());
        hasher.update(stored.as_bytes());
        hasher.update(password);
        *hasher.finalize().as_bytes()
    }

    fn recall(&self, digest: &Digest) -> Option<Verdict> {
        let cache = lock(&self.cache);
        if cache.good.contains(digest) {
            return Some(Verdict::Correct);
        }
        cache.bad.contains(digest).then_some(Verdict::Wrong)
    }

    fn remember(&self, digest: Digest, verdict: Verdict) {
        let mut cache = lock(&self.cache);
        let set = match verdict {
            Verdict::Correct => &mut cache.good,
            Verdict::Wrong => &mut cache.bad,
            Verdict::Unusable | Verdict::Busy(_) => return,
        };
        if set.len() >= CACHED_MAX {
            set.clear();
        }
        set.insert(digest);
    }
}

/// From the operating system's generator: 244 random bits, hashed.
fn random_key() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("wattpost gateway verdicts on passwords");
    hasher.update(Uuid::new_v4().as_bytes());
    hasher.update(Uuid::new_v4().as_bytes());
    *hasher.finalize().as_bytes()
}

/// The checks that wait or run.
struct Queue {
    checks_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    total: usize,
    addresses: HashMap<PeerAddress, usize>,
    chargers: HashMap<(PeerAddress, ChargerKey), usize>,
}

impl Queue {
    fn enter(&self, address: PeerAddress, charger: &ChargerKey) -> Result<InQueue<'_>, Share> {
        let mut waiting = self.lock();
        let of_address = waiting.addresses.get(&address).copied().unwrap_or(0);
        let with_charger = (address, charger.clone());
        let of_charger = waiting.chargers.get(&with_charger).copied();
        if of_charger.unwrap_or(0) >= QUEUED_PER_IDENTITY {
            return Err(Share::Identity);
        }
        if of_address >= self.checks_max * QUEUED_PER_ADDRESS {
            return Err(Share::Address);
        }
        if waiting.total >= self.checks_max * QUEUED_PER_CHECK {
            return Err(Share::Total);
        }
        waiting.total += 1;
        *waiting.addresses.entry(address).or_default() += 1;
        *waiting.chargers.entry(with_charger.clone()).or_default() += 1;
        Ok(InQueue {
            queue: self,
            with_charger,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

/// A place in the queue, until this is dropped.
struct InQueue<'a> {
    queue: &'a Queue,
    with_charger: (PeerAddress, ChargerKey),
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.total -= 1;
        one_less(&mut waiting.addresses, &self.with_charger.0);
        one_less(&mut waiting.chargers, &self.with_charger);
    }
}

fn one_less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn verify(stored: &str, password: &[u8]) -> Verdict {
    let Ok(hash) = PasswordHash::new(stored) else {
        return Verdict::Unusable;
    };
    let fits = candidates(password)
        .iter()
        .any(|candidate| Argon2::default().verify_password(candidate, &hash).is_ok());
    if fits {
        Verdict::Correct
    } else {
        Verdict::Wrong
    }
}

/// The passwords that the header's bytes may stand for, likeliest first.
fn candidates(password: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![password.to_vec()];
    // An AuthorizationKey of 1.6 has 16 to 20 bytes, 32 to 40 hex digits.
    if (16..=20).contains(&password.len()) {
        let upper = hex(password, b"0123456789ABCDEF");
        let lower = hex(password, b"0123456789abcdef");
        if lower != upper {
            all.push(lower);
        }
        all.push(upper);
    }
    if (32..=40).contains(&password.len())
        && let Some(bytes) = unhex(password)
    {
        all.push(bytes);
        for other in [password.to_ascii_lowercase(), password.to_ascii_uppercase()] {
            if other != password {
                all.push(other);
            }
        }
    }
    all
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| {
            [
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]
        })
        .collect()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.chunks(2)
        .map(|pair| {
            let [high, low] = pair else { return None };
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::PasswordHasher;
    use argon2::{Algorithm, Params, Version};

    fn stored(password: &[u8]) -> String {
        let params = Params::new(8, 1, 1, None).expect("small but allowed");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password)
            .expect("hashes")
            .to_string()
    }

    fn address(last: u8) -> PeerAddress {
        PeerAddress::of([192, 0, 2, last].into())
    }

    async fn check(passwords: &Passwords, stored: &str, password: &[u8]) -> Verdict {
        let charger = ChargerKey::of("cp-1");
        passwords
            .check(stored, password, address(1), &charger)
            .await
    }

    #[tokio::test]
    async fn quirk_05_a_hex_key_may_come_as_text_or_as_bytes() {
        let bytes = *b"\x00\x01colon:\xfe\xff and more";
        assert_eq!(bytes.len(), 19);
        let upper = hex(&bytes, b"0123456789ABCDEF");
        let lower = upper.to_ascii_lowercase();
        let passwords = Passwords::new(1);
        for set in [&bytes[..], &upper, &lower] {
            let stored = stored(set);
            for sent in [&bytes[..], &upper, &lower] {
                assert_eq!(
                    check(&passwords, &stored, sent).await,
                    Verdict::Correct,
                    "{set:?} {sent:?}"
                );
            }
            assert_eq!(check(&passwords, &stored, b"other").await, Verdict::Wrong);
            assert_eq!(check(&passwords, &stored, b"").await, Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn a_result_is_cached_only_for_the_same_stored_hash() {
        let passwords = Passwords::new(1);
        let (old, new) = (stored(b"secret"), stored(b"changed"));
        assert_eq!(check(&passwords, &old, b"secret").await, Verdict::Correct);
        assert_eq!(
            passwords.recall(&passwords.digest(&old, b"secret")),
            Some(Verdict::Correct)
        );
        assert_eq!(passwords.recall(&passwords.digest(&new, b"secret")), None);
        assert_eq!(check(&passwords, &new, b"secret").await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn an_unusable_stored_hash_accepts_no_password() {
        let passwords = Passwords::new(1);
        assert_eq!(
            check(&passwords, "secret", b"secret").await,
            Verdict::Unusable
        );
    }

    async fn guess(
        passwords: &Arc<Passwords>,
        stored: &str,
        host: u8,
        identity: String,
    ) -> tokio::task::JoinHandle<Verdict> {
        let (stored, passwords) = (stored.to_owned(), Arc::clone(passwords));
        let guessing = tokio::spawn(async move {
            let guess = fastrand::u128(..).to_le_bytes();
            let charger = ChargerKey::of(&identity);
            passwords
                .check(&stored, &guess, address(host), &charger)
                .await
        });
        // It is in the queue, or refused.
        tokio::task::yield_now().await;
        guessing
    }

    #[tokio::test]
    async fn one_address_and_one_identity_each_have_a_share_of_the_queue() {
        let passwords = Arc::new(Passwords::new(1));
        let stored = stored(b"secret");
        // Nothing is checked meanwhile, so the queue stays as it is while it is looked at.
        let permits = Arc::clone(&passwords.permits);
        let _busy = permits.acquire_owned().await.expect("never closed");
        let mut guesses = Vec::new();
        for i in 0..QUEUED_PER_ADDRESS * 3 {
            guesses.push(guess(&passwords, &stored, 66, format!("guessed-{i}")).await);
        }
        let waiting = || passwords.queue.lock().total;
        assert_eq!(waiting(), QUEUED_PER_ADDRESS);
        let charger = ChargerKey::of("guessed");
        let again = passwords.check(&stored, b"x", address(66), &charger).await;
        assert_eq!(again, Verdict::Busy(Share::Address));

        for _ in 0..QUEUED_PER_IDENTITY * 3 {
            guesses.push(guess(&passwords, &stored, 67, "cp-1".to_owned()).await);
        }
        assert_eq!(waiting(), QUEUED_PER_ADDRESS + QUEUED_PER_IDENTITY);
        let charger = ChargerKey::of("cp-1");
        let again = passwords.check(&stored, b"x", address(67), &charger).await;
        assert_eq!(again, Verdict::Busy(Share::Identity));
        // Neither blocks the charger itself, whatever its address.
        let owner = guess(&passwords, &stored, 1, "cp-1".to_owned()).await;
        assert_eq!(waiting(), QUEUED_PER_ADDRESS + QUEUED_PER_IDENTITY + 1);

        for guess in guesses.iter().chain([&owner]) {
            guess.abort();
        }
        drop((guesses, owner));
        tokio::time::timeout(std::time::Duration::from_secs(60), async {
            while waiting() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("places are free again");
        let left = passwords.queue.lock();
        assert!(left.addresses.is_empty() && left.chargers.is_empty());
    }

    #[test]
    fn the_key_of_the_cache_differs_in_every_process() {
        assert_ne!(random_key(), random_key());
        assert_ne!(random_key(), [0; 32]);
    }
}
