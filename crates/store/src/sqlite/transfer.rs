//! Copies rows that do not follow from records. Bytes are written as `\x` and hexadecimal digits, as PostgreSQL does.

use super::SqliteStore;
use crate::refusal::Refusal;
use crate::transfer::{
    CLOSE_NOTED, COPIED, FORMER_KEYS, NO_EVENTS, REBUILT, REPLAY_NOTE, copied_columns,
    filled_tables,
};
use central::Timestamp;
use central::ports::{
    COPIED_ROWS_MAX, CopiedRow, CopiedTable, CopyMode, Holding, Transfer, Unavailable,
};
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Statement, params_from_iter};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use uuid::Uuid;

impl Transfer for SqliteStore {
    fn holding(&self) -> Result<Holding, Unavailable> {
        let found = self.readers.read(|connection| {
            let note: Option<i64> = connection
                .query_row(
                    "SELECT value FROM settings WHERE name = ?1",
                    [REPLAY_NOTE],
                    |row| row.get(0),
                )
                .optional()?;
            if note == Some(0) {
                return Ok(Holding::UnfinishedReplay);
            }
            for name in filled_tables() {
                let sql = format!("SELECT EXISTS (SELECT 1 FROM {name})");
                if connection.query_row(&sql, [], |row| row.get(0))? {
                    return Ok(Holding::Rows(name));
                }
            }
            Ok(Holding::Nothing)
        });
        found.map_err(Refusal::into_unavailable)
    }

    fn mark_replay(&self, is_finished: bool) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                "INSERT INTO settings (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (REPLAY_NOTE, i64::from(is_finished)),
            )?;
            Ok(())
        })
    }

    fn prepare_for(&self, _: Timestamp) -> Result<(), Unavailable> {
        Ok(())
    }

    fn copied_tables(&self) -> &'static [CopiedTable] {
        COPIED
    }

    fn rows(
        &self,
        table: &CopiedTable,
        after: Option<&CopiedRow>,
    ) -> Result<Vec<CopiedRow>, Unavailable> {
        let rows = self.readers.read(|connection| {
            let types = column_types(connection, table.name)?;
            let key = table.key.join(", ");
            let (condition, bound) = match after {
                None => (String::new(), Vec::new()),
                Some(row) => {
                    let places = vec!["?"; table.key.len()].join(", ");
                    let bound = table
                        .key
                        .iter()
                        .map(|name| cell(row.get(*name), types.get(*name)));
                    (
                        format!("WHERE ({key}) > ({places})"),
                        bound.collect::<Result<Vec<_>, _>>()?,
                    )
                }
            };
            let sql = format!(
                "SELECT * FROM {} {condition} ORDER BY {key} LIMIT {COPIED_ROWS_MAX}",
                table.name
            );
            let mut statement = connection.prepare(&sql)?;
            copied_rows(&mut statement, params_from_iter(bound))
        });
        rows.map_err(Refusal::into_unavailable)
    }

    fn clear(&self, table: &CopiedTable) -> Result<(), Unavailable> {
        if table.mode != CopyMode::Replace {
            return Ok(());
        }
        self.transact(|connection, _| {
            connection.execute(&format!("DELETE FROM {}", table.name), [])?;
            Ok(())
        })
    }

    fn put_rows(&self, table: &CopiedTable, rows: &[CopiedRow]) -> Result<(), Unavailable> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        self.transact(|connection, _| {
            let types = column_types(connection, table.name)?;
            let columns = copied_columns(table, first, &types)?;
            let names = columns.join(", ");
            let values = vec!["?"; columns.len()].join(", ");
            let on_conflict = match table.mode {
                CopyMode::Replace => String::new(),
                CopyMode::Keep => "ON CONFLICT DO NOTHING".to_owned(),
                CopyMode::Overwrite => {
                    let set = columns
                        .iter()
                        .map(|name| format!("{name} = excluded.{name}"));
                    format!(
                        "ON CONFLICT ({}) DO UPDATE SET {}",
                        table.key.join(", "),
                        set.collect::<Vec<_>>().join(", ")
                    )
                }
            };
            let mut insert = connection.prepare(&format!(
                "INSERT INTO {} ({names}) VALUES ({values}) {on_conflict}",
                table.name
            ))?;
            for row in rows {
                if row.get("name") == Some(&REPLAY_NOTE.into()) {
                    continue;
                }
                let cells = columns
                    .iter()
                    .map(|name| cell(row.get(*name), types.get(*name)));
                insert.execute(params_from_iter(cells.collect::<Result<Vec<_>, _>>()?))?;
            }
            Ok(())
        })
    }

    fn former_keys(&self, after: Option<&CopiedRow>) -> Result<Vec<CopiedRow>, Unavailable> {
        let rows = self.readers.read(|connection| {
            let after = after.and_then(|row| row.get("key"));
            let after = match after {
                Some(Value::String(key)) => bytes(key)?,
                _ => Vec::new(),
            };
            let sql =
                format!("{FORMER_KEYS} WHERE a.key > ?1 ORDER BY a.key LIMIT {COPIED_ROWS_MAX}");
            let mut statement = connection.prepare(&sql)?;
            copied_rows(&mut statement, [after])
        });
        rows.map_err(Refusal::into_unavailable)
    }

    fn put_former_keys(&self, rows: &[CopiedRow]) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            let mut insert = connection.prepare(
                "INSERT INTO transaction_aliases (key, transaction_no)
                 SELECT ?1, t.no FROM chargers c JOIN transactions t ON t.charger_no = c.no AND t.wire_id = ?3
                 WHERE c.key = ?2 ON CONFLICT DO NOTHING",
            )?;
            for row in rows {
                let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
                insert.execute((bytes(text("key"))?, text("charger_key"), text("wire_id")))?;
            }
            Ok(())
        })
    }

    fn settle(&self) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                &format!("UPDATE transaction_views SET closed = 1, open = 0 WHERE {CLOSE_NOTED}"),
                [],
            )?;
            for sql in NO_EVENTS {
                connection.execute(sql, [])?;
            }
            Ok(())
        })
    }

    fn count_rebuilt(&self) -> Result<Vec<(&'static str, u64)>, Unavailable> {
        let counts = self.readers.read(|connection| {
            let mut counts = Vec::new();
            for name in REBUILT {
                // Without the rows that only hold a number.
                let condition = match *name {
                    "chargers" => "WHERE state IS NOT NULL",
                    _ => "",
                };
                let sql = format!("SELECT count(*) FROM {name} {condition}");
                let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
                counts.push((*name, count.unsigned_abs()));
            }
            Ok(counts)
        });
        counts.map_err(Refusal::into_unavailable)
    }
}

/// All rows of a statement.
fn copied_rows(
    statement: &mut Statement<'_>,
    bound: impl Params,
) -> Result<Vec<CopiedRow>, Refusal> {
    let names: Vec<String> = statement
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut found = statement.query(bound)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut copied = CopiedRow::new();
        for (at, name) in names.iter().enumerate() {
            copied.insert(name.clone(), json(row.get_ref(at)?));
        }
        rows.push(copied);
    }
    Ok(rows)
}

/// The declared type of each column of a table.
fn column_types(connection: &Connection, table: &str) -> Result<HashMap<String, String>, Refusal> {
    let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn json(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => {
            let mut text = String::with_capacity(2 + 2 * bytes.len());
            text.push_str("\\x");
            for byte in bytes {
                // Writing to a String does not fail.
                let _ = write!(text, "{byte:02x}");
            }
            text.into()
        }
    }
}

/// A value as a column of the declared type holds it.
fn cell(value: Option<&Value>, declared: Option<&String>) -> Result<Cell, Refusal> {
    let is_blob = declared.is_some_and(|declared| declared == "BLOB");
    Ok(match value {
        None | Some(Value::Null) => Cell::Null,
        Some(Value::Bool(is_true)) => Cell::Integer(i64::from(*is_true)),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cell::Integer(whole),
            (None, Some(real)) => Cell::Real(real),
            (None, None) => return Err(unreadable(number)),
        },
        Some(Value::String(text)) if is_blob => Cell::Blob(bytes(text)?),
        Some(Value::String(text)) => Cell::Text(text.clone()),
        Some(other) => Cell::Text(other.to_string()),
    })
}

/// Bytes that are written as `\x` and digits, or as a UUID.
fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    let Some(digits) = text.strip_prefix("\\x") else {
        let uuid = Uuid::try_parse(text).map_err(|_| unreadable(text))?;
        return Ok(uuid.as_bytes().to_vec());
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<_>>().ok_or_else(|| unreadable(text))
}

fn unreadable(value: impl std::fmt::Display) -> Refusal {
    Refusal::corrupt(format!("{value} cannot be copied"))
}
