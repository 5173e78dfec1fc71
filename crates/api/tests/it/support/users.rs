//! Local users in memory.

use central::Timestamp;
use central::model::{Origin, Scope, User, UserPasswordHash};
use central::ports::{Unavailable, UserChange, UserNotAdded, UserNotChanged, Users};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// The port with what a test put into it. It does not keep the last admin.
#[derive(Debug, Default)]
pub(crate) struct MemoryUsers {
    users: Mutex<Vec<(User, UserPasswordHash)>>,
    /// Who made the changes.
    pub(crate) origins: Mutex<Vec<Origin>>,
    /// While a test holds it, times of sign-ins are not written: their writers hang.
    pub(crate) sign_ins_hang: Mutex<()>,
    /// Calls that write the time of a sign-in: how many have begun.
    pub(crate) sign_ins_begun: AtomicUsize,
}

impl MemoryUsers {
    fn lock(&self) -> MutexGuard<'_, Vec<(User, UserPasswordHash)>> {
        self.users.lock().expect("not poisoned")
    }

    /// Adds a user whose password has a hash that is cheap to verify.
    pub(crate) fn add(&self, name: &str, scope: Scope, password: &str) {
        let user = User {
            id: common::id::new_v7(),
            name: name.to_owned(),
            scope,
            created_at: Timestamp(0),
            disabled_at: None,
            password_changed_at: Timestamp(0),
            last_sign_in_at: None,
        };
        self.lock().push((user, cheap_hash(password)));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().retain(|(user, _)| user.name != name);
    }

    pub(crate) fn user(&self, name: &str) -> Option<User> {
        let users = self.lock();
        let found = users.iter().find(|(user, _)| user.name == name);
        found.map(|(user, _)| user.clone())
    }
}

pub(crate) fn cheap_hash(password: &str) -> UserPasswordHash {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(8, 1, 1, None).expect("allowed");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash: argon2::password_hash::phc::PasswordHash = argon2
        .hash_password(password.as_bytes())
        .expect("it can be hashed");
    UserPasswordHash::from_text(hash.to_string())
}

impl Users for MemoryUsers {
    fn add_user(
        &self,
        user: &User,
        password: &UserPasswordHash,
        origin: &Origin,
    ) -> Result<Result<(), UserNotAdded>, Unavailable> {
        if self.user(&user.name).is_some() {
            return Ok(Err(UserNotAdded::NameTaken));
        }
        self.lock().push((user.clone(), password.clone()));
        self.origins
            .lock()
            .expect("not poisoned")
            .push(origin.clone());
        Ok(Ok(()))
    }

    fn change_user(
        &self,
        name: &str,
        change: &UserChange,
        origin: &Origin,
    ) -> Result<Result<(User, UserPasswordHash), UserNotChanged>, Unavailable> {
        let mut users = self.lock();
        let found = users.iter_mut().find(|(user, _)| user.name == name);
        let Some((user, password)) = found else {
            return Ok(Err(UserNotChanged::Unknown));
        };
        if !change.condition.holds(Some(user.version(password))) {
            return Ok(Err(UserNotChanged::OtherVersion));
        }
        *user = change.apply(user, origin.at);
        if let Some(new) = &change.password {
            *password = new.clone();
        }
        self.origins
            .lock()
            .expect("not poisoned")
            .push(origin.clone());
        Ok(Ok((user.clone(), password.clone())))
    }

    fn remove_user(
        &self,
        name: &str,
        keeps_admin: bool,
        _: &Origin,
    ) -> Result<Result<(), UserNotChanged>, Unavailable> {
        match self.user(name) {
            None => Ok(Err(UserNotChanged::Unknown)),
            Some(user) if keeps_admin && user.scope == Scope::Admin => {
                Ok(Err(UserNotChanged::LastAdmin))
            }
            Some(_) => {
                self.remove(name);
                Ok(Ok(()))
            }
        }
    }

    fn users(&self) -> Result<Vec<(User, UserPasswordHash)>, Unavailable> {
        Ok(self.lock().clone())
    }

    fn set_user_signed_in(&self, id: Uuid, at: Timestamp) -> Result<(), Unavailable> {
        self.sign_ins_begun.fetch_add(1, Ordering::SeqCst);
        let _hang = self.sign_ins_hang.lock().expect("not poisoned");
        for (user, _) in self.lock().iter_mut() {
            if user.id == id {
                user.last_sign_in_at = Some(at);
            }
        }
        Ok(())
    }
}
