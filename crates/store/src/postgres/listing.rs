//! The list of transactions on PostgreSQL; [`crate::listing`] describes its contents. A batch takes a fixed number of
//! statements, whatever its size, except where changed rows of one charger lie far apart in its history.

use super::{error, event_log, succession};
use crate::event_log::Queued;
use crate::listing::{Difference, Kind, ListRow, Listed, rows_of};
use crate::paging::at_most;
use crate::pairing::{Cluster, MARGIN, PairRow, Partnering, RowPlace};
use crate::refusal::Refusal;
use crate::state::read_transaction;
use crate::succession::{Order, PlaceOf};
use central::Timestamp;
use central::model::{Candidate, ChargerKey};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// When the list of transactions is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Lists {
    /// In the transaction that stores the messages.
    #[default]
    Now,
    /// By maintenance, because it took too long in that transaction.
    Later,
}

/// Updates the rows of these states in the list. Returns where sessions of a connector have changed; adds the
/// transactions of other rows that have changed with them to `changed`.
pub(crate) async fn write(
    connection: &mut PgConnection,
    listed: &[Listed<'_, i32>],
    changed: &mut Vec<Queued>,
) -> Result<Vec<(PlaceOf<i32>, Order)>, Refusal> {
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let old = stored(connection, listed).await?;
    let mut removed = Vec::new();
    let mut written = Vec::new();
    let mut aliases = Vec::new();
    let (mut places, mut at_places) = (Vec::new(), Vec::new());
    for one in listed {
        let new = rows_of(one.state, one.charger, one.wire_id);
        let before = old.get(&one.transaction_no).map_or(&[][..], Vec::as_slice);
        let difference = Difference::between(before, &new, one.charger, one.wire_id);
        removed.extend(difference.removed);
        written.extend(difference.written.into_iter().map(|row| (one, row)));
        if let Some((first, key)) = difference.replaced_key {
            aliases.push((first, key, one.transaction_no));
        }
        let rows = difference.places.into_iter();
        places.extend(rows.map(|place| (one.charger_no, place)));
        let rows = difference.at_places.into_iter();
        at_places.extend(rows.map(|(place, order)| ((one.charger_no, place), order)));
    }
    remove(connection, &removed).await?;
    // Before the new rows are written, which look for their closing.
    insert_aliases(connection, &aliases).await?;
    insert(connection, written).await?;
    at_places.extend(settle(connection, places, changed).await?);
    Ok(at_places)
}

/// Records that [`list_one_postponed`] must update the list for these transactions.
pub(crate) async fn postpone(
    connection: &mut PgConnection,
    listed: &[Listed<'_, i32>],
) -> Result<(), Refusal> {
    for one in listed {
        tracing::error!(
            charger.id = %one.charger,
            transaction.id = one.wire_id,
            "the list of transactions could not be updated in time; the message is stored, and maintenance updates the list"
        );
        metrics::counter!("wattpost_store_lists_put_off_total").increment(1);
    }
    let numbers: Vec<i64> = listed.iter().map(|one| one.transaction_no).collect();
    sqlx::query(
        "INSERT INTO transactions_to_list (transaction_no) SELECT * FROM unnest($1::bigint[])
         ON CONFLICT (transaction_no) DO NOTHING",
    )
    .bind(&numbers)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// Updates the list for one postponed transaction, chosen at random so that one which fails does not block the
/// others. Returns whether there was one.
pub(crate) async fn list_one_postponed(connection: &mut PgConnection) -> Result<bool, Refusal> {
    let charger: Option<(i64, i32, String)> = sqlx::query_as(
        "SELECT l.transaction_no, c.no, c.key FROM transactions_to_list l
         JOIN transactions t ON t.no = l.transaction_no JOIN chargers c ON c.no = t.charger_no
         ORDER BY random() LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(error::refusal)?;
    let Some((transaction_no, charger_no, charger)) = charger else {
        return Ok(false);
    };
    let charger = ChargerKey::of(&charger);
    // Locked as every writer does, so that no other writer changes the charger's list meanwhile.
    sqlx::query("SELECT no FROM chargers WHERE no = $1 FOR NO KEY UPDATE")
        .bind(charger_no)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    let (wire_id, json): (String, String) =
        sqlx::query_as("SELECT wire_id, state FROM transactions WHERE no = $1")
            .bind(transaction_no)
            .fetch_one(&mut *connection)
            .await
            .map_err(error::refusal)?;
    if let Some(state) = read_transaction(&wire_id, &json) {
        let listed = Listed {
            charger_no,
            charger: &charger,
            transaction_no,
            wire_id: &wire_id,
            state: &state,
        };
        let mut changed = vec![Queued::transaction(transaction_no)];
        let places = write(connection, &[listed], &mut changed).await?;
        succession::settle(connection, places, Vec::new(), &mut changed).await?;
        event_log::push(connection, &changed).await?;
    }
    sqlx::query("DELETE FROM transactions_to_list WHERE transaction_no = $1")
        .bind(transaction_no)
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(true)
}

/// A stored row. sqlx decodes tuples of up to 16 members.
type StoredRow = (
    i64,
    Uuid,
    i64,
    i16,
    bool,
    Option<i64>,
    Option<f64>,
    Vec<Option<i64>>,
    bool,
    Option<String>,
);

/// The stored rows, by the number of their state.
async fn stored(
    connection: &mut PgConnection,
    listed: &[Listed<'_, i32>],
) -> Result<HashMap<i64, Vec<ListRow>>, Refusal> {
    let numbers: Vec<i64> = listed.iter().map(|one| one.transaction_no).collect();
    let rows: Vec<StoredRow> = sqlx::query_as(
        "SELECT began_at, key, transaction_no, kind, unended, token, meter_wh,
             ARRAY[place, start_at, start_received_at, written_start_at, heard_at, stopped_at, stop_received_at],
             successor IS NOT NULL, token_key
         FROM transaction_views WHERE transaction_no = ANY($1)",
    )
    .bind(&numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut by_transaction: HashMap<i64, Vec<ListRow>> = HashMap::new();
    for row in rows {
        let (
            began_at,
            key,
            transaction_no,
            kind,
            open,
            token,
            meter_wh,
            placed,
            is_superseded,
            token_key,
        ) = row;
        let column = |at: usize| placed.get(at).copied().flatten();
        let (place, stop) =
            ListRow::placed(key, std::array::from_fn(column), [column(5), column(6)]);
        by_transaction
            .entry(transaction_no)
            .or_default()
            .push(ListRow {
                began_at,
                key,
                kind: Kind::from_code(kind.into()),
                open,
                token,
                meter_wh,
                place,
                stop,
                token_key,
                is_superseded,
            });
    }
    Ok(by_transaction)
}

async fn remove(connection: &mut PgConnection, rows: &[(i64, Uuid)]) -> Result<(), Refusal> {
    if rows.is_empty() {
        return Ok(());
    }
    let began: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let keys: Vec<Uuid> = rows.iter().map(|row| row.1).collect();
    sqlx::query(
        "DELETE FROM transaction_views v USING unnest($1::bigint[], $2::uuid[]) AS u (began_at, key)
         WHERE v.began_at = u.began_at AND v.key = u.key",
    )
    .bind(&began)
    .bind(&keys)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

async fn insert(
    connection: &mut PgConnection,
    mut rows: Vec<(&Listed<'_, i32>, ListRow)>,
) -> Result<(), Refusal> {
    rows.sort_unstable_by_key(|(_, row)| (row.began_at, row.key));
    rows.dedup_by_key(|(_, row)| (row.began_at, row.key));
    if rows.is_empty() {
        return Ok(());
    }
    let began: Vec<i64> = rows.iter().map(|(_, row)| row.began_at).collect();
    let keys: Vec<Uuid> = rows.iter().map(|(_, row)| row.key).collect();
    let chargers: Vec<i32> = rows.iter().map(|(one, _)| one.charger_no).collect();
    let transactions: Vec<i64> = rows.iter().map(|(one, _)| one.transaction_no).collect();
    let kinds: Vec<i16> = rows.iter().map(|(_, row)| row.kind as i16).collect();
    let open: Vec<bool> = rows.iter().map(|(_, row)| row.open).collect();
    let tokens: Vec<Option<i64>> = rows.iter().map(|(_, row)| row.token).collect();
    let meters: Vec<Option<f64>> = rows.iter().map(|(_, row)| row.meter_wh).collect();
    let token_keys: Vec<Option<&str>> = rows
        .iter()
        .map(|(_, row)| row.token_key.as_deref())
        .collect();
    let mut placed: [Vec<Option<i64>>; 7] = Default::default();
    for (_, row) in &rows {
        let columns = row.place_columns().into_iter().chain(row.stop_columns());
        for (column, value) in placed.iter_mut().zip(columns) {
            column.push(value);
        }
    }
    let [
        places,
        starts,
        start_receptions,
        written_starts,
        heard,
        stops,
        stop_receptions,
    ] = placed;
    // What the sessions of a connector decide is of that connector: a row with another one, or with none, loses it.
    sqlx::query(
        "INSERT INTO transaction_views AS v
            (began_at, key, charger_no, transaction_no, kind, unended, token, meter_wh, place, start_at,
             start_received_at, written_start_at, heard_at, stopped_at, stop_received_at, token_key,
             closed, open, hidden)
         SELECT u.*, c.key IS NOT NULL, u.unended AND c.key IS NULL, false
         FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::bigint[], $5::smallint[], $6::bool[],
             $7::bigint[], $8::float8[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
             $13::bigint[], $14::bigint[], $15::bigint[], $16::text[])
             AS u (began_at, key, charger_no, transaction_no, kind, unended, token, meter_wh, place, start_at,
                 start_received_at, written_start_at, heard_at, stopped_at, stop_received_at, token_key)
         LEFT JOIN transaction_closings c ON c.key = u.key
         ON CONFLICT (began_at, key) DO UPDATE SET kind = excluded.kind, unended = excluded.unended,
             token = excluded.token, meter_wh = excluded.meter_wh, place = excluded.place,
             start_at = excluded.start_at, start_received_at = excluded.start_received_at,
             written_start_at = excluded.written_start_at, heard_at = excluded.heard_at,
             stopped_at = excluded.stopped_at, stop_received_at = excluded.stop_received_at,
             token_key = excluded.token_key,
             open = excluded.unended AND NOT v.closed
                 AND (v.place = excluded.place AND v.successor IS NOT NULL) IS NOT TRUE,
             successor = CASE WHEN v.place = excluded.place THEN v.successor END,
             successor_at = CASE WHEN v.place = excluded.place THEN v.successor_at END,
             successor_received_at = CASE WHEN v.place = excluded.place THEN v.successor_received_at END,
             readings = CASE WHEN v.place = excluded.place THEN v.readings END,
             hidden = false, partner = NULL, partner_no = NULL",
    )
    .bind(&began)
    .bind(&keys)
    .bind(&chargers)
    .bind(&transactions)
    .bind(&kinds)
    .bind(&open)
    .bind(&tokens)
    .bind(&meters)
    .bind(&places)
    .bind(&starts)
    .bind(&start_receptions)
    .bind(&written_starts)
    .bind(&heard)
    .bind(&stops)
    .bind(&stop_receptions)
    .bind(&token_keys)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// Keeps replaced keys, each with the key that replaces it and the number of its state, and what a person wrote under
/// them.
async fn insert_aliases(
    connection: &mut PgConnection,
    aliases: &[(Uuid, Uuid, i64)],
) -> Result<(), Refusal> {
    if aliases.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = aliases.iter().map(|alias| alias.0).collect();
    let successors: Vec<Uuid> = aliases.iter().map(|alias| alias.1).collect();
    let numbers: Vec<i64> = aliases.iter().map(|alias| alias.2).collect();
    sqlx::query(
        "INSERT INTO transaction_closings (key, ended_at, who, reason, noted_at)
         SELECT u.next_key, c.ended_at, c.who, c.reason, c.noted_at
         FROM unnest($1::uuid[], $2::uuid[]) AS u (key, next_key)
         JOIN transaction_closings c ON c.key = u.key
         ON CONFLICT (key) DO NOTHING",
    )
    .bind(&keys)
    .bind(&successors)
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    sqlx::query(
        "INSERT INTO transaction_aliases (key, transaction_no)
         SELECT * FROM unnest($1::uuid[], $2::bigint[]) ON CONFLICT (key) DO NOTHING",
    )
    .bind(&keys)
    .bind(&numbers)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}

/// Decides which stops without a usable id end which starts, around these rows. Returns the sessions whose stop has
/// changed, as [`write()`].
async fn settle(
    connection: &mut PgConnection,
    places: Vec<(i32, RowPlace)>,
    changed: &mut Vec<Queued>,
) -> Result<Vec<(PlaceOf<i32>, Order)>, Refusal> {
    let mut clusters = Cluster::of(places);
    let mut changes = Vec::new();
    while !clusters.is_empty() {
        let mut around = around(connection, &clusters).await?;
        let mut halves = Vec::new();
        for (cluster, rows) in clusters.into_iter().zip(&mut around) {
            match rows {
                Some(rows) => changes.extend(cluster.decide(rows)),
                None => halves.extend(cluster.split().into_iter().flat_map(|(a, b)| [a, b])),
            }
        }
        clusters = halves;
    }
    update(connection, changes, changed).await
}

type FoundRow = (
    i32,
    i64,
    Uuid,
    i16,
    Option<i64>,
    Option<f64>,
    i64,
    Option<Uuid>,
);

/// For each cluster its rows with their margins; `None` where it should be split instead.
async fn around(
    connection: &mut PgConnection,
    clusters: &[Cluster<i32>],
) -> Result<Vec<Option<Vec<PairRow>>>, Refusal> {
    let (firsts, lasts): (Vec<_>, Vec<_>) = clusters
        .iter()
        .map(|cluster| (cluster.first(), cluster.last()))
        .unzip();
    let at =
        |places: &[RowPlace]| -> Vec<i64> { places.iter().map(|place| place.began_at).collect() };
    let kinds = |places: &[RowPlace]| -> Vec<i16> {
        let kind = |place: &RowPlace| if place.is_stop { Kind::Stop } else { Kind::Start } as i16;
        places.iter().map(kind).collect()
    };
    let keys =
        |places: &[RowPlace]| -> Vec<Uuid> { places.iter().map(|place| place.key).collect() };
    let numbers: Vec<i32> = (0..).take(clusters.len()).collect();
    let chargers: Vec<i64> = clusters
        .iter()
        .map(|cluster| cluster.charger_no.into())
        .collect();
    let rows_max = clusters.iter().map(Cluster::rows_max).max().unwrap_or(0);
    let rows: Vec<FoundRow> = sqlx::query_as(
        "SELECT c.n, v.* FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::smallint[], $5::uuid[],
             $6::bigint[], $7::smallint[], $8::uuid[])
             AS c (n, charger_no, first_at, first_kind, first_key, last_at, last_kind, last_key)
         CROSS JOIN LATERAL (
             (SELECT began_at, key, kind, token, meter_wh, transaction_no, partner FROM transaction_views
              WHERE kind > 0 AND charger_no::bigint >= c.charger_no
                  AND (charger_no::bigint, began_at, kind, key)
                      < (c.charger_no, c.first_at, c.first_kind, c.first_key)
              ORDER BY charger_no::bigint DESC, began_at DESC, kind DESC, key DESC LIMIT $9)
             UNION ALL
             (SELECT began_at, key, kind, token, meter_wh, transaction_no, partner FROM transaction_views
              WHERE kind > 0
                  AND (charger_no::bigint, began_at, kind, key)
                      >= (c.charger_no, c.first_at, c.first_kind, c.first_key)
                  AND (charger_no::bigint, began_at, kind, key)
                      <= (c.charger_no, c.last_at, c.last_kind, c.last_key)
              ORDER BY charger_no::bigint, began_at, kind, key LIMIT $10)
             UNION ALL
             (SELECT began_at, key, kind, token, meter_wh, transaction_no, partner FROM transaction_views
              WHERE kind > 0 AND charger_no::bigint <= c.charger_no
                  AND (charger_no::bigint, began_at, kind, key)
                      > (c.charger_no, c.last_at, c.last_kind, c.last_key)
              ORDER BY charger_no::bigint, began_at, kind, key LIMIT $9)) AS v",
    )
    .bind(&numbers)
    .bind(&chargers)
    .bind(at(&firsts))
    .bind(kinds(&firsts))
    .bind(keys(&firsts))
    .bind(at(&lasts))
    .bind(kinds(&lasts))
    .bind(keys(&lasts))
    .bind(at_most(MARGIN))
    .bind(at_most(rows_max + 1))
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    let mut found: Vec<Vec<PairRow>> = vec![Vec::new(); clusters.len()];
    for (n, began_at, key, kind, token, meter_wh, transaction_no, partner) in rows {
        let row = PairRow {
            candidate: Candidate {
                at: Timestamp(began_at),
                is_stop: Kind::from_code(kind.into()) == Kind::Stop,
                key,
                token,
                meter_wh,
            },
            transaction_no,
            partner,
        };
        if let Some(rows) = usize::try_from(n).ok().and_then(|n| found.get_mut(n)) {
            rows.push(row);
        }
    }
    let kept = found.into_iter().zip(clusters).map(|(rows, cluster)| {
        let within = rows.iter().filter(|row| cluster.spans(row)).count();
        (within <= cluster.rows_max()).then_some(rows)
    });
    Ok(kept.collect())
}

/// The charger's number, the columns of the place, the key of a row, and the number of its transaction.
type PlacedRow = (i32, Option<i64>, Option<i64>, Option<i64>, Uuid, i64);

async fn update(
    connection: &mut PgConnection,
    mut changes: Vec<Partnering>,
    changed: &mut Vec<Queued>,
) -> Result<Vec<(PlaceOf<i32>, Order)>, Refusal> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    // Two clusters may have decided about one row; the decisions are equal.
    changes.sort_unstable_by_key(|change| (change.began_at, change.key));
    changes.dedup();
    let began: Vec<i64> = changes.iter().map(|change| change.began_at).collect();
    let keys: Vec<Uuid> = changes.iter().map(|change| change.key).collect();
    let partners: Vec<Option<Uuid>> = changes
        .iter()
        .map(|change| change.partner.map(|partner| partner.0))
        .collect();
    let numbers: Vec<Option<i64>> = changes
        .iter()
        .map(|change| change.partner.map(|partner| partner.1))
        .collect();
    let placed: Vec<PlacedRow> = sqlx::query_as(
        "UPDATE transaction_views v SET partner = u.partner, partner_no = u.partner_no,
             open = (v.kind = 1 AND u.partner IS NULL AND v.successor IS NULL AND NOT v.closed),
             hidden = (v.kind = 2 AND u.partner IS NOT NULL)
         FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bigint[])
             AS u (began_at, key, partner, partner_no)
         WHERE v.began_at = u.began_at AND v.key = u.key
         RETURNING v.charger_no, v.place, v.start_at, v.start_received_at, v.key, v.transaction_no",
    )
    .bind(&began)
    .bind(&keys)
    .bind(&partners)
    .bind(&numbers)
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    changed.extend(placed.iter().map(|row| Queued::transaction(row.5)));
    let placed =
        placed
            .into_iter()
            .filter_map(|(charger_no, place, start_at, received_at, key, _)| {
                Some(((charger_no, place?), (start_at?, received_at?, key)))
            });
    Ok(placed.collect())
}
