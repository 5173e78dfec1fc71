//! Tokens in memory. Without an audit log and without transactions, so no token has a last use.

use super::MemoryStore;
use crate::import::{self, Line, Verdict};
use crate::model::{
    ChargerKey, ListedToken, Origin, Token, TokenUse, UnknownTokenCount, UnknownTokenView,
};
use crate::ports::{ChangeRequest, Once, QueryError, TokenChange, Tokens, Unavailable};
use crate::query::{Page, PageRequest, Place, TokenFilter, UnknownTokenFilter};
use crate::time::Timestamp;
use crate::token_import;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use uuid::Uuid;

impl MemoryStore {
    fn stored_tokens(&self) -> MutexGuard<'_, BTreeMap<String, Token>> {
        // Each change is one call of the map.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dismissed(&self) -> MutexGuard<'_, BTreeMap<Uuid, Timestamp>> {
        let dismissed = self.dismissed_tokens.lock();
        dismissed.unwrap_or_else(PoisonError::into_inner)
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

    fn unknown_tokens(
        &self,
        filter: &UnknownTokenFilter,
        page: &PageRequest,
    ) -> Result<Page<UnknownTokenView>, QueryError> {
        let after = match page.after.as_ref().map(Place::from_cursor).transpose()? {
            None => None,
            Some(Place::UnknownToken(at, key, no)) => Some((at, key, no)),
            Some(_) => return Err(QueryError::BadCursor),
        };
        let tokens = self.stored_tokens();
        let dismissed = self.dismissed();
        let charger = filter.charger.as_deref().map(ChargerKey::of);
        let search = filter.search.as_deref().map(Token::key_of);
        let contents = self.lock();
        let mut sums: BTreeMap<(Uuid, i64), (ChargerKey, UnknownTokenCount)> = BTreeMap::new();
        for ((of, _, key), count) in &contents.unknown_tokens {
            let no = contents.states.chargers.keys().position(|key| key == of);
            let no = no.and_then(|no| i64::try_from(no).ok()).unwrap_or(-1);
            match sums.get_mut(&(*key, no)) {
                Some((_, sum)) => sum.add(count.clone()),
                None => {
                    sums.insert((*key, no), (of.clone(), count.clone()));
                }
            }
        }
        let mut rows: Vec<_> = sums
            .into_iter()
            .filter(|((key, _), (of, sum))| {
                !tokens.contains_key(&sum.token_key)
                    && dismissed.get(key).is_none_or(|until| sum.last_at > *until)
                    && charger.as_ref().is_none_or(|charger| charger == of)
                    && search
                        .as_ref()
                        .is_none_or(|text| sum.token_key.contains(text))
            })
            .map(|((key, no), (of, sum))| ((sum.last_at, key, no), of, sum))
            .filter(|(place, ..)| after.as_ref().is_none_or(|after| place < after))
            .collect();
        rows.sort_by_key(|row| Reverse(row.0));
        let has_more = rows.len() > page.rows();
        rows.truncate(page.rows());
        let next = rows.last().filter(|_| has_more);
        let next = next.map(|((at, key, no), ..)| Place::UnknownToken(*at, *key, *no).to_cursor());
        let items = rows
            .into_iter()
            .filter_map(|((_, key, _), of, sum)| {
                let state = contents.states.chargers.get(&of);
                let id = state.and_then(|state| state.charger_id.get().cloned());
                UnknownTokenView::of(key, id.unwrap_or_else(|| of.as_str().to_owned()), sum)
            })
            .collect();
        Ok(Page { items, next })
    }

    fn dismiss_unknown_token(&self, key: Uuid, _: &Origin) -> Result<bool, Unavailable> {
        let tokens = self.stored_tokens();
        let mut dismissed = self.dismissed();
        let contents = self.lock();
        let rows = contents.unknown_tokens.iter();
        let of_token =
            rows.filter(|((_, _, of), count)| *of == key && !tokens.contains_key(&count.token_key));
        let last = of_token.map(|(_, count)| count.last_at).max();
        let known = dismissed.get(&key).copied();
        Ok(match last {
            Some(last) if known.is_none_or(|known| last > known) => {
                dismissed.insert(key, last);
                true
            }
            _ => false,
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

    fn import_tokens_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable> {
        let mut tokens = self.stored_tokens();
        let judged = |tokens: &BTreeMap<String, Token>| {
            token_import::judge(lines, &tokens.clone().into_iter().collect())
        };
        if is_dry_run {
            return Ok(Once::Done(judged(&tokens).0));
        }
        let keys = self.token_imports.lock();
        // Each change is one call of the map.
        let mut keys = keys.unwrap_or_else(PoisonError::into_inner);
        let done = keys.once(request, || {
            let (verdicts, imported) = judged(&tokens);
            let changed = imported.into_iter().map(|change| change.after);
            tokens.extend(changed.map(|token| (token.key(), token)));
            import::applied(&token_import::COLUMNS, verdicts)
        });
        Ok(import::verdicts(&token_import::COLUMNS, lines, done))
    }
}
