//! Tokens that the operator has set.

use super::directory::bump;
use super::idempotency::once;
use super::{SqliteStore, audit};
use crate::directory::to_text;
use crate::paging::{after_token, at_most, cut_readable};
use crate::refusal::Refusal;
use crate::tokens::{
    COLUMNS, COLUMNS_WITHOUT_NOTE, TokenRow, gateway_token, readable, token, token_entry,
};
use central::Timestamp;
use central::import::{self, Applied, Line, Verdict};
use central::model::{ListedToken, Origin, Token, TokenUse, UnknownTokenView};
use central::ports::{ChangeRequest, Once, TokenChange, Tokens, Unavailable};
use central::query::{Page, PageRequest, Place, QueryError, TokenFilter, UnknownTokenFilter};
use central::token_import;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use std::collections::HashMap;
use uuid::Uuid;

impl Tokens for SqliteStore {
    fn stored_token(&self, id: &str) -> Result<Option<Token>, Unavailable> {
        self.readers
            .read(|connection| stored(connection, &Token::key_of(id)))
            .map_err(Refusal::into_unavailable)
    }

    fn last_use(&self, id: &str) -> Result<Option<TokenUse>, Unavailable> {
        self.readers
            .read(|connection| last_use(connection, &Token::key_of(id)))
            .map_err(Refusal::into_unavailable)
    }

    fn token_page(
        &self,
        filter: &TokenFilter,
        page: &PageRequest,
    ) -> Result<Page<ListedToken>, QueryError> {
        let after = after_token(page)?;
        self.readers
            .read(|connection| list(connection, filter, &after, page.rows()))
            .map_err(|refusal| QueryError::Unavailable(refusal.into_unavailable()))
    }

    fn unknown_tokens(
        &self,
        filter: &UnknownTokenFilter,
        page: &PageRequest,
    ) -> Result<Page<UnknownTokenView>, QueryError> {
        self.unknown_page(filter, page)
    }

    fn dismiss_unknown_token(&self, key: Uuid, origin: &Origin) -> Result<bool, Unavailable> {
        self.dismiss_unknown(key, origin)
    }

    fn change_token(
        &self,
        id: &str,
        origin: &Origin,
        decide: &mut dyn FnMut(Option<&Token>) -> TokenChange,
    ) -> Result<(), Unavailable> {
        let key = Token::key_of(id);
        self.transact(|connection, _| {
            let before = stored(connection, &key)?;
            let after = match decide(before.as_ref()) {
                TokenChange::Keep => return Ok(()),
                TokenChange::Put(token) => Some(token),
                TokenChange::Remove => None,
            };
            if before == after {
                return Ok(());
            }
            match &after {
                Some(token) => put(connection, token)?,
                None => {
                    connection.execute("DELETE FROM tokens WHERE key = ?1", [&key])?;
                }
            }
            let entry = token_entry(before.as_ref(), after.as_ref(), origin)?;
            audit::insert(connection, &entry)?;
            bump(connection)?;
            Ok(())
        })
    }

    fn import_tokens_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable> {
        if is_dry_run {
            let known = self.readers.read(|connection| known(connection, lines));
            let known = known.map_err(Refusal::into_unavailable)?;
            return Ok(Once::Done(token_import::judge(lines, &known).0));
        }
        let done = self.transact(|connection, _| {
            once(connection, request, |connection| {
                import(connection, lines, &request.origin)
            })
        })?;
        Ok(import::verdicts(&token_import::COLUMNS, lines, done))
    }
}

/// The stored tokens that the lines are about, by key.
fn known(connection: &Connection, lines: &[Line]) -> Result<HashMap<String, Token>, Refusal> {
    let mut known = HashMap::new();
    for key in token_import::keys(lines) {
        if let Some(token) = stored(connection, &key)? {
            known.insert(key, token);
        }
    }
    Ok(known)
}

/// Applies the lines, or returns the verdicts if one is refused.
fn import(
    connection: &Connection,
    lines: &[Line],
    origin: &Origin,
) -> Result<Result<Applied, Vec<Verdict>>, Refusal> {
    let (verdicts, imported) = token_import::judge(lines, &known(connection, lines)?);
    for change in &imported {
        put(connection, &change.after)?;
        let entry = token_entry(change.before.as_ref(), Some(&change.after), origin)?;
        audit::insert(connection, &entry)?;
    }
    if !imported.is_empty() {
        bump(connection)?;
    }
    Ok(import::applied(&token_import::COLUMNS, verdicts))
}

/// A token as a gateway needs it.
pub(super) fn one(connection: &Connection, id: &str) -> Result<Option<Token>, Refusal> {
    let row = find(connection, COLUMNS_WITHOUT_NOTE, &Token::key_of(id))?;
    Ok(row.map(|row| gateway_token(row).1))
}

/// All tokens as a gateway needs them.
pub(super) fn all(connection: &Connection) -> Result<Vec<(String, Token)>, Refusal> {
    let sql = format!("SELECT {COLUMNS_WITHOUT_NOTE} FROM tokens ORDER BY key");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| row.try_into())?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().map(gateway_token).collect())
}

fn stored(connection: &Connection, key: &str) -> Result<Option<Token>, Refusal> {
    let row = find(connection, COLUMNS, key)?;
    Ok(row.map(token).transpose()?.map(|(_, token)| token))
}

fn find(connection: &Connection, columns: &str, key: &str) -> Result<Option<TokenRow>, Refusal> {
    let sql = format!("SELECT {columns} FROM tokens WHERE key = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let row = statement.query_row([key], |row| row.try_into());
    Ok(row.optional()?)
}

fn put(connection: &Connection, token: &Token) -> Result<(), Refusal> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO tokens (key, id, status, expires_at, group_id, token_type, concurrent, note, group_key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (key) DO UPDATE SET id = excluded.id, status = excluded.status,
            expires_at = excluded.expires_at, group_id = excluded.group_id,
            token_type = excluded.token_type, concurrent = excluded.concurrent,
            note = excluded.note, group_key = excluded.group_key",
    )?;
    statement.execute(params![
        token.key(),
        token.id,
        to_text(token.status)?,
        token.expires_at.map(Timestamp::as_millis),
        token.group_id,
        token.token_type,
        token.concurrent.map(to_text).transpose()?,
        token.note,
        token.group_id.as_deref().map(Token::key_of),
    ])?;
    Ok(())
}

fn list(
    connection: &Connection,
    filter: &TokenFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ListedToken>, Refusal> {
    // Each filter has its own statement, so that a group is found by its index.
    let mut sql = format!("SELECT {COLUMNS} FROM tokens WHERE key > ?1");
    let mut values = vec![after.to_owned()];
    let group = filter.group.as_deref().map(Token::key_of);
    let status = filter.status.map(to_text).transpose()?;
    let search = filter.search.as_deref().map(Token::key_of);
    for (value, before, after) in [
        (group, "group_key = ?", ""),
        (status, "status = ?", ""),
        (search, "instr(key, ?", ") > 0"),
    ] {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {before}{}{after}", values.len()));
        }
    }
    sql.push_str(&format!(" ORDER BY key LIMIT {}", at_most(limit) + 1));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| row.try_into())?;
    let rows = rows
        .map(|row| {
            let row: TokenRow = row?;
            let (place, last_use) = (Place::Token(row.0.clone()), last_use(connection, &row.0)?);
            let token = readable(row);
            Ok((
                place,
                token.map(|(_, token)| ListedToken { token, last_use }),
            ))
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(cut_readable(rows, limit))
}

/// The latest transaction of a token, by one probe of the index.
fn last_use(connection: &Connection, key: &str) -> Result<Option<TokenUse>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT v.began_at, c.id, v.place
         FROM transaction_views v INDEXED BY transaction_views_by_token JOIN chargers c ON c.no = v.charger_no
         WHERE v.token_key = ?1 AND v.token_key IS NOT NULL AND NOT v.hidden
         ORDER BY v.began_at DESC LIMIT 1",
    )?;
    let last_use = statement.query_row([key], |row| {
        Ok(TokenUse {
            at: Timestamp(row.get(0)?),
            charger_id: row.get(1)?,
            connector: row.get(2)?,
        })
    });
    Ok(last_use.optional()?)
}
