//! Checks a charger's Basic-auth password (security profile 1) without letting a herd of returning
//! chargers, or someone who guesses, take the cores from those who are being answered.
//!
//! Argon2 costs tens of milliseconds on purpose. So it runs on blocking threads, few at a time, and
//! what it found is remembered as a keyed hash of (stored hash, password): a reconnect storm of
//! chargers seen before costs one BLAKE3 each. Passwords are never logged and never kept.
//!
//! Who waits for a check has a place in a queue, of which one peer address and one identity have a share
//! each, so that neither one address that guesses nor one charger's name can fill it.

use crate::admission::pending::PeerAddress;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Verdicts remembered, good and bad each. 32 bytes apiece; when full, all are forgotten, which
/// costs one Argon2 per charger.
const REMEMBERED_MAX: usize = 65_536;

/// Who may wait for each check under way. More would wait for longer than a handshake may take.
const QUEUED_PER_CHECK: usize = 128;
/// Of these, who may come from one address. Enough to keep a check busy, so chargers that all come
/// through one proxy wait no longer for it.
const QUEUED_PER_ADDRESS: usize = QUEUED_PER_CHECK / 8;
/// Of these, who may wait with one identity, however many checks there are: a charger has one connection.
/// By address, so that nobody elsewhere can keep a charger out by using its name.
const QUEUED_PER_IDENTITY: usize = 4;

/// How a password stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Welcome,
    Refused,
    /// The stored hash is not an Argon2 PHC string.
    Unusable,
    /// Too many wait already: come back later.
    Busy(Share),
}

/// Which share of the queue is used up.
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
    /// Who waits for a permit.
    queue: Queue,
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
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
            remembered: Mutex::default(),
        }
    }

    /// Whether `password` is the one that `stored` (Argon2, PHC string) was made of: as it came, as
    /// the hex text of what came, or as the bytes that the hex text which came stands for (rule S-4).
    /// `identity` is in lower case.
    pub(crate) async fn check(
        &self,
        stored: &str,
        password: &[u8],
        address: PeerAddress,
        identity: &Arc<str>,
    ) -> Verdict {
        let digest = self.digest(stored, password);
        if let Some(verdict) = self.recall(&digest) {
            return verdict;
        }
        let _place = match self.queue.enter(address, identity) {
            Ok(place) => place,
            Err(share) => return Verdict::Busy(share),
        };
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return Verdict::Refused;
        };
        // Another connection of the same charger may have asked meanwhile.
        if let Some(verdict) = self.recall(&digest) {
            return verdict;
        }
        let (stored, password) = (stored.to_owned(), password.to_vec());
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            verify(&stored, &password)
        })
        .await;
        let verdict = checked.unwrap_or(Verdict::Refused);
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
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.good.contains(digest) {
            return Some(Verdict::Welcome);
        }
        remembered.bad.contains(digest).then_some(Verdict::Refused)
    }

    fn remember(&self, digest: Digest, verdict: Verdict) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let set = match verdict {
            Verdict::Welcome => &mut remembered.good,
            Verdict::Refused => &mut remembered.bad,
            Verdict::Unusable | Verdict::Busy(_) => return,
        };
        if set.len() >= REMEMBERED_MAX {
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

/// Who waits for a check, and who is being checked.
struct Queue {
    checks_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    total: usize,
    addresses: HashMap<PeerAddress, usize>,
    identities: HashMap<(PeerAddress, Arc<str>), usize>,
}

impl Queue {
    fn enter(&self, address: PeerAddress, identity: &Arc<str>) -> Result<InQueue<'_>, Share> {
        let mut waiting = self.lock();
        let of_address = waiting.addresses.get(&address).copied().unwrap_or(0);
        let with_identity = (address, Arc::clone(identity));
        let of_identity = waiting.identities.get(&with_identity).copied();
        if of_identity.unwrap_or(0) >= QUEUED_PER_IDENTITY {
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
        *waiting.identities.entry(with_identity.clone()).or_default() += 1;
        Ok(InQueue {
            queue: self,
            with_identity,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue; free again when it is dropped.
struct InQueue<'a> {
    queue: &'a Queue,
    with_identity: (PeerAddress, Arc<str>),
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.total -= 1;
        one_less(&mut waiting.addresses, &self.with_identity.0);
        one_less(&mut waiting.identities, &self.with_identity);
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
        Verdict::Welcome
    } else {
        Verdict::Refused
    }
}

/// The passwords that the bytes from the header may stand for, likeliest first.
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
        let identity: Arc<str> = "cp-1".into();
        passwords
            .check(stored, password, address(1), &identity)
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
                    Verdict::Welcome,
                    "{set:?} {sent:?}"
                );
            }
            assert_eq!(check(&passwords, &stored, b"other").await, Verdict::Refused);
            assert_eq!(check(&passwords, &stored, b"").await, Verdict::Refused);
        }
    }

    #[tokio::test]
    async fn a_verdict_is_remembered_only_for_the_same_stored_hash() {
        let passwords = Passwords::new(1);
        let (old, new) = (stored(b"secret"), stored(b"changed"));
        assert_eq!(check(&passwords, &old, b"secret").await, Verdict::Welcome);
        assert_eq!(
            passwords.recall(&passwords.digest(&old, b"secret")),
            Some(Verdict::Welcome)
        );
        assert_eq!(passwords.recall(&passwords.digest(&new, b"secret")), None);
        assert_eq!(check(&passwords, &new, b"secret").await, Verdict::Refused);
    }

    #[tokio::test]
    async fn what_is_no_hash_lets_nobody_in() {
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
            let identity: Arc<str> = identity.into();
            passwords
                .check(&stored, &guess, address(host), &identity)
                .await
        });
        // It is in the queue, or refused.
        tokio::task::yield_now().await;
        guessing
    }

    #[tokio::test]
    async fn one_address_and_one_identity_have_a_share_of_the_queue() {
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
        let identity: Arc<str> = "guessed".into();
        let again = passwords.check(&stored, b"x", address(66), &identity).await;
        assert_eq!(again, Verdict::Busy(Share::Address));

        for _ in 0..QUEUED_PER_IDENTITY * 3 {
            guesses.push(guess(&passwords, &stored, 67, "cp-1".to_owned()).await);
        }
        assert_eq!(waiting(), QUEUED_PER_ADDRESS + QUEUED_PER_IDENTITY);
        let identity: Arc<str> = "cp-1".into();
        let again = passwords.check(&stored, b"x", address(67), &identity).await;
        assert_eq!(again, Verdict::Busy(Share::Identity));
        // Neither keeps the charger itself out, wherever it is.
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
        assert!(left.addresses.is_empty() && left.identities.is_empty());
    }

    #[test]
    fn the_key_of_what_is_remembered_is_another_in_every_process() {
        assert_ne!(random_key(), random_key());
        assert_ne!(random_key(), [0; 32]);
    }
}
