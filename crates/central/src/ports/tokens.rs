//! The directory's writing side for tokens: the operator sets, lists, imports and removes them.

use super::{ChangeRequest, Once, QueryError, Unavailable};
use crate::import::{Line, Verdict, verdicts_of};
use crate::model::{ListedToken, Origin, Token, TokenUse, UnknownTokenView};
use crate::query::{Page, PageRequest, TokenFilter, UnknownTokenFilter};
use uuid::Uuid;

/// What [`Tokens::change_token`] does with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenChange {
    /// Nothing.
    Keep,
    /// Stores this token.
    Put(Token),
    /// Removes the token.
    Remove,
}

/// Sets and reads tokens. Calls block.
///
/// Laws: each change and its entry in the audit log are one database transaction: after `Ok` both are durable, after `Err`
/// nothing has changed. A change increases the revision of [`DirectorySnapshot`](super::DirectorySnapshot); putting what
/// is stored, or removing what does not exist, is no change. Ids that differ only in letter case are one token: a later
/// one replaces the earlier one, its spelling included. Changes run one after the other, so that what a change was
/// decided on is what it replaces.
pub trait Tokens: Send + Sync + 'static {
    /// One token with its note.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn stored_token(&self, id: &str) -> Result<Option<Token>, Unavailable>;

    /// The latest transaction that a token was accepted for, also of an id that is not in the directory. A session that only
    /// completes another one does not count. `None` without a stored one.
    ///
    /// # Errors
    /// When the database cannot be read now.
    fn last_use(&self, id: &str) -> Result<Option<TokenUse>, Unavailable>;

    /// Tokens by their keys, ascending, with their last use as [`Tokens::last_use`] has it.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn token_page(
        &self,
        filter: &TokenFilter,
        page: &PageRequest,
    ) -> Result<Page<ListedToken>, QueryError>;

    /// Tokens that chargers presented, that gateways did not accept as known, and that the directory does not have: a row for
    /// each charger, the latest first. [`UNKNOWN_TOKENS_PER_DAY_MAX`](crate::model::UNKNOWN_TOKENS_PER_DAY_MAX) says which
    /// are kept, and until when. A page may have fewer items than wanted, or none, although more follow.
    ///
    /// # Errors
    /// When the database cannot be read now, or the cursor is not one of this list.
    fn unknown_tokens(
        &self,
        filter: &UnknownTokenFilter,
        page: &PageRequest,
    ) -> Result<Page<UnknownTokenView>, QueryError>;

    /// Removes the token with this [`UnknownTokenView::key`] from the list, at all chargers, with an entry in the audit log;
    /// `false` if it is not listed. At a charger that presents it later it is listed again, with its figures of before.
    ///
    /// # Errors
    /// When the database refuses.
    fn dismiss_unknown_token(&self, key: Uuid, origin: &Origin) -> Result<bool, Unavailable>;

    /// Changes the token of this id as `decide` says, which sees the stored one. `decide` is called once, inside the
    /// transaction; it must not block.
    ///
    /// # Errors
    /// When the database refuses.
    fn change_token(
        &self,
        id: &str,
        origin: &Origin,
        decide: &mut dyn FnMut(Option<&Token>) -> TokenChange,
    ) -> Result<(), Unavailable>;

    /// Applies the lines of an import, all or none: with one refused line, or in a dry run, nothing is changed. Returns
    /// a verdict per line, in their order. Each token that is created or updated has an entry in the audit log.
    ///
    /// A repeat under the same idempotency key gets the same verdicts and changes nothing. An import with a refused line is
    /// [`Refused`](Once::Refused) and keeps no key; nor does a dry run, which is [`Done`](Once::Done).
    ///
    /// # Errors
    /// When the database refuses.
    fn import_tokens_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable>;

    /// As [`import_tokens_once`](Self::import_tokens_once), without an idempotency key.
    ///
    /// # Errors
    /// When the database refuses.
    fn import_tokens(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        origin: &Origin,
    ) -> Result<Vec<Verdict>, Unavailable> {
        let request = ChangeRequest::of(origin.clone());
        self.import_tokens_once(lines, is_dry_run, &request)
            .map(verdicts_of)
    }

    /// Sets a token; replaces an earlier one with the same id.
    ///
    /// # Errors
    /// When the database refuses.
    fn put_token(&self, token: &Token, origin: &Origin) -> Result<(), Unavailable> {
        self.change_token(&token.id, origin, &mut |_| TokenChange::Put(token.clone()))
    }

    /// Removes a token. `false` when there was none.
    ///
    /// # Errors
    /// When the database refuses.
    fn remove_token(&self, id: &str, origin: &Origin) -> Result<bool, Unavailable> {
        let mut existed = false;
        self.change_token(id, origin, &mut |stored| {
            existed = stored.is_some();
            TokenChange::Remove
        })?;
        Ok(existed)
    }
}
