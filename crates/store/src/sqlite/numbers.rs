//! Small numbers for chargers and gateways, so that a row refers to them with one or two bytes; and the number
//! of a message, by which new rows go to the end of the table.

use crate::numbers::{CHARGERS_CACHED_MAX, Charger};
use crate::refusal::Refusal;
use central::model::ChargerKey;
use central::{GatewayId, Seq};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;

/// Bits of a message's number that hold its journal sequence: 17 trillion records per gateway.
const SEQ_BITS: u32 = 44;

/// The greatest sequence number that a message's number holds.
pub(crate) const SEQ_MAX: Seq = Seq((1 << SEQ_BITS) - 1);

/// Bits of a message's number within its block; the schema's `id >> 14`.
pub(crate) const BLOCK_BITS: u32 = 14;

/// The number of a message.
pub(crate) fn message_no(gateway_no: i64, Seq(seq): Seq) -> Result<i64, Refusal> {
    let fits = seq < 1 << SEQ_BITS && (0..1 << (63 - SEQ_BITS)).contains(&gateway_no);
    if fits {
        Ok(gateway_no << SEQ_BITS | seq.cast_signed())
    } else {
        Err(Refusal::Poison(format!(
            "record number {seq} of gateway {gateway_no} exceeds the numbers of the database"
        )))
    }
}

/// Gateway number and sequence of a message's number.
pub(crate) const fn split_message_no(no: i64) -> (i64, Seq) {
    let seq = no & ((1 << SEQ_BITS) - 1);
    (no >> SEQ_BITS, Seq(seq.cast_unsigned()))
}

/// The writer's cache of numbers, from committed rows and the open transaction's.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    gateways: HashMap<GatewayId, i64>,
    /// By the spelling in the record.
    chargers: HashMap<String, Charger<i64>>,
}

impl Numbers {
    /// Clears the cache: after a rollback it may be wrong.
    pub(crate) fn clear(&mut self) {
        self.gateways.clear();
        self.chargers.clear();
    }

    /// The number of a gateway, assigned on first use.
    pub(crate) fn gateway(
        &mut self,
        connection: &Connection,
        id: GatewayId,
    ) -> Result<i64, Refusal> {
        if let Some(no) = self.gateways.get(&id) {
            return Ok(*no);
        }
        let no = match gateway_no(connection, id)? {
            Some(no) => no,
            None => connection
                .prepare_cached(
                    "INSERT INTO gateways (no, id)
                     SELECT coalesce(max(no) + 1, 0), ?1 FROM gateways RETURNING no",
                )?
                .query_row(params![id.0.as_bytes()], |row| row.get(0))?,
        };
        self.gateways.insert(id, no);
        Ok(no)
    }

    /// The number of a charger, assigned on first use.
    pub(crate) fn charger(
        &mut self,
        connection: &Connection,
        spelling: &str,
    ) -> Result<Charger<i64>, Refusal> {
        if spelling.is_empty() {
            return Ok(Charger::none());
        }
        if let Some(charger) = self.chargers.get(spelling) {
            return Ok(*charger);
        }
        let key = ChargerKey::of(spelling);
        let known: Option<(i64, String)> = connection
            .prepare_cached("SELECT no, id FROM chargers WHERE key = ?1")?
            .query_row([key.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let charger = match known {
            Some((no, id)) => Charger {
                no,
                spelled_otherwise: id != spelling,
            },
            None => Charger {
                no: connection
                    .prepare_cached("INSERT INTO chargers (key, id) VALUES (?1, ?2) RETURNING no")?
                    .query_row([key.as_str(), spelling], |row| row.get(0))?,
                spelled_otherwise: false,
            },
        };
        if self.chargers.len() >= CHARGERS_CACHED_MAX {
            self.chargers.clear();
        }
        self.chargers.insert(spelling.to_owned(), charger);
        Ok(charger)
    }

    /// The number of the charger with this key, assigned on first use.
    pub(crate) fn charger_with_key(
        &mut self,
        connection: &Connection,
        key: &ChargerKey,
    ) -> Result<i64, Refusal> {
        // A key is a spelling, too.
        Ok(self.charger(connection, key.as_str())?.no)
    }
}

/// The number of a gateway, if it is in the database.
pub(crate) fn gateway_no(
    connection: &Connection,
    id: GatewayId,
) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT no FROM gateways WHERE id = ?1")?
        .query_row(params![id.0.as_bytes()], |row| row.get(0))
        .optional()
}

/// The greatest sequence stored of a gateway, as a message or as a dead letter, also a discarded one.
pub(crate) fn last_seq(connection: &Connection, id: GatewayId) -> Result<Option<Seq>, Refusal> {
    let Some(no) = gateway_no(connection, id)? else {
        return Ok(None);
    };
    let message: Option<i64> = connection
        .prepare_cached(
            "SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([message_no(no, Seq(0))?, message_no(no, SEQ_MAX)?], |row| {
            row.get(0)
        })
        .optional()?;
    let letter: Option<i64> = connection
        .prepare_cached(
            "SELECT max(seq) FROM (SELECT max(seq) AS seq FROM dead_letters WHERE gateway_no = ?1
             UNION ALL SELECT max(seq) FROM discarded_letters WHERE gateway_no = ?1)",
        )?
        .query_row([no], |row| row.get(0))?;
    let message = message.map(|no| split_message_no(no).1);
    Ok(message.max(letter.map(|seq| Seq(seq.cast_unsigned()))))
}

/// Which of the numbers `first` to `last` of a gateway are stored, as messages or as dead letters, also discarded ones.
pub(crate) fn stored_seqs(
    connection: &Connection,
    id: GatewayId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Seq>, Refusal> {
    let Some(no) = gateway_no(connection, id)? else {
        return Ok(Vec::new());
    };
    let last = last.min(SEQ_MAX);
    if first > last {
        return Ok(Vec::new());
    }
    let mut seqs = connection
        .prepare_cached("SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2")?
        .query_map([message_no(no, first)?, message_no(no, last)?], |row| {
            Ok(split_message_no(row.get(0)?).1)
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let letters = connection
        .prepare_cached(
            "SELECT seq FROM dead_letters WHERE gateway_no = ?1 AND seq BETWEEN ?2 AND ?3
             UNION ALL SELECT seq FROM discarded_letters WHERE gateway_no = ?1 AND seq BETWEEN ?2 AND ?3",
        )?
        .query_map([no, first.0.cast_signed(), last.0.cast_signed()], |row| {
            row.get::<_, i64>(0).map(|seq| Seq(seq.cast_unsigned()))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    seqs.extend(letters);
    Ok(seqs)
}

/// The charger key in a column.
pub(crate) fn charger_key(row: &Row<'_>, column: usize) -> rusqlite::Result<ChargerKey> {
    row.get_ref(column)?
        .as_str()
        .map(ChargerKey::of)
        .map_err(rusqlite::Error::from)
}

/// The number of a charger, if it is in the database; case is ignored.
pub(crate) fn charger_no(
    connection: &Connection,
    id: &str,
) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT no FROM chargers WHERE key = ?1")?
        .query_row([ChargerKey::of(id).as_str()], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_number_contains_gateway_and_sequence() {
        for (gateway, seq) in [
            (0, 0),
            (0, 1),
            (1, 0),
            (3, (1 << 44) - 1),
            ((1 << 19) - 1, 7),
        ] {
            let seq = Seq(seq);
            let no = message_no(gateway, seq).unwrap();
            assert!(no >= 0);
            assert_eq!(split_message_no(no), (gateway, seq));
        }
    }

    #[test]
    fn number_out_of_range_refuses_that_record_only() {
        for (gateway, seq) in [(0, 1 << 44), (0, u64::MAX), (1 << 19, 0), (-1, 0)] {
            assert!(matches!(
                message_no(gateway, Seq(seq)),
                Err(Refusal::Poison(_))
            ));
        }
    }
}
