//! Tokens in memory. Without an audit log and without transactions, so no token has a last use.

use super::MemoryStore;
use crate::import::{Line, Verdict};
use crate::model::{ListedToken, Origin, Token, TokenUse};
use crate::ports::{QueryError, TokenChange, Tokens, Unavailable};
use crate::query::{Page, PageRequest, Place, TokenFilter};
use crate::token_import;
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

impl MemoryStore {
    fn stored_tokens(&self) -> MutexGuard<'_, BTreeMap<String, Token>> {
        // Each change is one call of the map.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tokens for MemoryStore {
    fn stored_token(&self, id: &str) -> Result<Option<Token>, Unavailable> {
        Ok(self.stored_tokens().get(&Token::key_of(id)).cloned())
    }

    fn last_use(&self, _: &str) -> Result<Option<TokenUse>, Unavailable> {
        Ok(None)
    }

    fn token_page(
        &self,
        filter: &TokenFilter,
        page: &PageRequest,
    ) -> Result<Page<ListedToken>, QueryError> {
        let after = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => String::new(),
            Some(Place::Token(key)) => key,
            Some(_) => return Err(QueryError::BadCursor),
        };
        let tokens = self.stored_tokens();
        let mut rows = tokens
            .iter()
            .filter(|(key, token)| **key > after && filter.has(token));
        let items: Vec<_> = rows.by_ref().take(page.rows()).collect();
        let next = match (items.last(), rows.next()) {
            (Some((key, _)), Some(_)) => Some(Place::Token((*key).clone()).to_cursor()),
            _ => None,
        };
        Ok(Page {
            items: items
                .into_iter()
                .map(|(_, token)| ListedToken {
                    token: token.clone(),
                    last_use: None,
                })
                .collect(),
            next,
        })
    }

    fn change_token(
        &self,
        id: &str,
        _: &Origin,
        decide: &mut dyn FnMut(Option<&Token>) -> TokenChange,
    ) -> Result<(), Unavailable> {
        let mut tokens = self.stored_tokens();
        let key = Token::key_of(id);
        match decide(tokens.get(&key)) {
            TokenChange::Keep => {}
            TokenChange::Put(token) => {
                tokens.insert(key, token);
            }
            TokenChange::Remove => {
                tokens.remove(&key);
            }
        }
        Ok(())
    }

    fn import_tokens(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        _: &Origin,
    ) -> Result<Vec<Verdict>, Unavailable> {
        let mut tokens = self.stored_tokens();
        let stored = tokens.clone().into_iter().collect();
        let (verdicts, imported) = token_import::judge(lines, &stored);
        if !is_dry_run {
            let changed = imported.into_iter().map(|change| change.after);
            tokens.extend(changed.map(|token| (token.key(), token)));
        }
        Ok(verdicts)
    }
}
