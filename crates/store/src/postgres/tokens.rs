//! Tokens that the operator has set.

use super::directory::bump;
use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, error};
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
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// Rows per statement of an import.
const IMPORT_ROWS: usize = 1_000;

/// The key of a token as PostgreSQL can store it.
fn token_key(id: &str) -> String {
    clean(&Token::key_of(id)).into_owned()
}

impl Tokens for PostgresStore {
    fn stored_token(&self, id: &str) -> Result<Option<Token>, Unavailable> {
        let key = token_key(id);
        self.read(async |connection| stored(connection, &key).await)
    }

    fn last_use(&self, id: &str) -> Result<Option<TokenUse>, Unavailable> {
        let key = token_key(id);
        self.read(async |connection| {
            let mut uses = last_uses(connection, vec![key.clone()]).await?;
            Ok(uses.remove(&key))
        })
    }

    fn token_page(
        &self,
        filter: &TokenFilter,
        page: &PageRequest,
    ) -> Result<Page<ListedToken>, QueryError> {
        let after = after_token(page)?;
        Ok(self.read(async |connection| list(connection, filter, &after, page.rows()).await)?)
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
        let key = token_key(id);
        self.write(async |connection| {
            lock(connection).await?;
            let before = stored(connection, &key).await?;
            let after = match decide(before.as_ref()) {
                TokenChange::Keep => return Ok(()),
                TokenChange::Put(token) => Some(token),
                TokenChange::Remove => None,
            };
            if before == after {
                return Ok(());
            }
            match &after {
                Some(token) => put(connection, &[token]).await?,
                None => {
                    sqlx::query("DELETE FROM tokens WHERE key = $1")
                        .bind(&key)
                        .execute(&mut *connection)
                        .await
                        .map_err(error::refusal)?;
                }
            }
            let entry = token_entry(before.as_ref(), after.as_ref(), origin)?;
            audit::insert(connection, &entry).await?;
            bump(connection).await?;
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
            let known = self.read(async |connection| known(connection, lines).await)?;
            return Ok(Once::Done(token_import::judge(lines, &known).0));
        }
        let done = self.write(async |connection| {
            once(connection, request, async |connection| {
                import(connection, lines, &request.origin).await
            })
            .await
        })?;
        Ok(import::verdicts(&token_import::COLUMNS, lines, done))
    }
}

/// Applies the lines, or returns the verdicts if one is refused.
async fn import(
    connection: &mut PgConnection,
    lines: &[Line],
    origin: &Origin,
) -> Result<Result<Applied, Vec<Verdict>>, Refusal> {
    lock(connection).await?;
    let known = known(connection, lines).await?;
    let (verdicts, imported) = token_import::judge(lines, &known);
    for changes in imported.chunks(IMPORT_ROWS) {
        let tokens: Vec<&Token> = changes.iter().map(|change| &change.after).collect();
        put(connection, &tokens).await?;
        let entries = changes
            .iter()
            .map(|change| token_entry(change.before.as_ref(), Some(&change.after), origin))
            .collect::<Result<Vec<_>, _>>()?;
        audit::insert_all(connection, &entries).await?;
    }
    if !imported.is_empty() {
        bump(connection).await?;
    }
    Ok(import::applied(&token_import::COLUMNS, verdicts))
}

/// Makes other changes of tokens wait until the end of this transaction: the lock of the revision, which [`bump`] takes
/// too.
async fn lock(connection: &mut PgConnection) -> Result<(), Refusal> {
    sqlx::query("SELECT value FROM settings WHERE name = 'directory_revision' FOR UPDATE")
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// A token as a gateway needs it.
pub(super) async fn one(connection: &mut PgConnection, id: &str) -> Result<Option<Token>, Refusal> {
    let row = find(connection, COLUMNS_WITHOUT_NOTE, &token_key(id)).await?;
    Ok(row.map(|row| gateway_token(row).1))
}

/// All tokens as a gateway needs them.
pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<(String, Token)>, Refusal> {
    let sql = format!("SELECT {COLUMNS_WITHOUT_NOTE} FROM tokens ORDER BY key");
    let rows: Vec<TokenRow> = sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    Ok(rows.into_iter().map(gateway_token).collect())
}

async fn stored(connection: &mut PgConnection, key: &str) -> Result<Option<Token>, Refusal> {
    let row = find(connection, COLUMNS, key).await?;
    Ok(row.map(token).transpose()?.map(|(_, token)| token))
}

async fn find(
    connection: &mut PgConnection,
    columns: &str,
    key: &str,
) -> Result<Option<TokenRow>, Refusal> {
    let sql = format!("SELECT {columns} FROM tokens WHERE key = $1");
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)
}

/// The stored tokens of these lines, by their keys.
async fn known(
    connection: &mut PgConnection,
    lines: &[Line],
) -> Result<HashMap<String, Token>, Refusal> {
    let keys: Vec<String> = token_import::keys(lines)
        .map(|key| clean(&key).into_owned())
        .collect();
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE key = ANY($1)");
    let rows: Vec<TokenRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(keys)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    rows.into_iter().map(token).collect()
}

async fn put(connection: &mut PgConnection, tokens: &[&Token]) -> Result<(), Refusal> {
    let text = |text: &str| clean(text).into_owned();
    let optional = |member: fn(&Token) -> Option<&str>| -> Vec<Option<String>> {
        tokens.iter().map(|token| member(token).map(text)).collect()
    };
    let statuses: Vec<&str> = tokens.iter().map(|token| token.status.as_str()).collect();
    let expiries: Vec<Option<i64>> = tokens
        .iter()
        .map(|token| token.expires_at.map(Timestamp::as_millis))
        .collect();
    let rules = tokens
        .iter()
        .map(|token| token.concurrent.map(to_text).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let groups = optional(|token| token.group_id.as_deref());
    let group_keys: Vec<Option<String>> = groups
        .iter()
        .map(|group| group.as_deref().map(Token::key_of))
        .collect();
    sqlx::query(
        "INSERT INTO tokens (key, id, status, expires_at, group_id, token_type, concurrent, note, group_key)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[],
            $7::text[], $8::text[], $9::text[])
         ON CONFLICT (key) DO UPDATE SET id = excluded.id, status = excluded.status,
            expires_at = excluded.expires_at, group_id = excluded.group_id,
            token_type = excluded.token_type, concurrent = excluded.concurrent,
            note = excluded.note, group_key = excluded.group_key",
    )
    .bind(tokens.iter().map(|token| token_key(&token.id)).collect::<Vec<_>>())
    .bind(tokens.iter().map(|token| text(&token.id)).collect::<Vec<_>>())
    .bind(statuses)
    .bind(expiries)
    .bind(groups)
    .bind(optional(|token| token.token_type.as_deref()))
    .bind(rules)
    .bind(optional(|token| token.note.as_deref()))
    .bind(group_keys)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

async fn list(
    connection: &mut PgConnection,
    filter: &TokenFilter,
    after: &str,
    limit: usize,
) -> Result<Page<ListedToken>, Refusal> {
    // Each filter has its own statement, so that a group is found by its index.
    let mut sql = format!("SELECT {COLUMNS} FROM tokens WHERE key > $1");
    let mut values = Vec::new();
    let group = filter.group.as_deref().map(token_key);
    let status = filter.status.map(to_text).transpose()?;
    let search = filter.search.as_deref().map(token_key);
    for (value, before, after) in [
        (group, "group_key = $", ""),
        (status, "status = $", ""),
        (search, "strpos(key, $", ") > 0"),
    ] {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {before}{}{after}", values.len() + 1));
        }
    }
    sql.push_str(&format!(" ORDER BY key LIMIT {}", at_most(limit) + 1));
    let mut query = sqlx::query_as::<_, TokenRow>(AssertSqlSafe(sql)).bind(after);
    for value in values {
        query = query.bind(value);
    }
    let rows = query
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let keys = rows.iter().map(|row| row.0.clone()).collect();
    let mut uses = last_uses(connection, keys).await?;
    let rows = rows.into_iter().map(|row| {
        let (place, last_use) = (Place::Token(row.0.clone()), uses.remove(&row.0));
        let token = readable(row);
        (
            place,
            token.map(|(_, token)| ListedToken { token, last_use }),
        )
    });
    Ok(cut_readable(rows.collect(), limit))
}

/// The latest transactions of tokens, by their keys.
async fn last_uses(
    connection: &mut PgConnection,
    keys: Vec<String>,
) -> Result<HashMap<String, TokenUse>, Refusal> {
    let rows: Vec<(String, i64, String, Option<i64>)> = sqlx::query_as(LAST_USES)
        .bind(keys)
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    let uses = rows.into_iter().map(|(key, began_at, charger_id, place)| {
        let last_use = TokenUse {
            at: Timestamp(began_at),
            charger_id,
            connector: place,
        };
        (key, last_use)
    });
    Ok(uses.collect())
}

/// One probe of the index `transaction_views_by_token` for each token.
const LAST_USES: &str = "SELECT k.key, u.began_at, c.id, u.place
     FROM unnest($1::text[]) k (key)
     CROSS JOIN LATERAL (
         SELECT v.began_at, v.charger_no, v.place::bigint AS place FROM transaction_views v
         WHERE v.token_key = k.key AND NOT v.hidden ORDER BY v.began_at DESC LIMIT 1
     ) u
     JOIN chargers c ON c.no = u.charger_no";
