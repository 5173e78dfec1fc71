//! A replay into an empty database yields the rows of the source: on both databases and across them, after a long random
//! run of sessions from field reports, malformed messages, commands with faults, repeats and disorder.

#[path = "../../../central/tests/it/common/mod.rs"]
mod charger;

use self::charger::{NOW, TestCharger, setup, vectors};
use crate::common::{
    Adapter, PostgresDatabase, Sent, SqliteDatabase, apply, at, call, close_request, event,
    gateway, heartbeat, id, on_every_adapter, origin, put_profile, start, status,
};
use central::model::{
    ApiKey, ApiKeyHash, ChargerKey, Claim, Command, CommandId, GatewayState, Registration, Scope,
    SitePatch, UserPasswordHash,
};
use central::ports::{
    ApiKeys, Applied, ChangeKind, ChangeRequest, ChargerAdmin, ChargerProfile, Closings,
    CommandQueue, Commands, CopiedRow, CopiedTable, CopyMode, Created, DeadLetter, DeadLetters,
    DiscardRequest, EventLog, Idempotency, LetterSelection, NewCommand, NewRotation, Once,
    PasswordRotations, SiteChange, Store, Token, Tokens, Transfer, Unavailable, UnavailableKind,
    Users,
};
use central::project::Changes;
use central::query::{
    DeadLetterFilter, DeadLetterState, MessageFilter, PageRequest, QueryStore, TransactionFilter,
    all_messages,
};
use central::record::lost;
use central::resend::ResendMemory;
use central::station::CloseReason;
use central::{Epoch, Record, RecordId, RecordKind, Seq, Timestamp};
use consumer::{ReplayError, ReplaySource, ReplayTarget, Replayed, empty_queue, replay};
use ocpp::Version;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testbed::sessions::{Player, sessions};
use uuid::Uuid;

on_every_adapter!(
    a_replay_yields_the_rows_of_the_source,
    an_interrupted_replay_is_continued,
);

/// Gateways of the run.
const GATEWAYS: usize = 3;

/// Commands of the run.
const COMMANDS: u128 = 120;

/// A charger in virtual time whose records are collected.
struct Virtual {
    version: Version,
    charger: Option<TestCharger>,
    records: Vec<Vec<u8>>,
    now: Timestamp,
}

impl Virtual {
    fn new(version: Version, now: Timestamp) -> Self {
        Self {
            version,
            charger: Some(connected(version, now, ResendMemory::default())),
            records: Vec::new(),
            now,
        }
    }

    fn charger(&mut self) -> &mut TestCharger {
        self.charger.as_mut().unwrap()
    }

    /// The records, as those of the charger `name`.
    fn records_of(mut self, name: &str) -> Vec<Vec<u8>> {
        let journal = std::mem::take(&mut self.charger().journal);
        self.records.extend(journal);
        let named = self.records.iter().map(|bytes| {
            let record = Record::decode(bytes).unwrap();
            Record {
                charger_id: name,
                ..record
            }
            .encode()
        });
        named.collect()
    }
}

fn connected(version: Version, at: Timestamp, memory: ResendMemory) -> TestCharger {
    let mut setup = setup(version);
    setup.epoch = at.0.unsigned_abs();
    setup.memory = memory;
    setup.connect_at(at)
}

impl Player for Virtual {
    fn begin_step(&mut self, _: usize, seconds: i64) {
        self.now = NOW.plus_millis(seconds * 1_000);
        self.charger().now = self.now;
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn now_ms(&self) -> i64 {
        self.now.0
    }

    fn connect(&mut self) {
        let old = self.charger.take().unwrap();
        self.records.extend(old.journal);
        let memory = old.station.into_memory();
        self.charger = Some(connected(self.version, self.now, memory));
    }

    fn disconnect(&mut self) {
        self.charger().disconnects(CloseReason::ByCharger(None));
    }

    fn call(&mut self, id: &str, action: &str, payload: &str) -> Value {
        let answer = self.charger().succeeds(id, action, payload);
        serde_json::from_str(&answer).unwrap()
    }
}

/// What each charger sent, in its order.
fn conversations() -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for (number, session) in sessions().unwrap().iter().enumerate() {
        let version = &session.versions[number % session.versions.len()];
        let version = Version::from_number(version).unwrap();
        let mut player = Virtual::new(version, NOW);
        session.play(NOW.0, &mut player);
        all.push(player.records_of(&format!("Corpus-{number}")));
    }
    for kind in ["ok", "tolerated", "broken"] {
        let mut chargers = BTreeMap::new();
        for (number, (version, _, text)) in vectors(kind).into_iter().enumerate() {
            let name = format!("{kind}-{}-{}", version.as_str(), number % 4);
            let player = chargers
                .entry(name)
                .or_insert_with(|| Virtual::new(version, NOW));
            let charger = player.charger();
            charger.now = charger.now.plus_millis(1_000);
            if charger.closed.is_none() {
                charger.sends(&text);
            }
        }
        for (name, player) in chargers {
            all.push(player.records_of(&name));
        }
    }
    all
}

fn command_id(number: u128) -> CommandId {
    CommandId(Uuid::from_u128(
        0x0190_0000_0000_7000_8000_0000_0000_0000 + number,
    ))
}

fn new_command(number: u128, charger: &str) -> NewCommand {
    NewCommand {
        command: Command {
            id: command_id(number),
            charger_id: charger.to_owned(),
            action: "Reset".to_owned(),
            payload: r#"{"type":"Soft"}"#.to_owned(),
            answer_within_ms: 30_000,
            send_before: at(10),
            skips_check: false,
        },
        created_at: at(0),
        requested_by: "ops".to_owned(),
        waits_when_offline: true,
        not_sent: None,
        idempotency: number.is_multiple_of(3).then(|| Idempotency {
            key: format!("key-{number}"),
            digest: [u8::try_from(number % 256).unwrap(); 32],
        }),
        audit: None,
        traceparent: None,
    }
}

/// A record about a command.
fn about(id: RecordId, number: u128, charger: &str, kind: RecordKind, minute: i64) -> Sent {
    let of = call(id, charger, minute, "Reset", "");
    let message_id = command_id(number).to_string();
    let record = Record {
        kind,
        message_id: &message_id,
        payload: match kind {
            RecordKind::CallToCharger => r#"{"type":"Soft"}"#,
            RecordKind::CallError => r#"["InternalError","",{}]"#,
            RecordKind::CallResult => r#"{"status":"Accepted"}"#,
            _ => "",
        },
        answer_kind: central::AnswerKind::None,
        answer: "",
        reason: match kind {
            RecordKind::CallUnanswered => "no answer within 30000 ms",
            _ => "",
        },
        ..of.record()
    };
    Sent {
        id,
        bytes: record.encode(),
    }
}

/// Numbers records per gateway.
struct Journals([u64; GATEWAYS]);

impl Journals {
    fn next(&mut self, gateway: usize) -> RecordId {
        self.0[gateway] += 1;
        id(gateway as u128, self.0[gateway])
    }
}

/// The records of the run, in an order in which they may have arrived.
fn random_records(rng: &mut fastrand::Rng, journals: &mut Journals) -> Vec<Sent> {
    let mut sent = Vec::new();
    for gateway in 0..GATEWAYS {
        let epoch = NOW.0.unsigned_abs() - 5;
        sent.push(event(
            journals.next(gateway),
            RecordKind::GatewayStarted,
            "",
            0,
            epoch,
        ));
    }
    for conversation in conversations() {
        let mut gateway = rng.usize(..GATEWAYS);
        for bytes in conversation {
            // A charger comes back at another gateway.
            if rng.u32(..40) == 0 {
                gateway = rng.usize(..GATEWAYS);
            }
            let id = journals.next(gateway);
            sent.push(Sent { id, bytes });
        }
    }
    for number in 0..COMMANDS {
        let charger = format!("corpus-{number}");
        let kinds: &[RecordKind] = match number % 6 {
            0 | 1 => &[RecordKind::CallToCharger, RecordKind::CallResult],
            2 => &[RecordKind::CallToCharger, RecordKind::CallError],
            3 => &[RecordKind::CallToCharger, RecordKind::CallUnanswered],
            4 => &[
                RecordKind::CallToCharger,
                RecordKind::CallUnanswered,
                RecordKind::CallResult,
            ],
            _ => &[],
        };
        let gateway = rng.usize(..GATEWAYS);
        for (minute, kind) in (2..).zip(kinds) {
            let id = journals.next(gateway);
            sent.push(about(id, number, &charger, *kind, minute));
        }
    }
    // Sessions of other spellings of one charger, and a text that PostgreSQL cannot store.
    sent.push(start(journals.next(0), "Spelled", 5, 9));
    sent.push(status(journals.next(1), "SPELLED", 6, 1));
    sent.push(call(journals.next(2), "spelled", 7, "Heartbeat", "\u{0}{"));
    // Disorder over long and short distances, and repeats.
    for _ in 0..sent.len() {
        let (from, far) = (rng.usize(..sent.len()), rng.u32(..10) == 0);
        let to = match far {
            true => rng.usize(..sent.len()),
            false => (from + rng.usize(..6)).min(sent.len() - 1),
        };
        sent.swap(from, to);
    }
    for _ in 0..sent.len() / 10 {
        let again = sent[rng.usize(..sent.len())].clone();
        sent.insert(rng.usize(..sent.len()), again);
    }
    sent
}

/// Fills a database by everything that can fill one.
fn fill<S>(store: &S, seed: u64)
where
    S: Store
        + Transfer
        + QueryStore
        + ChargerAdmin
        + Tokens
        + ApiKeys
        + Users
        + Closings
        + Commands
        + CommandQueue
        + PasswordRotations
        + DeadLetters,
{
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut journals = Journals([0; GATEWAYS]);
    for number in 0..COMMANDS {
        let new = new_command(number, &format!("Corpus-{number}"));
        assert!(matches!(store.create(&new).unwrap(), Created::New(_)));
        if number % 6 < 5 {
            let claim = Claim {
                gateway: gateway(0),
                started: Epoch(7),
                next_seq: Seq(1),
                at: at(1),
            };
            let key = ChargerKey::of(&format!("corpus-{number}"));
            assert_eq!(store.claim(claim, &[key]).unwrap().len(), 1);
        } else if number % 12 == 5 {
            store.cancel(command_id(number), at(1)).unwrap();
        }
    }
    let sent = random_records(&mut rng, &mut journals);
    let mut rest = sent.as_slice();
    while !rest.is_empty() {
        let batch;
        (batch, rest) = rest.split_at(rng.usize(1..=400).min(rest.len()));
        apply(store, batch).unwrap();
    }
    // A gateway that runs reports it, and one was retired: neither is a record.
    let mut reported = Changes::default();
    let state = GatewayState {
        started_epoch: Epoch(NOW.0.unsigned_abs() + 900),
        started_at: at(9),
        alive_at: Some(at(700)),
    };
    reported.gateways.insert(gateway(1), state);
    store.apply(&[], &reported, &[]).unwrap();
    for (number, reason) in ["damaged", "unreadable"].into_iter().enumerate() {
        let id = journals.next(number);
        let letter = DeadLetter {
            id,
            bytes: lost(reason, b"rest"),
            reason: reason.to_owned(),
        };
        store.apply(&[], &Changes::default(), &[letter]).unwrap();
    }
    discard_letter(store, journals.next(2));
    // Another record with a number that is taken.
    apply(
        store,
        &[Sent {
            id: id(0, 5),
            bytes: heartbeat(5, "Other").bytes,
        }],
    )
    .unwrap();
    let page = PageRequest::default();
    let open = TransactionFilter {
        open: Some(true),
        ..TransactionFilter::default()
    };
    for view in store
        .transactions(&open, &page)
        .unwrap()
        .items
        .iter()
        .step_by(3)
    {
        let wanted = close_request(view.key, at(500), at(501));
        let closed = store.close_session(&wanted).unwrap();
        assert!(matches!(closed, Once::Done(_)), "{closed:?}");
    }
    set_by_people(store);
}

fn set_by_people<S>(store: &S)
where
    S: ChargerAdmin + QueryStore + Tokens + ApiKeys + PasswordRotations + Users,
{
    let user = crate::users::user("anna", 1, Scope::Admin);
    let hash = UserPasswordHash::from_text("$argon2id$not-a-secret".to_owned());
    store.add_user(&user, &hash, &origin()).unwrap().unwrap();
    for number in 0..510 {
        let token = Token {
            id: format!("Tag-{number}"),
            note: Some("a \"note\", \\ and ü".to_owned()),
            expires_at: (number % 2 == 0).then(|| at(number)),
            group_id: (number % 3 == 0).then(|| "family".to_owned()),
            ..Token::accepted("")
        };
        store.put_token(&token, &origin()).unwrap();
    }
    let profile = ChargerProfile {
        registration: Registration::Pending,
        password_hash: Some("$argon2id$not-a-secret".to_owned()),
        frame_bytes_max: Some(65_536),
        label: Some("North gate".to_owned()),
        site: Some("depot".to_owned()),
        group: Some("fleet".to_owned()),
        close_style: Some(central::model::CloseStyle::Tcp),
        ..ChargerProfile::new("Corpus-1")
    };
    let site = SiteChange {
        id: "depot".to_owned(),
        kind: ChangeKind::Create,
        patch: SitePatch {
            latitude: Some(Some(52.520_006_6)),
            longitude: Some(Some(13.404_954)),
            ..SitePatch::default()
        },
        request: ChangeRequest::of(origin()),
    };
    let site = store.change_site(&site).unwrap();
    assert!(matches!(site, Once::Done(_)), "{site:?}");
    put_profile(store, &profile);
    put_profile(store, &ChargerProfile::new("Corpus-2"));
    let removed = store.remove_charger("Corpus-2", &ChangeRequest::of(origin()));
    removed.unwrap().unwrap();
    assert!(
        store
            .charger("Corpus-2")
            .unwrap()
            .unwrap()
            .removed_at
            .is_some()
    );
    let rotation = NewRotation {
        charger_id: profile.charger_id.clone(),
        new_hash: "$argon2id$new".to_owned(),
        command: crate::commands::new(0x5019, "Corpus-1"),
        request: ChangeRequest::of(origin()),
    };
    let begun = store.begin_rotation(&rotation).unwrap();
    assert!(matches!(begun, Once::Done(_)), "{begun:?}");
    let key = ApiKey {
        id: Uuid::from_u128(77),
        name: "dashboard".to_owned(),
        scope: Scope::Read,
        created_at: at(1),
        expires_at: None,
        last_used_at: Some(at(2)),
    };
    store
        .add_api_key(
            &key,
            &ApiKeyHash::from_bytes([7; 32]),
            &ChangeRequest::of(origin()),
        )
        .unwrap();
}

/// A record that becomes a dead letter, which a person discards.
fn discard_letter<S: Store + DeadLetters>(store: &S, id: RecordId) {
    let letter = DeadLetter {
        id,
        bytes: lost("discarded", b"rest"),
        reason: "discarded".to_owned(),
    };
    store.apply(&[], &Changes::default(), &[letter]).unwrap();
    let wanted = DiscardRequest {
        selection: LetterSelection::Ids(vec![id]),
        reason: "of no use".to_owned(),
        request: ChangeRequest::of(origin()),
    };
    let discarded = store.discard_letters(&wanted).unwrap();
    assert!(matches!(discarded, Once::Done(_)), "{discarded:?}");
}

/// All rows of a table.
fn rows(store: &dyn Transfer, name: &'static str, key: &'static [&'static str]) -> Vec<CopiedRow> {
    let table = CopiedTable {
        name,
        key,
        columns: &[],
        mode: CopyMode::Replace,
    };
    let mut rows: Vec<CopiedRow> = Vec::new();
    loop {
        let page = store.rows(&table, rows.last()).unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// The tables of projections that [`Adapter::contents`] does not have as they are.
const PROJECTIONS: [(&str, &[&str]); 11] = [
    ("gateways", &["no"]),
    ("chargers", &["no"]),
    ("connectors", &["charger_no", "evse", "connector"]),
    ("transactions", &["no"]),
    ("transaction_views", &["began_at", "key"]),
    ("unnamed_places", &["charger_no", "place"]),
    ("charger_quirks", &["charger_no", "quirk"]),
    ("unknown_tokens", &["key", "charger_no", "day"]),
    ("command_progress", &["id"]),
    ("command_effects", &["id"]),
    ("events", &["charger_no", "at", "key_hash"]),
];

/// The rows of a table, sorted, with what they refer to in place of the numbers that each database gives by itself, and
/// every type as both databases can have it.
fn dump(store: &dyn Transfer, name: &'static str, key: &'static [&'static str]) -> Vec<String> {
    let names = |table: &'static str, column: &str| -> BTreeMap<i64, Value> {
        let rows = rows(store, table, &["no"]);
        let entries = rows
            .iter()
            .map(|row| (row["no"].as_i64().unwrap(), row[column].clone()));
        entries.collect()
    };
    let chargers = names("chargers", "key");
    let charger = |no: &Value| {
        chargers
            .get(&no.as_i64().unwrap())
            .cloned()
            .unwrap_or(Value::Null)
    };
    let transactions: BTreeMap<i64, Value> = rows(store, "transactions", &["no"])
        .iter()
        .map(|row| {
            let name = json!([charger(&row["charger_no"]), row["wire_id"]]);
            (row["no"].as_i64().unwrap(), name)
        })
        .collect();
    let mut texts = Vec::new();
    for mut row in rows(store, name, key) {
        // Stores write it only where it counts, which is where there is a successor.
        if row.get("successor") == Some(&Value::Null) {
            row.remove("heard_at");
        }
        let mut shown = BTreeMap::new();
        for (column, value) in row {
            let value = match (column.as_str(), value) {
                ("rev" | "stored_on" | "no", _) => continue,
                ("charger_no", no) => charger(&no),
                ("transaction_no" | "partner_no", Value::Number(no)) => {
                    transactions[&no.as_i64().unwrap()].clone()
                }
                (_, Value::Bool(is_true)) => f64::from(u8::from(is_true)).into(),
                (_, Value::Number(number)) => number.as_f64().unwrap().into(),
                ("state" | "readings" | "data", Value::String(text)) => {
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                }
                (_, Value::String(text)) => match text.strip_prefix("\\x") {
                    Some(digits) => digits.into(),
                    None => match Uuid::try_parse(&text) {
                        Ok(uuid) => uuid.simple().to_string().into(),
                        Err(_) => text.replace('\0', "\u{2400}").into(),
                    },
                },
                (_, other) => other,
            };
            shown.insert(column, value);
        }
        texts.push(json!(shown).to_string());
    }
    texts.sort();
    texts
}

fn must_be_equal(table: &str, there: &[String], here: &[String]) {
    let (there, here): (BTreeSet<_>, BTreeSet<_>) = (there.iter().collect(), here.iter().collect());
    let missing: Vec<_> = there.difference(&here).take(3).collect();
    let surplus: Vec<_> = here.difference(&there).take(3).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{table}: missing {missing:#?}, surplus {surplus:#?}"
    );
}

fn replay_into<S, T>(source: &S, target: &T, continued: bool) -> Result<Replayed, ReplayError>
where
    S: QueryStore + central::ports::DeadLetters + Transfer + EventLog,
    T: Store + Transfer,
{
    empty_queue(source)?;
    let from = ReplaySource {
        queries: source,
        dead_letters: source,
        transfer: source,
    };
    let to = ReplayTarget {
        store: target,
        transfer: target,
    };
    replay(from, to, continued, &mut |_| ())
}

fn is_replayed<A: Adapter, B: Adapter>(source: &A::Store) {
    let database = B::new();
    let target = database.open();
    let replayed = replay_into(source, &target, false).unwrap();
    assert_eq!(replayed.differing, [], "numbers of rows");
    assert_eq!(replayed.dead_letters, 3);

    // A record with U+0000 is whole in both; a state made of it is as the product can store it.
    let (there, here) = (A::contents(source), B::contents(&target));
    assert!(there.records.len() > 2_500, "{}", there.records.len());
    assert_eq!(here.records, there.records, "messages");
    assert_eq!(here.dead, there.dead, "dead letters");
    assert_eq!(here.meter_values.len(), there.meter_values.len());
    for (key, row) in &there.meter_values {
        assert_eq!(here.meter_values.get(key), Some(row), "meter values");
    }
    for (table, key) in PROJECTIONS {
        let there = dump(source, table, key);
        assert!(!there.is_empty(), "nothing in {table} to compare");
        must_be_equal(table, &there, &dump(&target, table, key));
    }
    for table in source.copied_tables() {
        let there = dump(source, table.name, table.key);
        // The replay's own note, and sessions of which the source's log has no event.
        if !["settings", "event_sessions"].contains(&table.name) {
            must_be_equal(table.name, &there, &dump(&target, table.name, table.key));
        }
    }
    for store in [source as &dyn Transfer, &target] {
        assert_eq!(rows(store, "event_queue", &["no"]), [], "queued events");
    }
    assert!(
        !rows(&target, "event_log", &["position"]).is_empty(),
        "the events that were queued in the source are in the log"
    );
    let copied: BTreeMap<_, _> = replayed.copied.into_iter().collect();
    assert_eq!(copied["tokens"], 510);
    assert_eq!(copied["commands"], 121);
    assert_eq!(copied["password_rotations"], 1);
    assert!(copied["transaction_closings"] > 3);

    // What the lists show, in their order.
    let page = PageRequest {
        after: None,
        limit: 1_000,
    };
    let filter = TransactionFilter::default();
    let (there, here) = (
        source.transactions(&filter, &page).unwrap(),
        target.transactions(&filter, &page).unwrap(),
    );
    assert!(there.items.len() > 300);
    assert_eq!(here.items, there.items);
    let all = MessageFilter::default();
    let ids = |store: &dyn QueryStore| -> Vec<RecordId> {
        all_messages(store, &all)
            .map(|row| row.unwrap().id)
            .collect()
    };
    assert_eq!(ids(&target), ids(source), "the order of messages");
    let discarded = DeadLetterFilter {
        state: DeadLetterState::Discarded,
        ..DeadLetterFilter::default()
    };
    let there = source.dead_letters(&discarded, &page).unwrap().items;
    let here = target.dead_letters(&discarded, &page).unwrap().items;
    assert_eq!(there.len(), 1);
    assert_eq!(here, there, "discarded dead letters");
    let former = |store: &dyn Transfer| -> BTreeSet<Uuid> {
        let keys = store.former_keys(None).unwrap();
        let hex = |row: &CopiedRow| row["key"].as_str().unwrap().replace("\\x", "");
        keys.iter()
            .map(|row| Uuid::try_parse(&hex(row)).unwrap())
            .collect()
    };
    assert!(former(source).len() > 3, "keys that transactions had");
    assert!(former(&target).is_superset(&former(source)));

    // A finished replay is a database like any other.
    for continued in [false, true] {
        let again = replay_into(source, &target, continued);
        assert!(matches!(again, Err(ReplayError::NotEmpty(_))), "{again:?}");
    }
}

fn a_replay_yields_the_rows_of_the_source<A: Adapter>() {
    let database = A::new();
    let source = database.open();
    fill(&source, 11);
    is_replayed::<A, SqliteDatabase>(&source);
    is_replayed::<A, PostgresDatabase>(&source);
}

fn an_interrupted_replay_is_continued<A: Adapter>() {
    let (there, here) = (A::new(), A::new());
    let (source, target) = (there.open(), Arc::new(here.open()));
    let sent: Vec<Sent> = (1..=5_000).map(|seq| heartbeat(seq, "CP-1")).collect();
    apply(&source, &sent).unwrap();
    assert_eq!(
        replay_into(&source, &*target, true),
        Err(ReplayError::NothingToContinue)
    );
    let failing = Interrupted {
        store: Arc::clone(&target),
        // The state of gateways, and one batch of records.
        batches: AtomicU32::new(2),
    };
    let from = ReplaySource {
        queries: &source,
        dead_letters: &source,
        transfer: &source,
    };
    let to = ReplayTarget {
        store: &failing,
        transfer: &*target,
    };
    let ended = replay(from, to, false, &mut |_| ());
    assert!(matches!(ended, Err(ReplayError::Target(_))), "{ended:?}");
    assert_eq!(
        replay_into(&source, &*target, false),
        Err(ReplayError::Unfinished)
    );
    let done = replay_into(&source, &*target, true).unwrap();
    assert_eq!((done.new, done.known), (3_000, 2_000));
    assert_eq!(A::contents(&target), A::contents(&source));
}

/// A store that is unavailable after some batches.
struct Interrupted<S> {
    store: Arc<S>,
    batches: AtomicU32,
}

impl<S: Store> Store for Interrupted<S> {
    fn apply(
        &self,
        records: &[(RecordId, Record<'_>)],
        changes: &Changes,
        dead: &[DeadLetter],
    ) -> Result<Applied, Unavailable> {
        if self.batches.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(Unavailable {
                component: "database",
                kind: UnavailableKind::Unreachable,
                detail: "by the test".to_owned(),
            });
        }
        self.store.apply(records, changes, dead)
    }
}
