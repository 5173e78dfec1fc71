//! A summary of each block of messages: a few bytes for 16,384 rows, by which a filter on time, action or kind
//! skips most of a long history without an index entry per message.

use crate::refusal::Refusal;
use central::{Record, RecordKind};
use rusqlite::{Connection, params};

/// A summary that only grows: [`Summary::add`] in any order gives the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    rows: i64,
    first_at: i64,
    last_at: i64,
    actions: i64,
    kinds: i64,
}

impl Summary {
    const EMPTY: Self = Self {
        rows: 0,
        first_at: i64::MAX,
        last_at: i64::MIN,
        actions: 0,
        kinds: 0,
    };

    fn add(&mut self, record: &Record<'_>) {
        self.rows += 1;
        self.first_at = self.first_at.min(record.received_at.0);
        self.last_at = self.last_at.max(record.received_at.0);
        self.actions |= action_bit(record.action);
        self.kinds |= kind_bit(record.kind);
    }
}

/// The bit of an action; several actions may share one.
pub(crate) fn action_bit(action: &str) -> i64 {
    // FNV-1a: stable, because the bits are stored.
    let hash = action
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    1 << ((hash ^ (hash >> 32)) % 63)
}

/// The bit of a kind.
pub(crate) const fn kind_bit(kind: RecordKind) -> i64 {
    1 << (kind as u8)
}

/// The summaries of the blocks that one batch adds to; nearly always one or two.
#[derive(Debug, Default)]
pub(crate) struct Touched(Vec<(i64, Summary)>);

impl Touched {
    /// Adds a new message.
    pub(crate) fn add(&mut self, block: i64, record: &Record<'_>) {
        let at = match self.0.iter().rposition(|(held, _)| *held == block) {
            Some(at) => at,
            None => {
                self.0.push((block, Summary::EMPTY));
                self.0.len() - 1
            }
        };
        self.0[at].1.add(record);
    }

    /// Merges the summaries into the stored ones.
    pub(crate) fn write(&self, connection: &Connection) -> Result<(), Refusal> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO message_blocks (block, rows, first_at, last_at, actions, kinds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (block) DO UPDATE SET
                rows = rows + excluded.rows,
                first_at = min(first_at, excluded.first_at),
                last_at = max(last_at, excluded.last_at),
                actions = actions | excluded.actions,
                kinds = kinds | excluded.kinds",
        )?;
        for (block, summary) in &self.0 {
            statement.execute(params![
                block,
                summary.rows,
                summary.first_at,
                summary.last_at,
                summary.actions,
                summary.kinds,
            ])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_stable() {
        assert_eq!(action_bit("").count_ones(), 1);
        assert!(action_bit("MeterValues") > 0);
        assert_eq!(action_bit("Heartbeat"), action_bit("Heartbeat"));
        assert_ne!(action_bit("Heartbeat"), action_bit("MeterValues"));
        assert_eq!(kind_bit(RecordKind::Call), 2);
    }
}
