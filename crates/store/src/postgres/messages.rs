//! The rows of `messages` for a batch.

use super::apply::Records;
use super::copy::{CopyRows, CopyStrategy};
use super::numbers::{Numbers, clean};
use super::writer::Cache;
use super::{dead_letters, error, inbox};
use crate::dead_letters::ids_used_twice;
use crate::quirks::NewRecords;
use crate::refusal::Refusal;
use central::ports::Applied;
use central::{Record, RecordId};
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Gateway number, sequence, milliseconds at which it was received.
pub(crate) type Key = (i32, i64, i64);

const COPY: &str = "COPY messages (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind,
    notes, charger_id, message_id, action, payload, answer, reason, raw) FROM STDIN (FORMAT binary)";

/// Inserts the rows of `messages` for a batch; also returns which records were new. A record whose id another record has
/// becomes a dead letter.
pub(crate) async fn write(
    connection: &mut PgConnection,
    cache: &mut Cache,
    records: Records<'_, '_>,
) -> Result<(Applied, NewRecords), Refusal> {
    if records.is_empty() {
        return Ok((Applied::default(), NewRecords::All));
    }
    let mut rows = Rows::of(&cache.numbers, records)?;
    let taken = inbox::on_other_days(connection, &rows.keys()).await?;
    let mut doubles: Vec<usize> = rows.take(|row| taken.elsewhere.contains(&row.key));
    let mut known = 0;
    if !taken.outside.is_empty() {
        // These records belong to this day but are stored outside its partition, so the insert would not detect
        // them.
        let stored = inbox::stored(connection, &rows.keys()).await?;
        let is_outside = |row: &Row<'_>| taken.outside.contains(&(row.key.0, row.key.1));
        let is_stored = |row: &Row<'_>| is_stored(&stored, row, records);
        known += rows.take(|row| is_outside(row) && is_stored(row)).len() as u64;
        doubles.extend(rows.take(is_outside));
    }
    let written = rows.write(connection, &mut cache.copied_messages).await?;
    let inserted = written
        .as_ref()
        .map_or(rows.len() as u64, |keys| keys.len() as u64);
    let new = match inserted == records.len() as u64 {
        true => NewRecords::All,
        false => NewRecords::These(rows.ids(records, written.as_ref())),
    };
    if inserted < rows.len() as u64 {
        let stored = inbox::stored(connection, &rows.keys()).await?;
        doubles.extend(rows.take(|row| !is_stored(&stored, row, records)));
    }
    known += rows.len() as u64 - inserted;
    let letters = ids_used_twice(doubles.into_iter().map(|at| &records[at]));
    dead_letters::insert(connection, cache, &letters).await?;
    let applied = Applied {
        new: inserted,
        known,
    };
    Ok((applied, new))
}

/// Whether the row stored under this key is this record.
fn is_stored(
    stored: &HashMap<Key, inbox::Stored>,
    row: &Row<'_>,
    records: Records<'_, '_>,
) -> bool {
    stored
        .get(&row.key)
        .is_some_and(|stored| stored.is_of(&records[row.place].1, row.charger_no))
}

/// The gateways and numbers of inserted rows.
type Inserted = HashSet<(i32, i64)>;

/// One row.
struct Row<'r> {
    /// The record's position in the batch.
    place: usize,
    key: Key,
    charger_no: i32,
    spelled_otherwise: bool,
    record: &'r Record<'r>,
}

/// All rows of a batch, sorted by their keys.
struct Rows<'r>(Vec<Row<'r>>);

impl<'r> Rows<'r> {
    /// The rows to insert for these records, whose gateways and chargers have numbers.
    fn of(numbers: &Numbers, records: &'r [(RecordId, Record<'r>)]) -> Result<Self, Refusal> {
        let mut rows = Vec::with_capacity(records.len());
        for (place, (id, record)) in records.iter().enumerate() {
            let charger = numbers.charger(record.charger_id)?;
            let gateway_no = numbers.gateway(id.gateway)?;
            let seq = i64::try_from(id.seq.0).map_err(|_| {
                Refusal::Poison(format!(
                    "record number {} exceeds the numbers of the database",
                    id.seq
                ))
            })?;
            rows.push(Row {
                place,
                key: (gateway_no, seq, record.received_at.0),
                charger_no: charger.no,
                spelled_otherwise: charger.spelled_otherwise,
                record,
            });
        }
        rows.sort_by_key(|row| row.key);
        Ok(Self(rows))
    }

    /// The number of rows.
    const fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys, sorted.
    fn keys(&self) -> Vec<Key> {
        self.0.iter().map(|row| row.key).collect()
    }

    /// Removes the rows for which this is true; returns the positions of their records in the batch.
    fn take(&mut self, mut is_taken: impl FnMut(&Row<'_>) -> bool) -> Vec<usize> {
        let mut places = Vec::new();
        self.0.retain(|row| {
            let taken = is_taken(row);
            if taken {
                places.push(row.place);
            }
            !taken
        });
        places
    }

    /// The ids of the rows with these numbers; of all rows with `None`.
    fn ids(&self, records: Records<'_, '_>, inserted: Option<&Inserted>) -> HashSet<RecordId> {
        let is_new = |row: &&Row<'_>| {
            inserted.is_none_or(|inserted| inserted.contains(&(row.key.0, row.key.1)))
        };
        let new = self.0.iter().filter(is_new);
        new.map(|row| records[row.place].0).collect()
    }

    /// Inserts the rows; returns which were new, `None` for all.
    async fn write(
        &self,
        connection: &mut PgConnection,
        strategy: &mut CopyStrategy,
    ) -> Result<Option<Inserted>, Refusal> {
        if strategy.is_copy(self.len())
            && strategy
                .copy(connection, COPY, self.copy_rows())
                .await?
                .is_some()
        {
            return Ok(None);
        }
        self.insert(connection).await.map(Some)
    }

    fn copy_rows(&self) -> CopyRows {
        let bytes: usize = self.0.iter().map(|row| row.record.payload.len()).sum();
        let mut copy = CopyRows::with_capacity(bytes + self.len() * 300);
        for row in &self.0 {
            let record = row.record;
            let is_altered = has_nul(record);
            let text = |text: &'r str| -> Cow<'r, str> {
                if is_altered { clean(text) } else { text.into() }
            };
            copy.row(16);
            copy.int4(row.key.0);
            copy.int8(row.key.1);
            copy.int8(row.key.2);
            copy.int8(record.epoch.0.cast_signed());
            copy.int4(row.charger_no);
            copy.int2(record.kind as i16);
            copy.int2(record.ocpp_version as i16);
            copy.int2(record.answer_kind as i16);
            copy.int8(i64::from(record.notes.0));
            let spelling = row.spelled_otherwise.then(|| text(record.charger_id));
            copy.field_or_null(spelling.as_ref().map(|spelling| spelling.as_bytes()));
            for field in [
                record.message_id,
                record.action,
                record.payload,
                record.answer,
                record.reason,
            ] {
                copy.field(text(field).as_bytes());
            }
            let raw = is_altered.then(|| record.encode());
            copy.field_or_null(raw.as_deref());
        }
        copy
    }

    async fn insert(&self, connection: &mut PgConnection) -> Result<Inserted, Refusal> {
        let rows = &self.0;
        if rows.is_empty() {
            return Ok(Inserted::new());
        }
        let charger_ids = rows.iter().map(|row| {
            let id = row.record.charger_id;
            row.spelled_otherwise.then(|| clean(id))
        });
        let text = |of: fn(&Record<'r>) -> &'r str| -> Vec<Cow<'r, str>> {
            rows.iter().map(|row| clean(of(row.record))).collect()
        };
        let raws = rows.iter().map(|row| {
            let is_altered = has_nul(row.record);
            is_altered.then(|| row.record.encode())
        });
        let inserted: Vec<(i32, i64)> = sqlx::query_as(
            "INSERT INTO messages
                (gateway_no, seq, received_at, epoch, charger_no, kind, version, answer_kind, notes,
                 charger_id, message_id, action, payload, answer, reason, raw)
             SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[],
                 $6::smallint[], $7::smallint[], $8::smallint[], $9::bigint[], $10::text[], $11::text[],
                 $12::text[], $13::text[], $14::text[], $15::text[], $16::bytea[])
             ON CONFLICT DO NOTHING
             RETURNING gateway_no, seq",
        )
        .bind(rows.iter().map(|row| row.key.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.1).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.2).collect::<Vec<_>>())
        .bind(column(rows, |record| record.epoch.0.cast_signed()))
        .bind(rows.iter().map(|row| row.charger_no).collect::<Vec<_>>())
        .bind(column(rows, |record| record.kind as i16))
        .bind(column(rows, |record| record.ocpp_version as i16))
        .bind(column(rows, |record| record.answer_kind as i16))
        .bind(column(rows, |record| i64::from(record.notes.0)))
        .bind(charger_ids.collect::<Vec<_>>())
        .bind(text(|record| record.message_id))
        .bind(text(|record| record.action))
        .bind(text(|record| record.payload))
        .bind(text(|record| record.answer))
        .bind(text(|record| record.reason))
        .bind(raws.collect::<Vec<_>>())
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
        Ok(inserted.into_iter().collect())
    }
}

fn column<T>(rows: &[Row<'_>], of: impl Fn(&Record<'_>) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row.record)).collect()
}

/// Whether [`clean`] changes any of its texts.
fn has_nul(record: &Record<'_>) -> bool {
    let texts = [
        record.charger_id,
        record.message_id,
        record.action,
        record.payload,
        record.answer,
        record.reason,
    ];
    texts.iter().any(|text| text.contains('\0'))
}
