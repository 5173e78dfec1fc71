use super::*;
use central::model::{Acknowledged, PartReport, ProcessReport, ProcessRole};
use central::ports::{
    AlertFilter, ChangeRequest, NotAcknowledged, Once, SilenceNotAdded, UnavailableKind,
};
use common::lock::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{SqliteOptions, SqliteStore};

const WITHIN: Duration = Duration::from_secs(10);

/// The database as one process reaches it: statements can take long, and it can be away.
struct Way {
    store: Arc<SqliteStore>,
    takes: Duration,
    is_away: AtomicBool,
    /// The next round panics.
    panics: AtomicBool,
    /// Who took the lease or stored something, in this order, of all processes of a test.
    holders: Arc<Mutex<Vec<Uuid>>>,
}

impl Way {
    fn pass(&self) -> Result<&SqliteStore, Unavailable> {
        std::thread::sleep(self.takes);
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(Unavailable {
                component: "database",
                kind: UnavailableKind::Unreachable,
                detail: "it is away".to_owned(),
            }),
            false => Ok(&self.store),
        }
    }

    fn note(&self, holder: Uuid) {
        let mut holders = lock(&self.holders);
        if holders.last() != Some(&holder) {
            holders.push(holder);
        }
    }
}

impl Alerts for Way {
    fn lease_alerts(
        &self,
        holder: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<String>, Unavailable> {
        let panics = self.panics.swap(false, Ordering::Relaxed);
        assert!(!panics, "the panic of this test");
        let leased = self.pass()?.lease_alerts(holder, now, until)?;
        if leased.is_some() {
            self.note(holder);
        }
        Ok(leased)
    }

    fn extend_alerts(&self, holder: Uuid, until: Timestamp) -> Result<bool, Unavailable> {
        self.pass()?.extend_alerts(holder, until)
    }

    fn release_alerts(&self, holder: Uuid) -> Result<(), Unavailable> {
        self.pass()?.release_alerts(holder)
    }

    fn active_alerts(&self, since: Timestamp) -> Result<Vec<Alert>, Unavailable> {
        self.pass()?.active_alerts(since)
    }

    fn acknowledged_alerts(&self) -> Result<Vec<(Uuid, Acknowledged)>, Unavailable> {
        self.pass()?.acknowledged_alerts()
    }

    fn record_alerts(
        &self,
        holder: Uuid,
        step: &Step,
        memory: &str,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        self.pass()?.record_alerts(holder, step, memory, now)
    }

    fn alerts(&self, filter: &AlertFilter, page: &PageRequest) -> Result<Page<Alert>, QueryError> {
        self.store.alerts(filter, page)
    }

    fn alert(&self, id: Uuid) -> Result<Option<Alert>, Unavailable> {
        self.store.alert(id)
    }

    fn acknowledge_alert(
        &self,
        id: Uuid,
        note: &str,
        request: &ChangeRequest,
    ) -> Result<Once<Alert, NotAcknowledged>, Unavailable> {
        self.store.acknowledge_alert(id, note, request)
    }

    fn silences(&self) -> Result<Vec<Silence>, Unavailable> {
        self.pass()?.silences()
    }

    fn add_silence(
        &self,
        silence: &Silence,
        request: &ChangeRequest,
    ) -> Result<Once<Silence, SilenceNotAdded>, Unavailable> {
        self.store.add_silence(silence, request)
    }

    fn remove_silence(&self, id: Uuid, request: &ChangeRequest) -> Result<bool, Unavailable> {
        self.store.remove_silence(id, request)
    }

    fn expire_alerts(
        &self,
        before: Timestamp,
        silences_before: Timestamp,
    ) -> Result<u64, Unavailable> {
        self.store.expire_alerts(before, silences_before)
    }
}

/// A database, and processes that evaluate over it.
struct World {
    store: Arc<SqliteStore>,
    holders: Arc<Mutex<Vec<Uuid>>>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wattpost.db");
        let store = SqliteStore::open(path, SqliteOptions::default()).expect("it opens");
        Self {
            store: Arc::new(store),
            holders: Arc::default(),
            _directory: directory,
        }
    }

    fn way(&self, takes: Duration) -> Arc<Way> {
        Arc::new(Way {
            store: Arc::clone(&self.store),
            takes,
            is_away: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            holders: Arc::clone(&self.holders),
        })
    }

    /// What a process reads that evaluates. Its journal is full, and its database refuses, while `is_full`.
    fn sources(&self, way: &Arc<Way>, is_full: &Arc<AtomicBool>) -> Sources {
        let is_full = Arc::clone(is_full);
        let own = move || {
            let figures = [(
                "journal_full".to_owned(),
                f64::from(u8::from(is_full.load(Ordering::Relaxed))),
            )];
            let database = PartReport {
                part: "database".to_owned(),
                up: !is_full.load(Ordering::Relaxed),
                detail: "full".to_owned(),
                since: Timestamp(1),
                last_error: None,
            };
            ProcessReport {
                id: Uuid::from_u128(1),
                role: ProcessRole::Api,
                host: "host".to_owned(),
                version: "1".to_owned(),
                started_at: Timestamp(1),
                at: Timestamp(now_ms()),
                has_stopped: false,
                parts: vec![database],
                gateway: None,
                consumed_records: None,
                queues: None,
                figures_milli: ProcessReport::in_milli(&figures.into()),
                restarts: Vec::new(),
            }
        };
        Sources {
            alerts: Arc::clone(way) as Arc<dyn Alerts>,
            clock: Arc::clone(&self.store) as Arc<dyn DatabaseClock>,
            queries: Arc::clone(&self.store) as Arc<dyn QueryStore>,
            log: Arc::clone(&self.store) as Arc<dyn EventLog>,
            handshakes: None,
            webhooks: None,
            overview: Arc::new(Overview::new(crate::PipelineDeps {
                processes: Arc::clone(&self.store) as Arc<dyn central::ports::Processes>,
                own: Arc::new(own),
                has_broker: false,
            })),
            mailer: Some(mailer()),
        }
    }

    fn process(&self, takes: Duration, timing: Timing) -> CancellationToken {
        let stop = CancellationToken::new();
        let sources = self.sources(&self.way(takes), &Arc::default());
        tokio::spawn(run_with(sources, config(), timing, stop.clone()));
        stop
    }

    fn holders(&self) -> usize {
        lock(&self.holders).len()
    }
}

/// Mails are handed to it by no test: what is due is looked at.
fn mailer() -> Mailer {
    let config = crate::MailConfig {
        server: "127.0.0.1".to_owned(),
        port: 9,
        tls: crate::MailTls::None,
        from: "wattpost@example.com".to_owned(),
        to: vec!["ops@example.com".to_owned()],
        ..crate::MailConfig::default()
    };
    let mailer = Mailer::new(&config).expect("right settings");
    mailer.expect("a server is set")
}

fn config() -> AlertConfig {
    let mut config = AlertConfig {
        interval_ms: 200,
        ..AlertConfig::default()
    };
    let rules = &mut config.rules;
    rules.keep_firing_s.insert("JournalFull".to_owned(), 0);
    config
}

fn timing(lease_ms: u64) -> Timing {
    Timing {
        lease: Duration::from_millis(lease_ms),
        extended_every: Duration::from_millis(50),
        tried_every: Duration::from_millis(50),
        ..Timing::default()
    }
}

async fn until(what: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < WITHIN {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// An evaluator whose rounds a test makes.
fn evaluator(world: &World, way: &Arc<Way>, is_full: &Arc<AtomicBool>) -> Evaluator {
    let sources = world.sources(way, is_full);
    let lease = Arc::new(Lease::new(
        Arc::clone(&sources.alerts),
        Arc::clone(&sources.clock),
        Timing::default(),
    ));
    Evaluator {
        sources,
        config: config(),
        lease,
        held: None,
        silences: Vec::new(),
        silences_read_at: None,
        has_failed: false,
    }
}

fn mails(evaluator: &Evaluator) -> Vec<Mail> {
    evaluator.mails_due(Timestamp(now_ms() + 3_600_000))
}

fn accept(evaluator: &mut Evaluator, mails: Vec<Mail>) {
    let accepted = |mail| Attempt {
        mail,
        at: Timestamp(now_ms()),
        result: Ok(Vec::new()),
    };
    evaluator.mailed(mails.into_iter().map(accepted).collect());
}

/// Other rules may find something in a world with one process.
fn of_journal(world: &World) -> Vec<Alert> {
    of_name(world, "JournalFull")
}

fn of_name(world: &World, name: &str) -> Vec<Alert> {
    let page = PageRequest {
        after: None,
        limit: PAGE_MAX,
    };
    let all = world.store.alerts(&AlertFilter::default(), &page);
    let all = all.expect("it answers").items;
    all.into_iter().filter(|one| one.name == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_takes_longer_than_the_lease_keeps_it() {
    let world = World::new();
    // A round has five statements or more, so it takes twice as long as the lease.
    let takes = Duration::from_millis(100);
    let stops = [0, 1].map(|_| world.process(takes, timing(250)));
    assert!(until(|| world.holders() > 0).await);
    let second = until(|| world.holders() > 1);
    let second = tokio::time::timeout(Duration::from_secs(2), second).await;
    assert!(second.is_err(), "another process has taken the lease");
    stops.iter().for_each(CancellationToken::cancel);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_do_not_take_the_lease_from_each_other_where_extending_it_is_too_slow() {
    let world = World::new();
    let takes = Duration::from_millis(100);
    let stops = [0, 1].map(|_| world.process(takes, timing(60)));
    assert!(until(|| world.holders() > 0).await);
    let more = until(|| world.holders() > 3);
    let more = tokio::time::timeout(Duration::from_secs(2), more).await;
    assert!(more.is_err(), "the lease goes to and fro");
    stops.iter().for_each(CancellationToken::cancel);
}

/// A panic ended the evaluation for good, and no alert of this process fired any more.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_evaluated_again_after_a_panic_of_a_round() {
    let world = World::new();
    let way = world.way(Duration::ZERO);
    let (sources, stop) = (
        world.sources(&way, &Arc::default()),
        CancellationToken::new(),
    );
    let stopped = stop.clone();
    let evaluating = tokio::spawn(common::restart::task("alerts", move || {
        run_with(sources.clone(), config(), timing(300), stopped.clone())
    }));
    assert!(until(|| world.holders() == 1).await);
    way.panics.store(true, Ordering::Relaxed);
    assert!(until(|| world.holders() == 2).await, "by the next task");
    assert!(!way.panics.load(Ordering::Relaxed));
    stop.cancel();
    evaluating.await.expect("it returns");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_or_hangs_is_replaced() {
    let world = World::new();
    let first = world.process(Duration::ZERO, timing(300));
    assert!(until(|| world.holders() == 1).await);
    // It holds the lease, and does not extend it: as after a kill.
    let killed = world.way(Duration::ZERO);
    first.cancel();
    let began = Instant::now();
    let leased = || {
        let now = Timestamp(now_ms());
        let until = now.plus_millis(300);
        killed
            .lease_alerts(Uuid::from_u128(9), now, until)
            .expect("it answers")
            .is_some()
    };
    assert!(until(leased).await);
    let last = world.process(Duration::ZERO, timing(300));
    assert!(until(|| world.holders() == 3).await);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    last.cancel();
}

/// The clock of a database whose machine is so many milliseconds ahead of this one.
struct Apart(i64);

impl DatabaseClock for Apart {
    fn time(&self) -> Result<Timestamp, Unavailable> {
        Ok(Timestamp(now_ms() + self.0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_clock_is_minutes_apart_breaks_no_lease() {
    for apart_ms in [600_000, -600_000] {
        let world = World::new();
        let of = |way: Arc<Way>| Lease::new(way, Arc::new(Apart(apart_ms)), timing(5_000));
        let (one, other) = (of(world.way(Duration::ZERO)), of(world.way(Duration::ZERO)));
        assert!(one.take().expect("it answers").is_some());
        assert!(other.take().expect("it answers").is_none(), "{apart_ms}");
        // One that another process has for 5 seconds by the database's clock.
        let time = Apart(apart_ms).time().expect("a clock");
        one.release();
        let third = Uuid::from_u128(9);
        let leased = world
            .store
            .lease_alerts(third, time, time.plus_millis(5_000));
        assert!(leased.expect("it answers").is_some());
        assert!(other.take().expect("it answers").is_none(), "{apart_ms}");
        world.store.release_alerts(third).expect("it answers");
        assert!(other.take().expect("it answers").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_while_the_database_is_away_tells_of_the_pipeline_and_stores_it_later()
 {
    let world = World::new();
    let (way, is_full) = (world.way(Duration::ZERO), Arc::new(AtomicBool::new(true)));
    way.is_away.store(true, Ordering::Relaxed);
    let mut one = evaluator(&world, &way, &is_full);
    one.turn();
    let due: Vec<Mail> = mails(&one)
        .into_iter()
        .filter(|mail| mail.is_about("JournalFull"))
        .collect();
    assert_eq!(due.len(), 1);
    assert!(due[0].says("another process may have sent the same mail"));
    accept(&mut one, due);
    one.turn();
    assert!(!mails(&one).iter().any(|mail| mail.is_about("JournalFull")));
    way.is_away.store(false, Ordering::Relaxed);
    one.turn();
    let stored = of_journal(&world);
    assert_eq!(stored.len(), 1);
    assert!(stored[0].told.mailed.is_some() && stored[0].told.firing.is_some());
    is_full.store(false, Ordering::Relaxed);
    one.turn();
    one.turn();
    assert_eq!(of_journal(&world)[0].state, AlertState::Resolved);
    let ends: Vec<Mail> = mails(&one)
        .into_iter()
        .filter(|mail| mail.is_about("JournalFull"))
        .collect();
    assert!(ends.len() == 1 && ends[0].ended.len() == 1, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_what_was_mailed_while_the_database_was_away_is_mailed_by_the_process_that_mailed_it()
 {
    let world = World::new();
    let (way, is_full) = (world.way(Duration::ZERO), Arc::new(AtomicBool::new(false)));
    let mut one = evaluator(&world, &way, &is_full);
    one.turn();
    way.is_away.store(true, Ordering::Relaxed);
    is_full.store(true, Ordering::Relaxed);
    one.turn();
    let due = mails(&one);
    assert!(due.iter().any(|mail| mail.is_about("JournalFull")));
    accept(&mut one, due);
    // Another process takes the lease first.
    let other_way = world.way(Duration::ZERO);
    let far = Timestamp(now_ms() + 60_000);
    let leased = other_way.lease_alerts(Uuid::from_u128(9), far, far.plus_millis(60_000));
    assert!(leased.expect("it answers").is_some());
    way.is_away.store(false, Ordering::Relaxed);
    one.turn();
    assert_eq!(
        mails(&one),
        [],
        "nothing new is mailed beside the other process"
    );
    assert!(one.held.is_some());
    is_full.store(false, Ordering::Relaxed);
    one.turn();
    one.turn();
    let ends = mails(&one);
    assert!(
        ends.iter()
            .any(|mail| !mail.ended.is_empty() && mail.is_about("JournalFull")),
        "{ends:?}"
    );
    accept(&mut one, ends);
    one.turn();
    assert!(one.held.is_none(), "nothing is left");
    assert_eq!(of_journal(&world), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_no_mail_is_a_page_and_one_that_refuses_a_recipient_a_ticket() {
    let world = World::new();
    let (way, is_full) = (world.way(Duration::ZERO), Arc::new(AtomicBool::new(true)));
    let mut one = evaluator(&world, &way, &is_full);
    for table in [
        &mut one.config.rules.for_s,
        &mut one.config.rules.keep_firing_s,
    ] {
        table.insert("NotifierFailing".to_owned(), 0);
    }
    one.turn();
    let mail = mails(&one).remove(0);
    let mut sent = |result: Result<Vec<String>, String>| {
        one.mailed(vec![Attempt {
            mail: mail.clone(),
            at: Timestamp(now_ms()),
            result,
        }]);
        one.turn();
        let mut found: Vec<_> = of_name(&world, "NotifierFailing")
            .into_iter()
            .map(|one| (one.severity, one.state, one.summary))
            .collect();
        found.sort();
        found
    };
    let firing = |severity, words: &str| (severity, AlertState::Firing, words.to_owned());
    let page = "no mail of an alert is accepted: no route";
    assert_eq!(
        sent(Err("no route".to_owned())),
        [firing(Severity::Page, page)]
    );
    let ticket = "the mail server refuses recipients: ops@example.com: no mailbox";
    let refused = "ops@example.com: no mailbox".to_owned();
    assert_eq!(
        sent(Ok(vec![refused])),
        [
            (Severity::Page, AlertState::Resolved, page.to_owned()),
            firing(Severity::Ticket, ticket)
        ]
    );
    let all = sent(Ok(Vec::new()));
    assert!(
        all.len() == 2
            && all
                .iter()
                .all(|(_, state, _)| *state == AlertState::Resolved),
        "{all:?}"
    );
}

/// The events about parts of the pipeline.
fn told_parts(world: &World) -> Vec<String> {
    let sequenced = world.store.sequence_events(Timestamp(now_ms()));
    sequenced.expect("it answers");
    let filter = EventFilter {
        charger: None,
        types: vec![EventType::PipelinePartDown, EventType::PipelinePartUp],
    };
    let found = world.store.events_after(EventId::START, &filter, PAGE_MAX);
    let EventsFound::Page(page) = found.expect("it answers") else {
        panic!("the events are kept");
    };
    let events = page.events.iter();
    let events = events.map(|event| format!("{} {}", event.kind, event.subject));
    events.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_does_not_work_is_told_once_whichever_process_evaluates() {
    let world = World::new();
    let (way, is_full) = (world.way(Duration::ZERO), Arc::new(AtomicBool::new(true)));
    let began = now_ms();
    let round = |evaluator: &mut Evaluator, second: i64| {
        evaluator.turn();
        let mut held = evaluator.held.take().expect("it has the lease");
        assert!(evaluator.evaluate(&mut held, true, Timestamp(began + second * 1_000)));
        evaluator.held = Some(held);
    };
    let told = || told_parts(&world);
    let mut one = evaluator(&world, &way, &is_full);
    round(&mut one, 5);
    assert_eq!(told(), Vec::<String>::new(), "it may be a restart");
    // Another process goes on where this one has ended.
    one.lease.release();
    let mut two = evaluator(&world, &way, &is_full);
    round(&mut two, 25);
    assert_eq!(told(), ["pipeline.part_down database"]);
    two.lease.release();
    round(&mut one, 60);
    assert_eq!(told().len(), 1);
    is_full.store(false, Ordering::Relaxed);
    // A round of `turn` is at the present time, which is before.
    round(&mut one, 70);
    one.lease.release();
    round(&mut two, 90);
    assert_eq!(
        told(),
        ["pipeline.part_down database", "pipeline.part_up database"]
    );
}

/// Whoever gets the lease after an outage of the database tells it: the process that had it before, or another one that was
/// there, or was started, meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_is_told_once_by_the_process_that_evaluates_after_it() {
    let (world, is_full) = (World::new(), Arc::new(AtomicBool::new(false)));
    let ways = [(); 2].map(|()| world.way(Duration::ZERO));
    let [mut one, mut two] = [0, 1].map(|no| evaluator(&world, &ways[no], &is_full));
    one.turn();
    is_full.store(true, Ordering::Relaxed);
    for way in &ways {
        way.is_away.store(true, Ordering::Relaxed);
    }
    for process in [&mut one, &mut two] {
        process.turn();
        let later = Timestamp(now_ms() + 20_000);
        let mut held = process.held.take().expect("it evaluates in memory");
        process.evaluate(&mut held, false, later);
        process.held = Some(held);
    }
    for way in &ways {
        way.is_away.store(false, Ordering::Relaxed);
    }
    // The lease has ended meanwhile.
    let released = world.store.release_alerts(one.lease.holder);
    released.expect("it answers");
    two.turn();
    assert_eq!(told_parts(&world), ["pipeline.part_down database"]);
    one.turn();
    is_full.store(false, Ordering::Relaxed);
    let up_at = |process: &mut Evaluator, second: i64| {
        let mut held = process.held.take().expect("it has the lease");
        process.evaluate(&mut held, true, Timestamp(now_ms() + second * 1_000));
        process.held = Some(held);
    };
    two.turn();
    up_at(&mut two, 20);
    let all = ["pipeline.part_down database", "pipeline.part_up database"];
    assert_eq!(told_parts(&world), all);
    // The other one has noticed the same outage.
    two.lease.release();
    one.turn();
    up_at(&mut one, 40);
    assert_eq!(told_parts(&world), all);
}

/// A connector that has said so for so long, and nothing else.
fn prepares(recent: &mut Recent, since: Timestamp) {
    let text = format!(r#"{{"CP-1 0/1":["Preparing",{}]}}"#, since.0);
    let stays: Stays = serde_json::from_str(&text).expect("as it is stored");
    recent.restore_stays(&stays, since);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_goes_on_with_the_memory_and_keeps_what_it_does_not_know() {
    let world = World::new();
    let way = world.way(Duration::ZERO);
    let mut one = evaluator(&world, &way, &Arc::default());
    one.turn();
    let since = Timestamp(now_ms() - 60_000);
    let mut held = one.held.take().expect("it has the lease");
    prepares(&mut held.recent, since);
    held.memory.stays = held.recent.stays();
    // As a newer program stores it.
    let later = serde_json::json!({"what": ["nobody", 1]});
    held.memory.others.insert("later".to_owned(), later.clone());
    assert!(one.store(&mut held, Timestamp(now_ms())));
    one.held = Some(held);
    let stays = one.held.as_ref().expect("it evaluates").recent.stays();
    one.lease.release();
    let mut two = evaluator(&world, &way, &Arc::default());
    let memory = two.lease.take().expect("it answers").expect("it is free");
    let begun = two.begin(&memory, Timestamp(now_ms())).expect("it answers");
    assert_eq!(begun.recent.stays(), stays);
    two.turn();
    two.lease.release();
    let memory = two.lease.take().expect("it answers").expect("it is free");
    let stored: serde_json::Value = serde_json::from_str(&memory).expect("JSON");
    assert_eq!(stored["later"], later);
    assert_eq!(stored["holder"], two.lease.holder.to_string());
}

fn report(role: ProcessRole, id: u128, figures: &[(&str, f64)]) -> ProcessReport {
    let figures = figures
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *value));
    ProcessReport {
        id: Uuid::from_u128(id),
        role,
        host: "host".to_owned(),
        version: "1".to_owned(),
        started_at: Timestamp(1),
        at: Timestamp(now_ms()),
        has_stopped: false,
        parts: Vec::new(),
        gateway: (role == ProcessRole::Gateway).then(|| central::model::GatewayReport {
            id: central::GatewayId(Uuid::from_u128(id)),
            connected: 30,
            written: 0,
            durable: 0,
            delivered: 0,
            undelivered_bytes: 0,
            bytes_max: 1,
            oldest_age_ms: None,
            route: None,
            listeners: Vec::new(),
        }),
        consumed_records: None,
        queues: None,
        figures_milli: ProcessReport::in_milli(&figures.collect()),
        restarts: Vec::new(),
    }
}

/// Without the database and RabbitMQ, a process hears nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hears_of_no_other_one_tells_only_of_itself() {
    let world = World::new();
    let way = world.way(Duration::ZERO);
    let is_connected = Arc::new(AtomicBool::new(true));
    let connected = Arc::clone(&is_connected);
    let own = move || {
        let is_connected = f64::from(u8::from(connected.load(Ordering::Relaxed)));
        let figures = [("broker_connected", is_connected)];
        report(ProcessRole::Api, 1, &figures)
    };
    let mut one = evaluator(&world, &way, &Arc::default());
    one.sources.overview = Arc::new(Overview::new(crate::PipelineDeps {
        processes: Arc::clone(&world.store) as Arc<dyn central::ports::Processes>,
        own: Arc::new(own),
        has_broker: true,
    }));
    for name in ["FleetDrop", "PartGone", "NoConsumer", "BrokerLost"] {
        one.config.rules.for_s.insert(name.to_owned(), 0);
        one.config.rules.keep_firing_s.insert(name.to_owned(), 0);
    }
    let hear_others = |evaluator: &Evaluator| {
        let overview = &evaluator.sources.overview;
        overview.hear(report(ProcessRole::Gateway, 2, &[("journal_full", 1.0)]));
        overview.hear(report(ProcessRole::Consumer, 3, &[("consuming", 1.0)]));
    };
    let began = now_ms();
    let round = |evaluator: &mut Evaluator, second: i64| -> BTreeSet<String> {
        let mut held = evaluator.held.take().expect("it evaluates");
        evaluator.evaluate(&mut held, false, Timestamp(began + second * 1_000));
        let firing = held
            .machine
            .alerts()
            .filter(|alert| alert.state == AlertState::Firing)
            .map(|alert| alert.name.clone())
            .collect();
        evaluator.held = Some(held);
        firing
    };
    let names = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    hear_others(&one);
    one.turn();
    way.is_away.store(true, Ordering::Relaxed);
    assert_eq!(round(&mut one, 1), names(&["JournalFull"]));
    is_connected.store(false, Ordering::Relaxed);
    one.sources.overview.grow_old(Duration::from_secs(60));
    // What was wrong with another process goes on; what is not heard of it is nothing.
    let alone = names(&["BrokerLost", "JournalFull"]);
    assert_eq!(round(&mut one, 2), alone);
    assert_eq!(round(&mut one, 60), alone);
    // The first reports have not come yet.
    is_connected.store(true, Ordering::Relaxed);
    assert_eq!(round(&mut one, 62), names(&["JournalFull"]));
    hear_others(&one);
    assert_eq!(round(&mut one, 75), names(&["JournalFull"]));
    // It hears, and nobody speaks.
    one.sources.overview.grow_old(Duration::from_secs(60));
    assert_eq!(
        round(&mut one, 90),
        names(&["FleetDrop", "NoConsumer", "PartGone"])
    );
}
