//! What the database shows after records are applied.

use super::TestCharger;
use central::memory::{Contents, MemoryStore};
use central::model::{ChargerKey, ChargerView, ConnectorView, TransactionView};
use central::ports::Store;
use central::project::Changes;
use central::{GatewayId, Record, RecordId, Seq, Timestamp};
use uuid::Uuid;

pub const GATEWAY: GatewayId = GatewayId(Uuid::from_u128(1));

pub fn id(seq: u64) -> RecordId {
    RecordId {
        gateway: GATEWAY,
        seq: Seq(seq),
    }
}

/// Applies records in this order, each as a batch of its own.
pub fn apply<'a>(records: impl IntoIterator<Item = (RecordId, &'a [u8])>) -> Contents {
    let store = MemoryStore::default();
    for (id, bytes) in records {
        let record = Record::decode(bytes).expect("a record");
        let mut changes = Changes::default();
        changes.absorb(id, &record);
        store
            .apply(&[(id, record)], &changes, &[])
            .expect("a store in memory does not fail");
    }
    store.contents()
}

/// What the database shows of the records of these chargers.
pub fn of(chargers: &[&TestCharger]) -> Contents {
    let journal = chargers.iter().flat_map(|charger| &charger.journal);
    apply((1..).zip(journal).map(|(seq, bytes)| (id(seq), &**bytes)))
}

pub fn transactions(contents: &Contents) -> Vec<TransactionView> {
    contents
        .states
        .transactions
        .iter()
        .flat_map(|((charger, id), state)| state.views(charger.as_str(), id))
        .collect()
}

/// The only transaction.
pub fn transaction(contents: &Contents) -> TransactionView {
    let mut views = transactions(contents);
    assert_eq!(views.len(), 1, "{views:#?}");
    views.remove(0)
}

/// The connector of the charger `cp-17`, as it is shown at the time of the charger's latest record.
pub fn connector(contents: &Contents, evse: i64, connector: i64) -> ConnectorView {
    let key = (ChargerKey::of("cp-17"), evse, connector);
    let state = contents.states.connectors.get(&key).expect("a connector");
    state.view(&charger(contents, &key.0), evse, connector)
}

/// The charger, as it is shown at the time of its latest record.
pub fn charger(contents: &Contents, key: &ChargerKey) -> ChargerView {
    let state = &contents.states.chargers[key];
    charger_at(contents, key, state.last_seen.expect("a record"))
}

/// The charger, as it is shown at this time.
pub fn charger_at(contents: &Contents, key: &ChargerKey, now: Timestamp) -> ChargerView {
    let state = &contents.states.chargers[key];
    let connection = state.connection.as_ref();
    let gateway =
        connection.and_then(|connection| contents.states.gateways.get(&connection.gateway));
    state.view(key.as_str(), gateway, now)
}
