//! What each table is to a replay into another database: rebuilt from records, copied, or left out. A test compares this
//! list with the tables of both schemas, so a new table cannot be forgotten.

use crate::refusal::Refusal;
use central::ports::{CopiedRow, CopiedTable, CopyMode};
use std::collections::HashMap;

/// The name in `settings` under which a replay is noted; its value is 0 while it is unfinished.
pub(crate) const REPLAY_NOTE: &str = "replay";

/// Columns that a store fills by itself and the other one may lack.
const OWN_COLUMNS: [&str; 2] = ["stored_on", "rev"];

const fn replaced(name: &'static str, key: &'static [&'static str]) -> CopiedTable {
    CopiedTable {
        name,
        key,
        columns: &[],
        mode: CopyMode::Replace,
    }
}

/// The tables whose rows are copied, in that order. Closings come before the records, because the list of transactions
/// depends on them. Gateways and chargers are rebuilt, but the number of a gateway and the first spelling of a charger's
/// identity depend on which record was applied first. The numbers of gateways are the order of the list of messages, and
/// discarded dead letters refer to them.
pub(crate) const COPIED: &[CopiedTable] = &[
    CopiedTable {
        name: "gateways",
        key: &["no"],
        columns: &["no", "id"],
        mode: CopyMode::Keep,
    },
    CopiedTable {
        name: "chargers",
        key: &["no"],
        columns: &["key", "id"],
        mode: CopyMode::Keep,
    },
    replaced("transaction_closings", &["key"]),
    replaced("sites", &["id"]),
    replaced("charger_profiles", &["key"]),
    replaced("removed_chargers", &["key"]),
    replaced("password_rotations", &["key"]),
    replaced("tokens", &["key"]),
    replaced("dismissed_tokens", &["key"]),
    replaced("api_keys", &["id"]),
    replaced("users", &["id"]),
    replaced("audit_log", &["no"]),
    replaced("commands", &["no"]),
    replaced("command_keys", &["requested_by", "key"]),
    replaced("idempotency_keys", &["requested_by", "key"]),
    replaced("batches", &["no"]),
    replaced("batch_items", &["batch", "place"]),
    replaced("webhooks", &["id"]),
    replaced("webhook_attempts", &["no"]),
    replaced("alerts", &["id"]),
    replaced("alert_silences", &["id"]),
    replaced("local_list_wishes", &["charger_key"]),
    replaced("local_lists", &["charger_key"]),
    replaced("local_list_contents", &["digest"]),
    replaced("event_log", &["position"]),
    replaced("event_head", &["only_row"]),
    replaced("event_sessions", &["key"]),
    replaced("refused_handshakes", &["no"]),
    replaced("set_aside", &["no"]),
    replaced("discarded_letters", &["no"]),
    CopiedTable {
        name: "settings",
        key: &["name"],
        columns: &[],
        mode: CopyMode::Overwrite,
    },
];

/// Tables that follow from records, counted at the end of a replay.
pub(crate) const REBUILT: &[&str] = &[
    "chargers",
    "connectors",
    "transactions",
    "transaction_views",
    "unnamed_places",
    "charger_quirks",
    "unknown_tokens",
    "command_progress",
    "command_effects",
    "events",
    "dead_letters",
];

/// Tables that follow from records and are not counted: two are too large, and of the keys that a transaction had some
/// depend on the order of arrival.
pub(crate) const REBUILT_UNCOUNTED: &[&str] = &["messages", "meter_values", "transaction_aliases"];

/// Tables that have a row in every database.
const NEVER_EMPTY: [&str; 2] = ["settings", "event_head"];

/// Every table that is rebuilt or copied, other than those that are never empty.
pub(crate) fn filled_tables() -> impl Iterator<Item = &'static str> {
    let copied = COPIED.iter().map(|table| table.name);
    copied
        .chain(REBUILT.iter().copied())
        .chain(REBUILT_UNCOUNTED.iter().copied())
        .filter(|name| !NEVER_EMPTY.contains(name))
}

/// Reads the rows of [`central::ports::Transfer::former_keys`].
pub(crate) const FORMER_KEYS: &str =
    "SELECT a.key, c.key AS charger_key, t.wire_id FROM transaction_aliases a
     JOIN transactions t ON t.no = a.transaction_no JOIN chargers c ON c.no = t.charger_no";

/// What records have changed is no news: nothing of it goes to the log of events. The sessions are noted as those of
/// before the log are.
pub(crate) const NO_EVENTS: [&str; 3] = [
    "DELETE FROM event_queue",
    "DELETE FROM token_refusals",
    "INSERT INTO event_sessions (key, stages, shown)
        SELECT key, max(CASE WHEN kind = 2 THEN 0 ELSE 1 END) + 2 * max(CASE WHEN unended AND partner IS NULL THEN 0 ELSE 1 END)
            + 4 * max(CASE WHEN closed OR successor IS NOT NULL THEN 1 ELSE 0 END), 0
        FROM transaction_views WHERE true GROUP BY key ON CONFLICT (key) DO NOTHING",
];

/// The condition for open sessions of which a person has noted the end.
pub(crate) const CLOSE_NOTED: &str =
    "key IN (SELECT key FROM transaction_closings) AND open AND NOT hidden";

/// The columns of `row` that are copied; `types` has the columns of the table here.
///
/// # Errors
/// A copied column that the table here lacks.
pub(crate) fn copied_columns<'a>(
    table: &CopiedTable,
    row: &'a CopiedRow,
    types: &HashMap<String, String>,
) -> Result<Vec<&'a str>, Refusal> {
    let names = row.keys().map(String::as_str);
    let wanted = names
        .filter(|name| table.columns.is_empty() || table.columns.contains(name))
        .filter(|name| !OWN_COLUMNS.contains(name));
    let wanted: Vec<&str> = wanted.collect();
    match wanted.iter().find(|name| !types.contains_key(**name)) {
        Some(name) => Err(Refusal::corrupt(format!(
            "{} has no column {name} here: migrate both databases with the same version",
            table.name
        ))),
        None => Ok(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Tables of a store's own: the version of the schema, the processes that run, what gateways are asked
    /// for now, how many events of the current hour are counted, and what is found again while records are applied.
    const OWN: &[&str] = &[
        "wattpost_schema",
        "message_days",
        "message_blocks",
        "transactions_to_list",
        "event_queue",
        "processes",
        "disconnect_requests",
        "alert_evaluation",
        "token_refusals",
    ];

    /// The tables that the migrations of `store` create.
    fn created(migrations: &str) -> BTreeSet<String> {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(migrations);
        let files = std::fs::read_dir(directory).expect("the migrations");
        let mut names = BTreeSet::new();
        for file in files {
            let sql = std::fs::read_to_string(file.expect("a file").path()).expect("SQL");
            for line in sql.lines() {
                let Some(rest) = line.strip_prefix("CREATE TABLE ") else {
                    continue;
                };
                // Partitions are named after their table.
                if !rest.contains(" PARTITION OF ") {
                    let name = rest.split([' ', '(']).next().expect("a name");
                    names.insert(name.to_owned());
                }
            }
            for line in sql.lines() {
                if let Some(rest) = line.strip_prefix("DROP TABLE ") {
                    names.remove(rest.trim_end_matches(';'));
                }
                if let Some((old, new)) = line
                    .strip_prefix("ALTER TABLE ")
                    .and_then(|rest| rest.trim_end_matches(';').split_once(" RENAME TO "))
                {
                    names.remove(old);
                    names.insert(new.to_owned());
                }
            }
        }
        names
    }

    #[test]
    fn each_table_is_rebuilt_or_copied_or_a_stores_own() {
        let mut known: BTreeSet<String> = filled_tables().map(str::to_owned).collect();
        known.extend(NEVER_EMPTY.map(str::to_owned));
        let own = OWN.iter().map(|name| (*name).to_owned());
        for migrations in ["migrations/postgres", "migrations/sqlite"] {
            let tables = created(migrations);
            assert!(tables.len() > 15, "{migrations}: {tables:?}");
            for table in &tables {
                assert!(
                    known.contains(table) || OWN.contains(&table.as_str()),
                    "{migrations} creates {table}: say in store/src/transfer.rs what a replay does with it"
                );
            }
        }
        let all: BTreeSet<String> = created("migrations/postgres")
            .union(&created("migrations/sqlite"))
            .cloned()
            .collect();
        for name in known.iter().cloned().chain(own) {
            assert!(all.contains(&name), "no migration creates {name}");
        }
    }

    #[test]
    fn names_are_safe_in_sql() {
        let is_plain = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        for table in COPIED {
            assert!(is_plain(table.name));
            assert!(!table.key.is_empty());
            assert!(
                table
                    .key
                    .iter()
                    .chain(table.columns)
                    .all(|name| is_plain(name))
            );
        }
        assert!(REBUILT.iter().all(|name| is_plain(name)));
    }
}
