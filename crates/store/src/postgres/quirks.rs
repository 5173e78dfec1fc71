//! The table `charger_quirks`.

use super::error;
use super::numbers::clean;
use super::writer::Cache;
use crate::quirks::{NewRecords, StoredCount, Summary, added};
use crate::refusal::Refusal;
use central::Quirk;
use central::model::{ChargerKey, ChargerModel, QuirkOfRecord, QuirkSummary, QuirkView};
use central::query::{Page, QuirkFilter};
use sqlx::postgres::PgConnection;

/// Rows fetched at a time.
const CHUNK: i64 = 5_000;

/// Adds the quirks of new records to the counts, sorted by key.
pub(crate) async fn write(
    connection: &mut PgConnection,
    cache: &Cache,
    quirks: &[(ChargerKey, QuirkOfRecord)],
    new: &NewRecords,
) -> Result<(), Refusal> {
    if quirks.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::new();
    for ((charger, quirk), count) in added(quirks, new) {
        let charger_no = cache.numbers.charger_with_key(charger)?;
        rows.push((charger_no, i16::from(quirk as u8), count));
    }
    // Two writers with the same rows wait for each other in one direction only.
    rows.sort_unstable_by_key(|row| (row.0, row.1));
    sqlx::query(
        "INSERT INTO charger_quirks AS q (charger_no, quirk, count, first_at, last_at)
         SELECT * FROM unnest($1::int[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[])
         ON CONFLICT (charger_no, quirk) DO UPDATE SET count = q.count + excluded.count,
            first_at = least(q.first_at, excluded.first_at),
            last_at = greatest(q.last_at, excluded.last_at)",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| row.2.count.cast_signed())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|row| row.2.first_at.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.last_at.0).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// The quirks of one charger.
pub(super) async fn of_charger(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Vec<QuirkView>, Refusal> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT q.charger_no, NULL::text, q.quirk, q.count, q.first_at, q.last_at
         FROM charger_quirks q JOIN chargers c ON c.no = q.charger_no
         WHERE c.key = $1 ORDER BY q.quirk",
    )
    .bind(clean(ChargerKey::of(id).as_str()).into_owned())
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let views = rows.into_iter().map(stored).filter_map(|stored| {
        let count = stored.count();
        stored.quirk().map(|quirk| QuirkView { quirk, count })
    });
    Ok(views.collect())
}

/// A page of the summary.
pub(super) async fn page(
    connection: &mut PgConnection,
    filter: &QuirkFilter,
    after: Option<(Quirk, ChargerModel)>,
    limit: usize,
) -> Result<Page<QuirkSummary>, Refusal> {
    let mut summary = Summary::new(filter, after, limit);
    let mut reached = (-1, -1);
    loop {
        let rows: Vec<Columns> = sqlx::query_as(
            // The state of a charger is long, so only its first row brings it.
            "SELECT q.charger_no, CASE WHEN q.is_first THEN c.state END, q.quirk, q.count, q.first_at, q.last_at
             FROM (SELECT *, lag(charger_no) OVER (ORDER BY charger_no, quirk) IS DISTINCT FROM charger_no AS is_first
                 FROM (SELECT * FROM charger_quirks
                     WHERE (charger_no, quirk) > ($1, $2) AND ($3::smallint IS NULL OR quirk = $3)
                     ORDER BY charger_no, quirk LIMIT $4) r) q
             JOIN chargers c ON c.no = q.charger_no
             ORDER BY q.charger_no, q.quirk",
        )
        .bind(reached.0)
        .bind(reached.1)
        .bind(filter.quirk.map(|quirk| i16::from(quirk as u8)))
        .bind(CHUNK)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::refusal)?;
        let Some(last) = rows.last() else {
            return Ok(summary.page());
        };
        reached = (last.0, last.2);
        for row in rows {
            summary.add(&stored(row))?;
        }
    }
}

type Columns = (i32, Option<String>, i16, i64, i64, i64);

fn stored((charger_no, state, quirk, count, first_at, last_at): Columns) -> StoredCount {
    StoredCount {
        charger_no: i64::from(charger_no),
        state,
        quirk: i64::from(quirk),
        count,
        first_at,
        last_at,
    }
}
