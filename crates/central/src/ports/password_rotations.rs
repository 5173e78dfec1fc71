//! Changes of a charger's password at the charger, in two phases: see [`PasswordRotation`].

use super::{ChangeRequest, NewCommand, Once, Unavailable};
use crate::model::{ChargerKey, PasswordRotation, RotationView};
use crate::time::Timestamp;

/// Begins, shows and ends rotations. Calls block.
///
/// Laws: the new password's hash and the command that carries the password are stored in one database transaction, so no
/// charger gets a password that gateways do not accept. A charger has one rotation that is not decided at most. While it is
/// not decided, the directory has the new hash beside the old one; its revision grows when a rotation begins and ends. A
/// direct change of the charger's password ([`ChargerAdmin`](super::ChargerAdmin)) ends the rotation and cancels its
/// command if that is still queued. Calling `logged_in` and `settle` again changes nothing.
pub trait PasswordRotations: Send + Sync + 'static {
    /// Stores a rotation and queues its command.
    ///
    /// # Errors
    /// When the database refuses.
    fn begin_rotation(
        &self,
        new: &NewRotation,
    ) -> Result<Once<PasswordRotation, RotationNotBegun>, Unavailable>;

    /// The newest rotation of a charger, as it is at `now`; `None` if nobody has added this charger.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn rotation(
        &self,
        charger_id: &str,
        now: Timestamp,
    ) -> Result<Option<RotationView>, Unavailable>;

    /// Ends a rotation whose command was not claimed by a gateway, and cancels the command.
    ///
    /// # Errors
    /// When the database refuses.
    fn cancel_rotation(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), RotationNotCancelled>, Unavailable>;

    /// This charger has logged in with the password of this hash: if it is the new one of a rotation, it becomes the only
    /// one, and the rotation ends.
    ///
    /// # Errors
    /// When the database refuses; the caller tries again.
    fn logged_in(
        &self,
        charger: &ChargerKey,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), Unavailable>;

    /// Ends rotations whose commands were not sent or were refused; looks at `limit` of them at most. Any process may do
    /// that at any time. Returns how many have ended.
    ///
    /// # Errors
    /// When the database refuses; then nothing has changed.
    fn settle_rotations(&self, now: Timestamp, limit: usize) -> Result<u64, Unavailable>;
}

/// A rotation that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRotation {
    /// The charger; it must have been added.
    pub charger_id: String,
    /// The Argon2 hash of the new password, as a PHC string.
    pub new_hash: String,
    /// What carries the password to the charger. It has no idempotency key of its own.
    pub command: NewCommand,
    /// Who requests it.
    pub request: ChangeRequest,
}

/// Why a rotation was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationNotBegun {
    /// Nobody has added this charger.
    Unknown,
    /// Another rotation of it is not decided.
    Open(PasswordRotation),
    /// Too many commands are queued for it.
    QueueFull,
}

/// Why a rotation was not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationNotCancelled {
    /// Nobody has added this charger.
    Unknown,
    /// None is open.
    NotOpen,
    /// The password was sent, or is about to be.
    TooLate,
}
