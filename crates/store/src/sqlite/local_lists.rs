//! Local authorization lists.

use super::{SqliteStore, audit};
use crate::local_lists::{
    COLUMNS, EVERY, FROM, WAITS_FOR_TOKENS, WISHED, connected, list, listed, phase_text, read_wish,
    removable_wish, to_json, wish_entry,
};
use crate::paging::{after_charger, at_most, cut_readable};
use crate::refusal::Refusal;
use central::local_list::{Content, LocalList, Phase, Progress, Wish};
use central::model::{ChargerKey, Origin};
use central::ports::{LocalListFilter, LocalLists, Unavailable};
use central::query::{Page, PageRequest, QueryError};
use central::{Record, RecordId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

impl LocalLists for SqliteStore {
    fn set_list_wish(
        &self,
        charger_id: Option<&str>,
        wish: Option<&Wish>,
        origin: &Origin,
    ) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let key = charger_id.map_or_else(|| ChargerKey::of(EVERY), ChargerKey::of);
            let before = wish_of(connection, &key)?;
            match wish {
                None if before.is_none() => return Ok(false),
                None => {
                    connection.execute(
                        "DELETE FROM local_list_wishes WHERE charger_key = ?1",
                        [key.as_str()],
                    )?;
                }
                Some(wish) => {
                    connection.execute(
                        "INSERT INTO local_list_wishes (charger_key, charger_id, wish, wished_at)
                         VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT (charger_key) DO UPDATE SET charger_id = excluded.charger_id,
                            wish = excluded.wish, wished_at = max(excluded.wished_at, wished_at + 1)",
                        params![
                            key.as_str(),
                            charger_id.unwrap_or_default(),
                            to_json(wish)?,
                            origin.at.0
                        ],
                    )?;
                }
            }
            // What the wish holds for begins at once.
            match charger_id {
                Some(charger_id) if wish.is_some() => {
                    connection.execute(
                        "INSERT INTO local_lists (charger_key, charger_id, phase, progress, revision, due_at)
                         VALUES (?1, ?2, ?3, ?4, 1, ?5)
                         ON CONFLICT (charger_key) DO UPDATE SET due_at = excluded.due_at,
                            revision = local_lists.revision + 1",
                        params![
                            key.as_str(),
                            charger_id,
                            Phase::Unknown.as_str(),
                            to_json(&Progress::default())?,
                            origin.at.0
                        ],
                    )?;
                }
                _ => {
                    connection.execute("UPDATE local_lists SET due_at = ?1, revision = revision + 1", [origin.at.0])?;
                }
            }
            audit::insert(
                connection,
                &wish_entry(charger_id, before.as_ref(), wish, origin)?,
            )?;
            Ok(before.is_some())
        })
    }

    fn list_wish(&self, charger_id: Option<&str>) -> Result<Option<Wish>, Unavailable> {
        let key = charger_id.map_or_else(|| ChargerKey::of(EVERY), ChargerKey::of);
        self.readers
            .read(|connection| wish_of(connection, &key))
            .map_err(Refusal::into_unavailable)
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
        // Usually there is nothing to do, and no writer has to wait.
        let is_needed = self.readers.read(|connection| {
            let sql = format!("SELECT EXISTS (SELECT 1 {NEW}) OR EXISTS (SELECT 1 {OLD})");
            Ok(connection
                .prepare_cached(&sql)?
                .query_row([], |row| row.get::<_, bool>(0))?)
        });
        if !is_needed.map_err(Refusal::into_unavailable)? {
            return Ok(());
        }
        self.transact(|connection, _| {
            connection.execute(&format!("DELETE {OLD}"), [])?;
            connection.execute(
                &format!(
                    "INSERT INTO local_lists (charger_key, charger_id, phase, progress, revision, due_at)
                     SELECT c.key, c.id, ?1, ?2, 1, ?3 {NEW}"
                ),
                params![
                    Phase::Unknown.as_str(),
                    to_json(&Progress::default())?,
                    now.0
                ],
            )?;
            Ok(())
        })
    }

    fn hasten_lists(&self, now: Timestamp) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let sql = format!(
                "UPDATE local_lists SET due_at = ?1, revision = revision + 1
                 WHERE due_at > ?1 AND phase IN {WAITS_FOR_TOKENS}"
            );
            connection.execute(&sql, [now.0])?;
            Ok(())
        })
    }

    fn due_lists(&self, now: Timestamp, limit: usize) -> Result<Vec<LocalList>, Unavailable> {
        let rows = self.readers.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM {FROM} WHERE l.due_at <= ?1 AND {WISHED} ORDER BY l.due_at LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![now.0, at_most(limit)], |row| row.try_into())?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            // A list that cannot be read stays as it is at its charger.
            Ok(rows.into_iter().filter_map(|row| listed(row).1).collect())
        });
        rows.map_err(Refusal::into_unavailable)
    }

    fn save_list(&self, list: &LocalList, due_at: Timestamp) -> Result<bool, Unavailable> {
        self.transact(|connection, _| {
            let saved = connection
                .prepare_cached(
                    "UPDATE local_lists SET phase = ?3, content = ?4, progress = ?5, due_at = ?6,
                        revision = revision + 1
                     WHERE charger_key = ?1 AND revision = ?2",
                )?
                .execute(params![
                    list.charger.as_str(),
                    list.revision.cast_signed(),
                    phase_text(list),
                    list.progress.content,
                    to_json(&list.progress)?,
                    due_at.0,
                ])?;
            Ok(saved > 0)
        })
    }

    fn keep_content(&self, content: &Content, now: Timestamp) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                "INSERT INTO local_list_contents (digest, entries, kept_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (digest) DO UPDATE SET kept_at = excluded.kept_at",
                params![content.digest, content.to_json(), now.0],
            )?;
            Ok(())
        })
    }

    fn content(&self, digest: &str) -> Result<Option<Content>, Unavailable> {
        let found = self.readers.read(|connection| {
            let entries: Option<String> = connection
                .prepare_cached("SELECT entries FROM local_list_contents WHERE digest = ?1")?
                .query_row([digest], |row| row.get(0))
                .optional()?;
            entries
                .map(|entries| Content::from_json(&entries))
                .transpose()
                .map_err(|error| Refusal::corrupt(error.to_string()))
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn forget_contents(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                "DELETE FROM local_list_contents WHERE kept_at < ?1
                   AND digest NOT IN (SELECT content FROM local_lists WHERE content IS NOT NULL)",
                [before.0],
            )?;
            Ok(())
        })
    }

    fn local_list(&self, charger_id: &str) -> Result<Option<LocalList>, Unavailable> {
        let key = ChargerKey::of(charger_id);
        let found = self.readers.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE l.charger_key = ?1 AND {WISHED}");
            let row = connection
                .prepare_cached(&sql)?
                .query_row([key.as_str()], |row| row.try_into())
                .optional()?;
            row.map(list).transpose()
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn local_list_page(
        &self,
        filter: &LocalListFilter,
        page: &PageRequest,
    ) -> Result<Page<LocalList>, QueryError> {
        let after = after_charger(page)?;
        let limit = page.rows();
        let phase = filter.phase.map(Phase::as_str);
        let search = filter.search.as_deref().map(ChargerKey::of);
        let search = search.as_ref().map(ChargerKey::as_str);
        let rows = self.readers.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM {FROM} WHERE l.charger_key > ?1 AND {WISHED}
                   AND (?2 IS NULL OR l.phase = ?2) AND (?3 IS NULL OR instr(l.charger_key, ?3) > 0)
                 ORDER BY l.charger_key LIMIT ?4"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(
                params![after.as_str(), phase, search, at_most(limit) + 1],
                |row| row.try_into(),
            )?;
            rows.map(|row| Ok(listed(row?)))
                .collect::<Result<Vec<_>, Refusal>>()
        });
        let rows = rows.map_err(|refusal| QueryError::Unavailable(refusal.into_unavailable()))?;
        Ok(cut_readable(rows, limit))
    }
}

/// Ends the wish and the list of a charger that is removed, inside the caller's transaction: whoever connected next with its
/// identity would get the list.
pub(super) fn end_of_removed(
    connection: &Connection,
    charger_id: &str,
    origin: &Origin,
) -> Result<(), Refusal> {
    let key = ChargerKey::of(charger_id);
    let before = stored_wish(connection, &key)?;
    for sql in [
        "DELETE FROM local_list_wishes WHERE charger_key = ?1",
        "DELETE FROM local_lists WHERE charger_key = ?1",
    ] {
        connection.execute(sql, [key.as_str()])?;
    }
    if let Some(before) = before {
        let before = removable_wish(key.as_str(), &before);
        let entry = wish_entry(Some(charger_id), before.as_ref(), None, origin)?;
        audit::insert(connection, &entry)?;
    }
    Ok(())
}

fn wish_of(connection: &Connection, key: &ChargerKey) -> Result<Option<Wish>, Refusal> {
    let wish = stored_wish(connection, key)?;
    wish.map(|wish| read_wish(key.as_str(), &wish)).transpose()
}

fn stored_wish(connection: &Connection, key: &ChargerKey) -> Result<Option<String>, Refusal> {
    let wish = connection
        .prepare_cached("SELECT wish FROM local_list_wishes WHERE charger_key = ?1")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?;
    Ok(wish)
}

/// Makes the lists due that wait for chargers which these records say have connected, inside the caller's transaction.
pub(crate) fn hasten_connected(
    connection: &Connection,
    records: &[(RecordId, Record<'_>)],
) -> Result<(), Refusal> {
    let connected = connected(records);
    if connected.is_empty() {
        return Ok(());
    }
    let mut hasten = connection.prepare_cached(HASTEN_CONNECTED)?;
    for (key, at) in connected {
        hasten.execute(params![key, at.0])?;
    }
    Ok(())
}

const HASTEN_CONNECTED: &str = "UPDATE local_lists SET due_at = ?2, revision = revision + 1
     WHERE charger_key = ?1 AND due_at > ?2 AND phase = 'waiting_for_charger'";
