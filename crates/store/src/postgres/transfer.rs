//! Copies rows that do not follow from records: as JSON, which PostgreSQL converts to and from each column's type.

use super::numbers::clean;
use super::{PostgresStore, error};
use crate::contents::json;
use crate::refusal::Refusal;
use crate::transfer::{
    CLOSE_NOTED, COPIED, FORMER_KEYS, NO_EVENTS, REBUILT, REPLAY_NOTE, copied_columns,
    filled_tables,
};
use central::Timestamp;
use central::ports::{
    COPIED_ROWS_MAX, CopiedRow, CopiedTable, CopyMode, Holding, Transfer, Unavailable,
};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// How long counting may take.
const COUNT_TIMEOUT: Duration = Duration::from_secs(600);

impl Transfer for PostgresStore {
    fn holding(&self) -> Result<Holding, Unavailable> {
        self.read(async |connection| {
            let note: Option<i64> =
                sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
                    .bind(REPLAY_NOTE)
                    .fetch_optional(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
            if note == Some(0) {
                return Ok(Holding::UnfinishedReplay);
            }
            for name in filled_tables() {
                let sql = format!("SELECT EXISTS (SELECT 1 FROM {name})");
                let has_rows: bool = sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                if has_rows {
                    return Ok(Holding::Rows(name));
                }
            }
            Ok(Holding::Nothing)
        })
    }

    fn mark_replay(&self, is_finished: bool) -> Result<(), Unavailable> {
        self.write(async |connection| {
            sqlx::query(
                "INSERT INTO settings (name, value) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(REPLAY_NOTE)
            .bind(i64::from(is_finished))
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn prepare_for(&self, at: Timestamp) -> Result<(), Unavailable> {
        self.write(async |connection| {
            sqlx::query("SELECT wattpost_maintain($1, 0, false)")
                .bind(at.0)
                .execute(connection)
                .await
                .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn copied_tables(&self) -> &'static [CopiedTable] {
        COPIED
    }

    fn rows(
        &self,
        table: &CopiedTable,
        after: Option<&CopiedRow>,
    ) -> Result<Vec<CopiedRow>, Unavailable> {
        let name = table.name;
        let key = table.key.join(", ");
        let first = table.key[0];
        let after_key = table
            .key
            .iter()
            .map(|column| format!("a.{column}"))
            .collect::<Vec<_>>()
            .join(", ");
        let from_after = format!("FROM jsonb_populate_record(NULL::{name}, $1::text::jsonb) a");
        let condition = match after {
            // The first column by itself lets an index be used.
            Some(_) => format!(
                "WHERE t.{first} >= (SELECT a.{first} {from_after}) AND ({}) > (SELECT {after_key} {from_after})",
                table
                    .key
                    .iter()
                    .map(|column| format!("t.{column}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            // The parameter is used in both forms.
            None => "WHERE $1::text IS NULL".to_owned(),
        };
        let sql = format!(
            "SELECT to_jsonb(t)::text FROM {name} t {condition} ORDER BY {key} LIMIT {COPIED_ROWS_MAX}"
        );
        let after = after.map(|row| Value::Object(row.clone()).to_string());
        self.read(async |connection| {
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .bind(after)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            let rows = rows.iter().map(|row| json(row));
            rows.collect()
        })
    }

    fn clear(&self, table: &CopiedTable) -> Result<(), Unavailable> {
        if table.mode != CopyMode::Replace {
            return Ok(());
        }
        let sql = format!("DELETE FROM {}", table.name);
        self.write(async |connection| execute(connection, sql).await)
    }

    fn put_rows(&self, table: &CopiedTable, rows: &[CopiedRow]) -> Result<(), Unavailable> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        self.write(async |connection| {
            let types = column_types(connection, table.name).await?;
            let columns = copied_columns(table, first, &types)?;
            let rows: Vec<Value> = rows
                .iter()
                .filter(|row| row.get("name") != Some(&REPLAY_NOTE.into()))
                .map(|row| Value::Object(converted(row, &columns, &types)))
                .collect();
            let names = columns.join(", ");
            let values = format!("r.{}", columns.join(", r."));
            let on_conflict = match table.mode {
                CopyMode::Replace => String::new(),
                CopyMode::Keep => "ON CONFLICT DO NOTHING".to_owned(),
                CopyMode::Overwrite => {
                    let set = columns.iter().map(|name| format!("{name} = excluded.{name}"));
                    format!(
                        "ON CONFLICT ({}) DO UPDATE SET {}",
                        table.key.join(", "),
                        set.collect::<Vec<_>>().join(", ")
                    )
                }
            };
            // In the order of the array, so that new numbers are in the order of the rows.
            let sql = format!(
                "INSERT INTO {0} ({names}) OVERRIDING SYSTEM VALUE
                 SELECT {values} FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY e (row, place),
                     LATERAL jsonb_populate_record(NULL::{0}, e.row) r ORDER BY e.place {on_conflict}",
                table.name
            );
            sqlx::query(AssertSqlSafe(sql))
                .bind(Value::Array(rows).to_string())
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            if !columns.contains(&"no") {
                return Ok(());
            }
            // The next row gets a number of its own. A sequence begins at 1, the gateways of SQLite at 0.
            execute(
                connection,
                format!(
                    "SELECT setval(pg_get_serial_sequence('{0}', 'no'), (SELECT greatest(max(no), 1) FROM {0}))",
                    table.name
                ),
            )
            .await
        })
    }

    fn former_keys(&self, after: Option<&CopiedRow>) -> Result<Vec<CopiedRow>, Unavailable> {
        let after = after
            .and_then(|row| row.get("key"))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let sql = format!(
            "SELECT to_jsonb(f)::text FROM ({FORMER_KEYS} WHERE $1::uuid IS NULL OR a.key > $1::uuid
                ORDER BY a.key LIMIT {COPIED_ROWS_MAX}) f"
        );
        self.read(async |connection| {
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .bind(after.and_then(|key| Uuid::try_parse(&key).ok()))
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
            rows.iter().map(|row| json(row)).collect()
        })
    }

    fn put_former_keys(&self, rows: &[CopiedRow]) -> Result<(), Unavailable> {
        let text = |row: &CopiedRow, name: &str| {
            let text = row.get(name).and_then(Value::as_str).unwrap_or_default();
            clean(text.strip_prefix("\\x").unwrap_or(text)).into_owned()
        };
        let column = |name: &str| rows.iter().map(|row| text(row, name)).collect::<Vec<_>>();
        // An id on the wire may begin with any text.
        let wire_ids: Vec<String> = rows
            .iter()
            .map(|row| {
                let id = row.get("wire_id").and_then(Value::as_str);
                clean(id.unwrap_or_default()).into_owned()
            })
            .collect();
        self.write(async |connection| {
            sqlx::query(
                "INSERT INTO transaction_aliases (key, transaction_no)
                 SELECT f.key::uuid, t.no FROM unnest($1::text[], $2::text[], $3::text[]) f (key, charger_key, wire_id)
                 JOIN chargers c ON c.key = f.charger_key
                 JOIN transactions t ON t.charger_no = c.no
                    AND sha256(replace(t.wire_id, '\\', '\\\\')::bytea) = sha256(replace(f.wire_id, '\\', '\\\\')::bytea)
                 ON CONFLICT DO NOTHING",
            )
            .bind(column("key"))
            .bind(column("charger_key"))
            .bind(wire_ids)
            .execute(connection)
            .await
            .map_err(error::refusal)?;
            Ok(())
        })
    }

    fn settle(&self) -> Result<(), Unavailable> {
        self.write(async |connection| {
            let sql = format!(
                "UPDATE transaction_views SET closed = true, open = false WHERE {CLOSE_NOTED}"
            );
            execute(connection, sql).await
        })?;
        self.list_postponed();
        self.write(async |connection| {
            for sql in NO_EVENTS {
                execute(connection, sql.to_owned()).await?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn count_rebuilt(&self) -> Result<Vec<(&'static str, u64)>, Unavailable> {
        self.read_within(COUNT_TIMEOUT, async |connection| {
            let mut counts = Vec::new();
            for name in REBUILT {
                // Without the rows that only hold a number.
                let condition = match *name {
                    "chargers" => "WHERE state IS NOT NULL",
                    _ => "",
                };
                let sql = format!("SELECT count(*) FROM {name} {condition}");
                let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                counts.push((*name, count.unsigned_abs()));
            }
            Ok(counts)
        })
    }
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), Refusal> {
    sqlx::query(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// The type of each column of a table.
async fn column_types(
    connection: &mut PgConnection,
    table: &str,
) -> Result<HashMap<String, String>, Refusal> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
         WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    Ok(rows.into_iter().collect())
}

/// The copied columns of `row`, as the columns' types read them.
fn converted(row: &CopiedRow, columns: &[&str], types: &HashMap<String, String>) -> CopiedRow {
    let mut out = CopiedRow::new();
    for name in columns {
        let value = match row.get(*name) {
            Some(Value::String(text)) => {
                let is_uuid = types.get(*name).is_some_and(|kind| kind == "uuid");
                match text.strip_prefix("\\x") {
                    Some(digits) if is_uuid => digits.into(),
                    _ => clean(text).into_owned().into(),
                }
            }
            Some(value) => value.clone(),
            None => Value::Null,
        };
        out.insert((*name).to_owned(), value);
    }
    out
}
