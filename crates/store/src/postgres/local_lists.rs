//! Local authorization lists.

use super::numbers::clean;
use super::{PostgresStore, audit, error};
use crate::local_lists::{
    COLUMNS, EVERY, FROM, ListRow, WAITS_FOR_TOKENS, WISHED, connected, list, listed, phase_text,
    read_wish, removable_wish, to_json, wish_entry,
};
use crate::paging::{after_charger, at_most, cut_readable};
use crate::refusal::Refusal;
use central::local_list::{Content, LocalList, Phase, Progress, Wish};
use central::model::{ChargerKey, Origin};
use central::ports::{LocalListFilter, LocalLists, Unavailable};
use central::query::{Page, PageRequest, QueryError};
use central::{Record, RecordId, Timestamp};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// The key of a charger as PostgreSQL can store it.
fn stored_key(charger_id: Option<&str>) -> String {
    let key = charger_id.map_or_else(|| ChargerKey::of(EVERY), ChargerKey::of);
    clean(key.as_str()).into_owned()
}

impl LocalLists for PostgresStore {
    fn set_list_wish(
        &self,
        charger_id: Option<&str>,
        wish: Option<&Wish>,
        origin: &Origin,
    ) -> Result<bool, Unavailable> {
        let key = stored_key(charger_id);
        self.write(async |connection| {
            let before = wish_of(connection, &key).await?;
            match wish {
                None if before.is_none() => return Ok(false),
                None => {
                    sqlx::query("DELETE FROM local_list_wishes WHERE charger_key = $1")
                        .bind(&key)
                        .execute(&mut *connection)
                        .await
                        .map_err(error::refusal)?;
                }
                Some(wish) => {
                    sqlx::query(
                        "INSERT INTO local_list_wishes AS old (charger_key, charger_id, wish, wished_at)
                         VALUES ($1, $2, $3, $4)
                         ON CONFLICT (charger_key) DO UPDATE SET charger_id = excluded.charger_id,
                            wish = excluded.wish, wished_at = greatest(excluded.wished_at, old.wished_at + 1)",
                    )
                    .bind(&key)
                    .bind(clean(charger_id.unwrap_or_default()).into_owned())
                    .bind(to_json(wish)?)
                    .bind(origin.at.0)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                }
            }
            // What the wish holds for begins at once.
            match charger_id {
                Some(charger_id) if wish.is_some() => {
                    sqlx::query(
                        "INSERT INTO local_lists (charger_key, charger_id, phase, progress, revision, due_at)
                         VALUES ($1, $2, $3, $4, 1, $5)
                         ON CONFLICT (charger_key) DO UPDATE SET due_at = excluded.due_at,
                            revision = local_lists.revision + 1",
                    )
                    .bind(&key)
                    .bind(clean(charger_id).into_owned())
                    .bind(Phase::Unknown.as_str())
                    .bind(to_json(&Progress::default())?)
                    .bind(origin.at.0)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                }
                _ => {
                    sqlx::query("UPDATE local_lists SET due_at = $1, revision = revision + 1")
                        .bind(origin.at.0)
                        .execute(&mut *connection)
                        .await
                        .map_err(error::refusal)?;
                }
            }
            let entry = wish_entry(charger_id, before.as_ref(), wish, origin)?;
            audit::insert(connection, &entry).await?;
            Ok(before.is_some())
        })
    }

    fn list_wish(&self, charger_id: Option<&str>) -> Result<Option<Wish>, Unavailable> {
        let key = stored_key(charger_id);
        self.read(async |connection| wish_of(connection, &key).await)
    }

    fn adopt_lists(&self, now: Timestamp) -> Result<(), Unavailable> {
        const NEW: &str = "FROM chargers c WHERE c.key <> ''
               AND NOT EXISTS (SELECT 1 FROM local_lists l WHERE l.charger_key = c.key)
               AND (EXISTS (SELECT 1 FROM local_list_wishes w WHERE w.charger_key = '')
                   AND NOT EXISTS (SELECT 1 FROM removed_chargers r WHERE r.key = c.key)
                 OR EXISTS (SELECT 1 FROM local_list_wishes w WHERE w.charger_key = c.key))";
        const OLD: &str = "FROM local_lists
             WHERE (NOT EXISTS (SELECT 1 FROM local_list_wishes w WHERE w.charger_key = '')
                 OR EXISTS (SELECT 1 FROM removed_chargers r WHERE r.key = local_lists.charger_key))
               AND NOT EXISTS (SELECT 1 FROM local_list_wishes w WHERE w.charger_key = local_lists.charger_key)";
        // Usually there is nothing to do, and the writer is not used.
        let is_needed: bool = self.read(async |connection| {
            let sql = format!("SELECT EXISTS (SELECT 1 {NEW}) OR EXISTS (SELECT 1 {OLD})");
            sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(connection)
                .await
                .map_err(error::refusal)
        })?;
        if !is_needed {
            return Ok(());
        }
        self.write(async |connection| {
            sqlx::query(AssertSqlSafe(format!("DELETE {OLD}")))
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            sqlx::query(AssertSqlSafe(format!(
                "INSERT INTO local_lists (charger_key, charger_id, phase, progress, revision, due_at)
                 SELECT c.key, c.id, $1, $2, 1, $3 {NEW} ON CONFLICT DO NOTHING"
            )))
            .bind(Phase::Unknown.as_str())
            .bind(to_json(&Progress::default())?)
            .bind(now.0)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn hasten_lists(&self, now: Timestamp) -> Result<(), Unavailable> {
        self.write(async |connection| {
            let sql = format!(
                "UPDATE local_lists SET due_at = $1, revision = revision + 1
                 WHERE due_at > $1 AND phase IN {WAITS_FOR_TOKENS}"
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(now.0)
                .execute(connection)
                .await
                .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn due_lists(&self, now: Timestamp, limit: usize) -> Result<Vec<LocalList>, Unavailable> {
        self.read(async |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM {FROM} WHERE l.due_at <= $1 AND {WISHED} ORDER BY l.due_at LIMIT $2"
            );
            let rows: Vec<ListRow> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(now.0)
                .bind(at_most(limit))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            // A list that cannot be read stays as it is at its charger.
            Ok(rows.into_iter().filter_map(|row| listed(row).1).collect())
        })
    }

    fn save_list(&self, list: &LocalList, due_at: Timestamp) -> Result<bool, Unavailable> {
        self.write(async |connection| {
            let saved = sqlx::query(
                "UPDATE local_lists SET phase = $3, content = $4, progress = $5, due_at = $6,
                    revision = revision + 1
                 WHERE charger_key = $1 AND revision = $2",
            )
            .bind(list.charger.as_str())
            .bind(list.revision.cast_signed())
            .bind(phase_text(list))
            .bind(&list.progress.content)
            .bind(clean(&to_json(&list.progress)?).into_owned())
            .bind(due_at.0)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(saved.rows_affected() > 0)
        })
    }

    fn keep_content(&self, content: &Content, now: Timestamp) -> Result<(), Unavailable> {
        self.write(async |connection| {
            sqlx::query(
                "INSERT INTO local_list_contents (digest, entries, kept_at) VALUES ($1, $2, $3)
                 ON CONFLICT (digest) DO UPDATE SET kept_at = excluded.kept_at",
            )
            .bind(&content.digest)
            .bind(content.to_json())
            .bind(now.0)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn content(&self, digest: &str) -> Result<Option<Content>, Unavailable> {
        self.read(async |connection| {
            let entries: Option<String> =
                sqlx::query_scalar("SELECT entries FROM local_list_contents WHERE digest = $1")
                    .bind(digest)
                    .fetch_optional(connection)
                    .await
                    .map_err(error::refusal)?;
            entries
                .map(|entries| Content::from_json(&entries))
                .transpose()
                .map_err(|error| Refusal::corrupt(error.to_string()))
        })
    }

    fn forget_contents(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.write(async |connection| {
            sqlx::query(
                "DELETE FROM local_list_contents c WHERE kept_at < $1
                   AND NOT EXISTS (SELECT 1 FROM local_lists l WHERE l.content = c.digest)",
            )
            .bind(before.0)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn local_list(&self, charger_id: &str) -> Result<Option<LocalList>, Unavailable> {
        let key = stored_key(Some(charger_id));
        self.read(async |connection| {
            let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE l.charger_key = $1 AND {WISHED}");
            let row: Option<ListRow> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(&key)
                .fetch_optional(connection)
                .await
                .map_err(error::refusal)?;
            row.map(list).transpose()
        })
    }

    fn local_list_page(
        &self,
        filter: &LocalListFilter,
        page: &PageRequest,
    ) -> Result<Page<LocalList>, QueryError> {
        let after = after_charger(page)?;
        let limit = page.rows();
        let search = filter.search.as_deref().map(|text| stored_key(Some(text)));
        let rows = self.read(async |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM {FROM} WHERE l.charger_key > $1 AND {WISHED}
                   AND ($2::text IS NULL OR l.phase = $2)
                   AND ($3::text IS NULL OR strpos(l.charger_key, $3) > 0)
                 ORDER BY l.charger_key LIMIT $4"
            );
            let rows: Vec<ListRow> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(after.as_str())
                .bind(filter.phase.map(Phase::as_str))
                .bind(&search)
                .bind(at_most(limit) + 1)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            Ok(rows.into_iter().map(listed).collect())
        })?;
        Ok(cut_readable(rows, limit))
    }
}

/// Ends the wish and the list of a charger that is removed, inside the caller's transaction: whoever connected next with its
/// identity would get the list.
pub(super) async fn end_of_removed(
    connection: &mut PgConnection,
    charger_id: &str,
    origin: &Origin,
) -> Result<(), Refusal> {
    let key = stored_key(Some(charger_id));
    let wish: Option<String> =
        sqlx::query_scalar("DELETE FROM local_list_wishes WHERE charger_key = $1 RETURNING wish")
            .bind(&key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(error::refusal)?;
    sqlx::query("DELETE FROM local_lists WHERE charger_key = $1")
        .bind(&key)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    if let Some(wish) = wish {
        let wish = removable_wish(&key, &wish);
        let entry = wish_entry(Some(charger_id), wish.as_ref(), None, origin)?;
        audit::insert(connection, &entry).await?;
    }
    Ok(())
}

async fn wish_of(connection: &mut PgConnection, key: &str) -> Result<Option<Wish>, Refusal> {
    let wish: Option<String> =
        sqlx::query_scalar("SELECT wish FROM local_list_wishes WHERE charger_key = $1")
            .bind(key)
            .fetch_optional(connection)
            .await
            .map_err(error::refusal)?;
    wish.map(|wish| read_wish(key, &wish)).transpose()
}

/// Makes the lists due that wait for chargers which these records say have connected, inside the caller's transaction.
pub(crate) async fn hasten_connected(
    connection: &mut PgConnection,
    records: &[(RecordId, Record<'_>)],
) -> Result<(), Refusal> {
    let connected = connected(records);
    if connected.is_empty() {
        return Ok(());
    }
    let (keys, times): (Vec<_>, Vec<_>) = connected
        .into_iter()
        .map(|(key, at)| (clean(&key).into_owned(), at.0))
        .unzip();
    sqlx::query(
        "UPDATE local_lists l SET due_at = w.at, revision = l.revision + 1
         FROM (SELECT l.charger_key, c.at
               FROM unnest($1::text[], $2::bigint[]) AS c (key, at)
               JOIN local_lists l ON l.charger_key = c.key
               WHERE l.phase = 'waiting_for_charger' AND l.due_at > c.at
               ORDER BY l.charger_key FOR UPDATE OF l) w
         WHERE l.charger_key = w.charger_key",
    )
    .bind(&keys)
    .bind(&times)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}
