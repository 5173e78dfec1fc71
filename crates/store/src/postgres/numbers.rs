//! Small numbers for chargers and gateways, so that a row refers to them with four bytes.
//!
//! They are assigned before the batch's own transaction, in separate statements: an unused number does no harm,
//! and no other writer waits for a lock held by a whole batch.

use super::error;
use crate::numbers::{CHARGERS_CACHED_MAX, Charger};
use crate::refusal::Refusal;
use central::model::ChargerKey;
use central::{GatewayId, Record, RecordId, Seq};
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The writer's cache of numbers: committed rows, which never change.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    gateways: HashMap<GatewayId, i32>,
    /// By the spelling in the record.
    chargers: HashMap<String, Charger<i32>>,
}

impl Numbers {
    /// Looks up the numbers of all gateways and chargers in these records and names, and assigns the missing
    /// ones.
    pub(crate) async fn learn<'a>(
        &mut self,
        connection: &mut PgConnection,
        records: &[(RecordId, Record<'_>)],
        gateways: impl Iterator<Item = GatewayId>,
        chargers: impl Iterator<Item = &'a str>,
    ) -> Result<(), Refusal> {
        let gateways: BTreeSet<GatewayId> = records
            .iter()
            .map(|(id, _)| id.gateway)
            .chain(gateways)
            .filter(|id| !self.gateways.contains_key(id))
            .collect();
        if !gateways.is_empty() {
            self.learn_gateways(connection, &gateways).await?;
        }
        if self.chargers.len() >= CHARGERS_CACHED_MAX {
            self.chargers.clear();
        }
        let spellings = records.iter().map(|(_, record)| record.charger_id);
        let mut unknown: BTreeMap<ChargerKey, String> = BTreeMap::new();
        let mut spelled: BTreeSet<&str> = BTreeSet::new();
        // Records first, because their spelling is the one that is stored; changes carry keys.
        let records_first: Vec<&str> = spellings.collect();
        let chargers: Vec<&str> = chargers.collect();
        for spelling in records_first.into_iter().chain(chargers) {
            if !spelling.is_empty()
                && !self.chargers.contains_key(spelling)
                && spelled.insert(spelling)
            {
                unknown
                    .entry(ChargerKey::of(spelling))
                    .or_insert_with(|| spelling.to_owned());
            }
        }
        if !unknown.is_empty() {
            self.learn_chargers(connection, &unknown, &spelled).await?;
        }
        Ok(())
    }

    async fn learn_gateways(
        &mut self,
        connection: &mut PgConnection,
        ids: &BTreeSet<GatewayId>,
    ) -> Result<(), Refusal> {
        let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
        sqlx::query(
            "INSERT INTO gateways (id) SELECT id FROM unnest($1::uuid[]) AS new (id)
             WHERE NOT EXISTS (SELECT 1 FROM gateways g WHERE g.id = new.id) ORDER BY id
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&ids)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        let rows: Vec<(uuid::Uuid, i32)> =
            sqlx::query_as("SELECT id, no FROM gateways WHERE id = ANY($1)")
                .bind(&ids)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
        self.gateways
            .extend(rows.into_iter().map(|(id, no)| (GatewayId(id), no)));
        Ok(())
    }

    async fn learn_chargers(
        &mut self,
        connection: &mut PgConnection,
        unknown: &BTreeMap<ChargerKey, String>,
        spelled: &BTreeSet<&str>,
    ) -> Result<(), Refusal> {
        let keys: Vec<String> = unknown
            .keys()
            .map(|key| clean(key.as_str()).into_owned())
            .collect();
        let ids: Vec<String> = unknown.values().map(|id| clean(id).into_owned()).collect();
        // Existing ones are looked up first: each conflict would use up a number.
        sqlx::query(
            "INSERT INTO chargers (key, id) SELECT key, id FROM unnest($1::text[], $2::text[]) AS new (key, id)
             WHERE NOT EXISTS (SELECT 1 FROM chargers c WHERE c.key = new.key) ORDER BY key
             ON CONFLICT (key) DO NOTHING",
        )
        .bind(&keys)
        .bind(&ids)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
        let rows: Vec<(String, i32, String)> =
            sqlx::query_as("SELECT key, no, id FROM chargers WHERE key = ANY($1)")
                .bind(&keys)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)?;
        let by_key: HashMap<String, (i32, String)> = rows
            .into_iter()
            .map(|(key, no, id)| (key, (no, id)))
            .collect();
        for spelling in spelled {
            let key = ChargerKey::of(spelling);
            if let Some((no, id)) = by_key.get(&*clean(key.as_str())) {
                let charger = Charger {
                    no: *no,
                    spelled_otherwise: id != spelling,
                };
                self.chargers.insert((*spelling).to_owned(), charger);
            }
        }
        Ok(())
    }

    /// The number of a gateway that is in the cache.
    pub(crate) fn gateway(&self, id: GatewayId) -> Result<i32, Refusal> {
        self.gateways
            .get(&id)
            .copied()
            .ok_or_else(|| no_number(&id))
    }

    /// The number of a charger that is in the cache.
    pub(crate) fn charger(&self, spelling: &str) -> Result<Charger<i32>, Refusal> {
        if spelling.is_empty() {
            return Ok(Charger::none());
        }
        self.chargers
            .get(spelling)
            .copied()
            .ok_or_else(|| no_number(&spelling))
    }

    /// The number of a charger, by its key, that is in the cache.
    pub(crate) fn charger_with_key(&self, key: &ChargerKey) -> Result<i32, Refusal> {
        // A key is a spelling, too.
        Ok(self.charger(key.as_str())?.no)
    }
}

/// The row was deleted between two statements.
fn no_number(whose: &dyn std::fmt::Display) -> Refusal {
    Refusal::unreachable(format!("the number of {whose} is missing"))
}

/// A text as PostgreSQL can store it: U+0000 is replaced by U+2400.
pub(crate) fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{2400}").into()
    } else {
        text.into()
    }
}

/// The greatest sequence stored of a gateway, as a message or as a dead letter, also a discarded one.
pub(crate) async fn last_seq(
    connection: &mut PgConnection,
    id: GatewayId,
) -> Result<Option<Seq>, Refusal> {
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT greatest(
            (SELECT m.seq FROM messages m WHERE m.gateway_no = g.no ORDER BY m.seq DESC LIMIT 1),
            (SELECT d.seq FROM dead_letters d WHERE d.gateway_no = g.no ORDER BY d.seq DESC LIMIT 1),
            (SELECT d.seq FROM discarded_letters d WHERE d.gateway_no = g.no ORDER BY d.seq DESC LIMIT 1))
         FROM gateways g WHERE g.id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)?
    .flatten();
    Ok(last.map(|seq| Seq(seq.cast_unsigned())))
}

/// Which of the numbers `first` to `last` of a gateway are stored, as messages or as dead letters, also discarded ones.
pub(crate) async fn stored_seqs(
    connection: &mut PgConnection,
    id: GatewayId,
    first: Seq,
    last: Seq,
) -> Result<Vec<Seq>, Refusal> {
    let bound = |seq: Seq| i64::try_from(seq.0).unwrap_or(i64::MAX);
    let seqs: Vec<i64> = sqlx::query_scalar(
        "SELECT m.seq FROM messages m JOIN gateways g ON g.no = m.gateway_no
         WHERE g.id = $1 AND m.seq BETWEEN $2 AND $3
         UNION ALL
         SELECT d.seq FROM dead_letters d JOIN gateways g ON g.no = d.gateway_no
         WHERE g.id = $1 AND d.seq BETWEEN $2 AND $3
         UNION ALL
         SELECT d.seq FROM discarded_letters d JOIN gateways g ON g.no = d.gateway_no
         WHERE g.id = $1 AND d.seq BETWEEN $2 AND $3",
    )
    .bind(id.0)
    .bind(bound(first))
    .bind(bound(last))
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    Ok(seqs
        .into_iter()
        .map(|seq| Seq(seq.cast_unsigned()))
        .collect())
}
