//! The table `charger_quirks`.

use crate::quirks::{NewRecords, StoredCount, Summary, added};
use crate::refusal::Refusal;
use crate::sqlite::writer::Cache;
use central::Quirk;
use central::model::{ChargerKey, ChargerModel, QuirkOfRecord, QuirkSummary, QuirkView};
use central::query::{Page, QuirkFilter};
use rusqlite::{Connection, Row, params};

/// Adds the quirks of new records to the counts.
pub(crate) fn write(
    connection: &Connection,
    cache: &mut Cache,
    quirks: &[(ChargerKey, QuirkOfRecord)],
    new: &NewRecords,
) -> Result<(), Refusal> {
    if quirks.is_empty() {
        return Ok(());
    }
    let mut add = connection.prepare_cached(
        "INSERT INTO charger_quirks (charger_no, quirk, count, first_at, last_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (charger_no, quirk) DO UPDATE SET count = count + excluded.count,
            first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)",
    )?;
    for ((charger, quirk), count) in added(quirks, new) {
        add.execute(params![
            cache.numbers.charger_with_key(connection, charger)?,
            quirk as u8,
            count.count.cast_signed(),
            count.first_at.0,
            count.last_at.0,
        ])?;
    }
    Ok(())
}

/// The quirks of one charger.
pub(super) fn of_charger(connection: &Connection, id: &str) -> Result<Vec<QuirkView>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT q.charger_no, NULL, q.quirk, q.count, q.first_at, q.last_at
         FROM charger_quirks q JOIN chargers c ON c.no = q.charger_no
         WHERE c.key = ?1 ORDER BY q.quirk",
    )?;
    let mut rows = statement.query([ChargerKey::of(id).as_str()])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = stored(row)?;
        if let Some(quirk) = stored.quirk() {
            let count = stored.count();
            views.push(QuirkView { quirk, count });
        }
    }
    Ok(views)
}

/// A page of the summary.
pub(super) fn page(
    connection: &Connection,
    filter: &QuirkFilter,
    after: Option<(Quirk, ChargerModel)>,
    limit: usize,
) -> Result<Page<QuirkSummary>, Refusal> {
    let mut statement = connection.prepare_cached(
        "SELECT q.charger_no, c.state, q.quirk, q.count, q.first_at, q.last_at
         FROM charger_quirks q JOIN chargers c ON c.no = q.charger_no
         WHERE ?1 IS NULL OR q.quirk = ?1 ORDER BY q.charger_no",
    )?;
    let mut rows = statement.query([filter.quirk.map(|quirk| quirk as u8)])?;
    let mut summary = Summary::new(filter, after, limit);
    while let Some(row) = rows.next()? {
        summary.add(&stored(row)?)?;
    }
    Ok(summary.page())
}

fn stored(row: &Row<'_>) -> Result<StoredCount, rusqlite::Error> {
    Ok(StoredCount {
        charger_no: row.get(0)?,
        state: row.get(1)?,
        quirk: row.get(2)?,
        count: row.get(3)?,
        first_at: row.get(4)?,
        last_at: row.get(5)?,
    })
}
