//! Reports of processes, and counts for the balance of the pipeline. One machine has the file, so its clock is the
//! database's.

use crate::processes::{ProcessColumns, known, retired_entry};
use crate::refusal::Refusal;
use crate::sqlite::numbers::{SEQ_MAX, gateway_no, message_no};
use crate::sqlite::{SqliteStore, audit};
use central::model::{Origin, ProcessReport};
use central::ports::{KnownProcess, Processes, Unavailable};
use central::{GatewayId, Seq};
use common::clock::now_ms;
use rusqlite::params;

impl Processes for SqliteStore {
    fn report_process(&self, report: &ProcessReport) -> Result<(), Unavailable> {
        let columns = ProcessColumns::of(report).map_err(Refusal::into_unavailable)?;
        self.transact(|connection, _| {
            let now = now_ms();
            connection
                .prepare_cached(
                    "INSERT INTO processes (id, report, reported_at, shown_ms) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET report = excluded.report,
                         reported_at = excluded.reported_at, shown_ms = excluded.shown_ms, is_retired = 0",
                )?
                .execute(params![
                    report.id.as_bytes(),
                    columns.report,
                    now,
                    columns.shown_ms
                ])?;
            connection
                .prepare_cached("DELETE FROM processes WHERE reported_at + shown_ms < ?1")?
                .execute([now])?;
            Ok(())
        })
    }

    fn processes(&self) -> Result<Vec<KnownProcess>, Unavailable> {
        self.readers
            .read(|connection| {
                let rows = connection
                    .prepare_cached(
                        "SELECT report, ?1 - reported_at, all_stored, is_retired FROM processes
                         WHERE shown_ms IS NULL OR reported_at + shown_ms >= ?1 ORDER BY id",
                    )?
                    .query_map([now_ms()], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })?
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(rows.into_iter().filter_map(known).collect())
            })
            .map_err(Refusal::into_unavailable)
    }

    fn set_all_stored(&self, gateway: GatewayId, upto: Seq) -> Result<(), Unavailable> {
        self.transact(|connection, _| {
            connection.execute(
                "UPDATE processes SET all_stored = ?2 WHERE id = ?1 AND all_stored < ?2",
                params![gateway.0.as_bytes(), upto.min(SEQ_MAX).0.cast_signed()],
            )?;
            Ok(())
        })
    }

    fn retire_process(
        &self,
        gateway: GatewayId,
        chargers: u64,
        origin: &Origin,
    ) -> Result<(), Unavailable> {
        let entry = retired_entry(gateway, chargers, origin);
        self.transact(|connection, _| {
            connection.execute(
                "UPDATE processes SET is_retired = 1 WHERE id = ?1",
                [gateway.0.as_bytes()],
            )?;
            audit::insert(connection, &entry)
        })
    }

    fn count_stored(&self, gateway: GatewayId, first: Seq, last: Seq) -> Result<u64, Unavailable> {
        self.readers
            .read(|connection| {
                let last = last.min(SEQ_MAX);
                let Some(no) = gateway_no(connection, gateway)?.filter(|_| first <= last) else {
                    return Ok(0);
                };
                let messages: i64 = connection
                    .prepare_cached("SELECT count(*) FROM messages WHERE id BETWEEN ?1 AND ?2")?
                    .query_row([message_no(no, first)?, message_no(no, last)?], |row| {
                        row.get(0)
                    })?;
                // The number of a message is that of its gateway and its sequence number, in 44 bits.
                let letters: i64 = connection
                    .prepare_cached(
                        "SELECT count(*) FROM (
                             SELECT seq FROM dead_letters WHERE gateway_no = ?1 AND seq BETWEEN ?2 AND ?3
                             UNION
                             SELECT seq FROM discarded_letters WHERE gateway_no = ?1 AND seq BETWEEN ?2 AND ?3) d
                         WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = d.seq + ?4)",
                    )?
                    .query_row(
                        [
                            no,
                            first.0.cast_signed(),
                            last.0.cast_signed(),
                            message_no(no, Seq(0))?,
                        ],
                        |row| row.get(0),
                    )?;
                Ok((messages + letters).cast_unsigned())
            })
            .map_err(Refusal::into_unavailable)
    }

    fn count_dead_letters(&self, most: u64) -> Result<u64, Unavailable> {
        self.readers
            .read(|connection| {
                let count: i64 = connection
                    .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM dead_letters LIMIT ?1)")?
                    .query_row([i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?;
                Ok(count.cast_unsigned())
            })
            .map_err(Refusal::into_unavailable)
    }
}
