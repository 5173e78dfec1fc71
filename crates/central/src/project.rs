//! Record → changes: pure, and the same record always yields the same changes.
//!
//! Total: what cannot be understood changes nothing here, and is still among the messages.

use crate::model::{
    ChargerState, ConnectorState, EventRow, GatewayState, Merge, MeterValueRow, TransactionState,
};
use crate::record::{GatewayId, Record, RecordId};
use std::collections::BTreeMap;

/// What a set of records changes in the ledger. A batch's records are absorbed into one value, so
/// that each charger's row is touched once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// By charger key (lower case).
    pub chargers: BTreeMap<String, ChargerState>,
    /// By (charger key, EVSE, connector); the EVSE is 0 for OCPP 1.6.
    pub connectors: BTreeMap<(String, i64, i64), ConnectorState>,
    /// By (charger key, transaction id as on the wire).
    pub transactions: BTreeMap<(String, String), TransactionState>,
    /// By gateway.
    pub gateways: BTreeMap<GatewayId, GatewayState>,
    /// Insert or ignore by (charger, at, key hash).
    pub meter_values: Vec<MeterValueRow>,
    /// Insert or ignore by (charger, at, key hash).
    pub events: Vec<EventRow>,
}

impl Changes {
    /// Adds what `record` changes.
    pub fn absorb(&mut self, id: RecordId, record: &Record<'_>) {
        let _ = (id, record);
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chargers.is_empty()
            && self.connectors.is_empty()
            && self.transactions.is_empty()
            && self.gateways.is_empty()
            && self.meter_values.is_empty()
            && self.events.is_empty()
    }
}

fn merge_map<K: Ord, V: Merge + Default>(into: &mut BTreeMap<K, V>, from: BTreeMap<K, V>) {
    for (key, state) in from {
        into.entry(key).or_default().merge(state);
    }
}

impl Merge for Changes {
    fn merge(&mut self, other: Self) {
        merge_map(&mut self.chargers, other.chargers);
        merge_map(&mut self.connectors, other.connectors);
        merge_map(&mut self.transactions, other.transactions);
        merge_map(&mut self.gateways, other.gateways);
        self.meter_values.extend(other.meter_values);
        self.events.extend(other.events);
    }
}
