//! Passwords of local users: hashed and verified with Argon2id, on blocking threads, few at once.
//!
//! A hash takes 19 MiB and tens of milliseconds of a processor by design. The process may serve chargers too, so only a
//! share of its processors hashes at once, few requests wait for it, and the others are refused.

use crate::error::ApiError;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use central::model::UserPasswordHash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hashes at once: a quarter of the processors.
const PROCESSORS_PER_HASH: usize = 4;
/// Requests that wait for a hash.
const WAITING_MAX: usize = 16;
/// How long a request waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Hashes a password with Argon2id and a new salt.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn hash_password(password: &str) -> Result<UserPasswordHash, String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| error.to_string())?;
    Ok(UserPasswordHash::from_text(hash.to_string()))
}

/// Whether it is the password of this hash.
fn verify(password: &str, hash: &UserPasswordHash) -> bool {
    let Ok(hash) = PasswordHash::new(hash.expose()) else {
        tracing::error!(
            "a stored hash of a user's password cannot be read; set the password again"
        );
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

/// Hashes the passwords of this process.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new((processors / PROCESSORS_PER_HASH).max(1))),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

impl Passwords {
    /// Hashes a password.
    pub(crate) async fn hash(&self, password: String) -> Result<UserPasswordHash, ApiError> {
        let hashed = self.run(move || hash_password(&password)).await?;
        hashed.map_err(|error| {
            tracing::error!(%error, "a password cannot be hashed");
            ApiError::internal()
        })
    }

    /// Whether it is the password of this hash; without a hash, it is not, after the same time.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<UserPasswordHash>,
    ) -> Result<bool, ApiError> {
        self.run(move || match hash {
            Some(hash) => verify(&password, &hash),
            None => {
                // Hashing takes as long as verifying, at the first time too.
                let _ = std::hint::black_box(hash_password(&password));
                false
            }
        })
        .await
    }

    /// Runs work that hashes or verifies one password.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.turn().await.ok_or_else(ApiError::passwords_busy)?;
        let done = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also if the client is gone.
            let _turn = turn;
            work()
        });
        done.await.map_err(|panic| {
            tracing::error!(%panic, "hashing a password panicked");
            ApiError::internal()
        })
    }

    /// A turn to hash; `None` if too many wait, or for too long.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let _place = self.waiting.try_acquire().ok()?;
        let turn = Arc::clone(&self.turns).acquire_owned();
        tokio::time::timeout(WAIT_MAX, turn).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_hash_at_once_few_wait_and_the_others_are_refused() {
        let passwords = Arc::new(Passwords {
            turns: Arc::new(Semaphore::new(1)),
            ..Passwords::default()
        });
        let first = passwords.turn().await.expect("the first turn");
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.turn().await.is_some() })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(passwords.turn().await.is_none(), "too many wait");
        drop(first);
        // Each turn ends at once, so all that waited have one.
        for one in waiting {
            assert!(one.await.expect("no panic"));
        }
        let _turn = passwords.turn().await.expect("a turn");
        assert!(passwords.turn().await.is_none(), "it waits for too long");
    }
}
