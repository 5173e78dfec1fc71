//! Checks a charger's Basic-auth password (security profile 1) without letting a herd of returning
//! chargers, or someone who guesses, take the cores from those who are being answered.
//!
//! Argon2 costs tens of milliseconds on purpose. So it runs on blocking threads, few at a time, and
//! what it found is remembered as a keyed hash of (stored hash, password): a reconnect storm of
//! chargers seen before costs one BLAKE3 each. Passwords are never logged and never kept.

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Verdicts remembered, good and bad each. 32 bytes apiece; when full, all are forgotten, which
/// costs one Argon2 per charger.
const REMEMBERED_MAX: usize = 65_536;

/// Who may wait for each check under way. More would wait for longer than a handshake may take.
const QUEUED_PER_CHECK: usize = 128;

/// How a password stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Welcome,
    Refused,
    /// The stored hash is not an Argon2 PHC string.
    Unusable,
    /// Too many wait already: come back later.
    Busy,
}

type Digest = [u8; 32];

/// The gateway's password checks.
pub(crate) struct Passwords {
    key: [u8; 32],
    permits: Arc<Semaphore>,
    /// Places in the queue for a permit.
    queue: Semaphore,
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    good: HashSet<Digest>,
    bad: HashSet<Digest>,
}

impl Passwords {
    pub(crate) fn new(checks_max: usize) -> Self {
        let mut key = [0; 32];
        fastrand::fill(&mut key);
        Self {
            key,
            permits: Arc::new(Semaphore::new(checks_max)),
            queue: Semaphore::new(checks_max * QUEUED_PER_CHECK),
            remembered: Mutex::default(),
        }
    }

    /// Whether `password` is the one that `stored` (Argon2, PHC string) was made of: as it came, as
    /// the hex text of what came, or as the bytes that the hex text which came stands for (rule S-4).
    pub(crate) async fn check(&self, stored: &str, password: &[u8]) -> Verdict {
        let digest = self.digest(stored, password);
        if let Some(verdict) = self.recall(&digest) {
            return verdict;
        }
        let Ok(_place) = self.queue.try_acquire() else {
            return Verdict::Busy;
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
            Verdict::Unusable | Verdict::Busy => return,
        };
        if set.len() >= REMEMBERED_MAX {
            set.clear();
        }
        set.insert(digest);
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
                    passwords.check(&stored, sent).await,
                    Verdict::Welcome,
                    "{set:?} {sent:?}"
                );
            }
            assert_eq!(passwords.check(&stored, b"other").await, Verdict::Refused);
            assert_eq!(passwords.check(&stored, b"").await, Verdict::Refused);
        }
    }

    #[tokio::test]
    async fn a_verdict_is_remembered_only_for_the_same_stored_hash() {
        let passwords = Passwords::new(1);
        let (old, new) = (stored(b"secret"), stored(b"changed"));
        assert_eq!(passwords.check(&old, b"secret").await, Verdict::Welcome);
        assert_eq!(
            passwords.recall(&passwords.digest(&old, b"secret")),
            Some(Verdict::Welcome)
        );
        assert_eq!(passwords.recall(&passwords.digest(&new, b"secret")), None);
        assert_eq!(passwords.check(&new, b"secret").await, Verdict::Refused);
    }

    #[tokio::test]
    async fn what_is_no_hash_lets_nobody_in() {
        let passwords = Passwords::new(1);
        assert_eq!(
            passwords.check("secret", b"secret").await,
            Verdict::Unusable
        );
    }
}
