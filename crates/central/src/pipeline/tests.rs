use super::*;
use crate::model::{PartError, PartReport, RouteReport};
use crate::record::GatewayId;
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_767_268_800_000);

fn part(name: &str, up: bool) -> PartReport {
    PartReport {
        part: name.to_owned(),
        up,
        detail: if up { "works" } else { "broken" }.to_owned(),
        since: NOW.plus_millis(-60_000),
        last_error: (!up).then(|| PartError {
            at: NOW,
            detail: "broken".to_owned(),
        }),
    }
}

fn report(id: u128, role: ProcessRole, parts: &[(&str, bool)]) -> ProcessReport {
    ProcessReport {
        id: Uuid::from_u128(id),
        role,
        host: "host".to_owned(),
        version: "1.0.0".to_owned(),
        started_at: NOW.plus_millis(-90_000),
        at: NOW,
        has_stopped: false,
        parts: parts.iter().map(|(name, up)| part(name, *up)).collect(),
        gateway: None,
        consumed_records: None,
        queues: None,
        figures_milli: std::collections::BTreeMap::new(),
        restarts: Vec::new(),
    }
}

fn observed(report: ProcessReport) -> Observed {
    Observed {
        report,
        before: None,
        age_ms: 1_000,
        heard_at: NOW.plus_millis(-1_000),
        is_own: false,
        is_retired: false,
        counted: Err("it is not a gateway".to_owned()),
    }
}

/// A gateway with RabbitMQ, of whose records the database has `stored`.
fn gateway(id: u128, durable: u64, delivered: u64, stored: u64) -> Observed {
    let mut report = report(
        id,
        ProcessRole::Gateway,
        &[
            ("gateway", true),
            ("journal", true),
            ("sink", true),
            ("rabbitmq", true),
        ],
    );
    report.gateway = Some(GatewayReport {
        id: GatewayId(Uuid::from_u128(id)),
        connected: 2,
        written: durable,
        durable,
        delivered,
        undelivered_bytes: 1_000,
        bytes_max: 11_000,
        oldest_age_ms: Some(4_000),
        route: Some(RouteReport {
            is_direct: false,
            broker_records: delivered,
            direct_records: 0,
        }),
        listeners: vec!["0.0.0.0:9000".to_owned()],
    });
    Observed {
        counted: Ok(Counted {
            durable,
            delivered,
            stored,
            all_stored: stored,
            missing: Some(0),
            is_of_start: false,
        }),
        ..observed(report)
    }
}

fn consumer(waiting: u64) -> Observed {
    let mut report = report(
        9,
        ProcessRole::Consumer,
        &[("consumer", true), ("database", true), ("rabbitmq", true)],
    );
    report.consumed_records = Some(7);
    report.queues = Some(QueuesReport {
        waiting,
        is_consumed: true,
        at: NOW,
    });
    observed(report)
}

fn seen() -> DatabaseSeen {
    DatabaseSeen {
        up: Some(true),
        since: Some(NOW),
        answered_at: Some(NOW),
        last_error: None,
        dead_letters: Some(Ok(3)),
        unexplained_since: None,
        lag_ms: Some(0),
    }
}

fn state(of: &Pipeline, name: &str) -> PartState {
    named(of, name).state
}

fn named<'a>(of: &'a Pipeline, name: &str) -> &'a Part {
    let found = of.parts.iter().find(|part| part.part == name);
    found.expect("a part of this name")
}

#[test]
fn what_is_acknowledged_is_the_sum_of_where_it_is() {
    let mut with_missing = gateway(2, 50, 50, 40);
    if let Ok(counted) = &mut with_missing.counted {
        counted.missing = Some(9);
    }
    let processes = [gateway(1, 100, 90, 80), with_missing, consumer(4)];
    let balance = pipeline(NOW, true, &processes, &seen()).balance;
    assert_eq!(balance.acknowledged, Some(150));
    assert_eq!(balance.stored, Some(117));
    assert_eq!(balance.dead_letters, Some(3));
    assert_eq!(balance.journal, Some(10));
    // Nine are missing for a minute, and four of them may wait in RabbitMQ.
    assert_eq!(balance.difference, Some(5));
    assert_eq!(balance.rabbitmq, Some(15));
    let parts = [
        balance.stored,
        balance.dead_letters,
        balance.journal,
        balance.rabbitmq,
        balance.difference,
    ];
    let sum: u64 = parts.into_iter().flatten().sum();
    assert_eq!(balance.acknowledged, Some(sum));
}

#[test]
fn a_figure_that_is_not_known_is_null_with_the_reason() {
    let mut without_count = gateway(1, 100, 90, 80);
    without_count.counted = Err("the database does not answer".to_owned());
    let found = pipeline(NOW, true, &[without_count], &seen());
    let balance = &found.balance;
    assert_eq!(
        (balance.acknowledged, balance.journal),
        (Some(100), Some(10))
    );
    assert_eq!((balance.stored, balance.difference), (None, None));
    assert_reasons(&found);
    let nothing = pipeline(NOW, true, &[], &DatabaseSeen::default());
    assert!(
        nothing
            .parts
            .iter()
            .all(|part| part.state == PartState::Unknown)
    );
    assert_eq!(nothing.balance.acknowledged, None);
}

/// Each member that is null has its reason, and no other one has.
fn assert_reasons(found: &Pipeline) {
    let json = serde_json::to_value(found).expect("JSON");
    let objects = json["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .chain(json["watermarks"].as_array().expect("watermarks"))
        .chain([&json["balance"]]);
    for object in objects {
        for (member, value) in object.as_object().expect("an object") {
            // No fault and no difference are known facts.
            let may_be_null = ["last_error", "unexplained_since"].contains(&member.as_str());
            let reason = object["unknown"][member].as_str();
            assert_eq!(
                value.is_null() && !may_be_null,
                reason.is_some(),
                "{member} of {object:#}"
            );
        }
    }
}

#[test]
fn a_part_is_degraded_while_one_of_its_processes_is_gone_and_down_while_all_are() {
    let gone = |id| Observed {
        age_ms: PROCESS_SILENT_MS_MAX + 1,
        ..gateway(id, 10, 10, 10)
    };
    let find = |processes: &[Observed]| state(&pipeline(NOW, true, processes, &seen()), "gateways");
    assert_eq!(
        find(&[gateway(1, 1, 1, 1), gateway(2, 1, 1, 1)]),
        PartState::Works
    );
    assert_eq!(find(&[gateway(1, 1, 1, 1), gone(2)]), PartState::Degraded);
    assert_eq!(find(&[gone(1), gone(2)]), PartState::Down);
    let mut stopped = gateway(2, 1, 1, 1);
    stopped.report.has_stopped = true;
    assert_eq!(find(&[gateway(1, 1, 1, 1), stopped]), PartState::Works);
}

#[test]
fn records_in_the_journal_of_a_retired_gateway_stay_visible() {
    let retired = Observed {
        is_retired: true,
        age_ms: 86_400_000,
        ..gateway(2, 50, 40, 40)
    };
    let found = pipeline(NOW, true, &[gateway(1, 5, 5, 5), retired], &seen());
    let journal = named(&found, "journal");
    assert_eq!(journal.state, PartState::Degraded);
    assert_eq!(journal.waiting_records, Some(10));
    assert!(journal.detail.contains("10 records"), "{}", journal.detail);
    assert_eq!(found.balance.journal, Some(10));
    assert_eq!(found.watermarks[1].state, ProcessState::Retired);
}

#[test]
fn rates_and_the_time_until_the_journal_is_full_follow_from_two_reports() {
    let mut now = gateway(1, 300, 200, 200);
    let mut before = gateway(1, 100, 150, 100).report;
    before.at = NOW.plus_millis(-10_000);
    if let Some(gateway) = &mut before.gateway {
        gateway.undelivered_bytes = 0;
    }
    now.before = Some(before);
    let found = pipeline(NOW, true, &[now], &seen());
    let journal = named(&found, "journal");
    assert_eq!(
        (journal.in_per_s, journal.out_per_s),
        (Some(20.0), Some(5.0))
    );
    // 100 bytes per second, and 10,000 are left.
    assert_eq!(journal.full_in_s, Some(100));
    assert_eq!(journal.oldest_waiting_s, Some(5));
}

#[test]
fn a_database_that_does_not_answer_this_process_is_down_whatever_others_have_reported() {
    let away = DatabaseSeen {
        up: Some(false),
        last_error: Some((NOW, "connection refused".to_owned())),
        ..seen()
    };
    let found = pipeline(NOW, true, &[consumer(0)], &away);
    assert_eq!(state(&found, "database"), PartState::Down);
    assert_eq!(named(&found, "database").detail, "connection refused");
    assert_eq!(
        state(&pipeline(NOW, true, &[consumer(0)], &seen()), "database"),
        PartState::Works
    );
    assert_eq!(
        state(&pipeline(NOW, true, &[], &seen()), "database"),
        PartState::Works
    );
}

#[test]
fn the_embedded_shape_has_no_rabbitmq() {
    let found = pipeline(NOW, false, &[], &seen());
    let names: Vec<&str> = found.parts.iter().map(|part| part.part).collect();
    assert_eq!(names, ["chargers", "gateways", "journal", "database"]);
}

#[test]
fn a_consumer_that_was_started_again_on_its_machine_is_no_fault() {
    let gone = |id| {
        let mut gone = consumer(0);
        gone.report.id = Uuid::from_u128(id);
        gone.report.started_at = NOW.plus_millis(-900_000);
        gone.age_ms = PROCESS_SILENT_MS_MAX + 1;
        gone
    };
    let find =
        |processes: &[Observed]| state(&pipeline(NOW, true, processes, &seen()), "consumers");
    assert_eq!(find(&[gone(1)]), PartState::Down);
    assert_eq!(find(&[gone(1), consumer(0)]), PartState::Works);
    let mut elsewhere = gone(2);
    elsewhere.report.host = "other".to_owned();
    assert_eq!(find(&[elsewhere, consumer(0)]), PartState::Degraded);
}

#[test]
fn a_gateway_that_cannot_refresh_its_directory_is_degraded_because_it_serves_chargers() {
    let mut without_directory = gateway(1, 1, 1, 1);
    without_directory
        .report
        .parts
        .push(part("directory", false));
    let found = pipeline(NOW, true, &[without_directory], &seen());
    assert_eq!(state(&found, "gateways"), PartState::Degraded);
    assert!(named(&found, "gateways").detail.contains("broken"));
    let mut refusing = gateway(1, 1, 1, 1);
    refusing.report.parts[0] = part("gateway", false);
    let found = pipeline(NOW, true, &[refusing], &seen());
    assert_eq!(state(&found, "gateways"), PartState::Down);
}

#[test]
fn a_process_says_where_its_gateway_listens() {
    let found = pipeline(NOW, true, &[gateway(1, 1, 1, 1), consumer(0)], &seen());
    let listeners: Vec<&[String]> = found
        .processes
        .iter()
        .map(|one| one.listeners.as_slice())
        .collect();
    assert_eq!(listeners, [&["0.0.0.0:9000".to_owned()][..], &[]]);

    // The report of an older version does not say it.
    let mut older = serde_json::to_value(gateway(1, 1, 1, 1).report).expect("it is JSON");
    let removed = older["gateway"]
        .as_object_mut()
        .and_then(|gateway| gateway.remove("listeners"));
    assert!(removed.is_some());
    let older: ProcessReport = serde_json::from_value(older).expect("it has a default");
    assert!(older.gateway.expect("it has one").listeners.is_empty());
}

/// A process that was heard last half a minute ago.
fn gone(one: Observed) -> Observed {
    Observed {
        age_ms: 30_000,
        heard_at: NOW.plus_millis(-30_000),
        ..one
    }
}

fn on(host: &str, id: u128, mut one: Observed) -> Observed {
    one.report.host = host.to_owned();
    one.report.id = Uuid::from_u128(id);
    one
}

/// A gateway without RabbitMQ, which stores its records itself.
fn storing(role: ProcessRole) -> Observed {
    let mut one = gateway(1, 10, 10, 10);
    one.report.role = role;
    let parts = ["gateway", "journal", "forwarder", "directory", "database"];
    one.report.parts = parts.iter().map(|name| part(name, true)).collect();
    if let Some(gateway) = &mut one.report.gateway {
        gateway.route = None;
    }
    one
}

/// A process with all roles and RabbitMQ.
fn all_roles() -> Observed {
    let mut one = gateway(1, 10, 10, 10);
    one.report.role = ProcessRole::Serve;
    one.report.consumed_records = Some(1);
    let more = ["directory", "consumer", "database"];
    one.report
        .parts
        .extend(more.iter().map(|name| part(name, true)));
    one
}

fn api(has_broker: bool) -> Observed {
    let parts: &[(&str, bool)] = match has_broker {
        true => &[("disk", true), ("rabbitmq", true)],
        false => &[("disk", true)],
    };
    observed(report(20, ProcessRole::Api, parts))
}

#[test]
fn a_process_that_is_gone_makes_only_the_parts_fail_that_it_is_needed_for() {
    const NAMES: [&str; 7] = [
        "chargers",
        "gateways",
        "journal",
        "rabbitmq",
        "bypass",
        "consumers",
        "database",
    ];
    let serve = || vec![storing(ProcessRole::Serve), api(false)];
    let pair = || vec![storing(ProcessRole::Gateway), api(false)];
    let serve_and_rabbitmq = || vec![all_roles(), api(true)];
    let six = || {
        vec![
            on("a", 1, gateway(1, 10, 10, 10)),
            on("b", 2, gateway(2, 10, 10, 10)),
            on("a", 3, consumer(0)),
            on("b", 4, consumer(0)),
            on("a", 5, api(true)),
            on("b", 6, api(true)),
        ]
    };
    type Shape<'a> = &'a dyn Fn() -> Vec<Observed>;
    // The processes, which of them are gone, and the parts that do not work then.
    let cases: &[(&str, Shape<'_>, &[usize], &str)] = &[
        ("serve and an API", &serve, &[], ""),
        (
            "serve and an API",
            &serve,
            &[0],
            "chargers Unknown, gateways Down, journal Down",
        ),
        ("serve and an API", &serve, &[1], ""),
        ("a gateway and an API", &pair, &[], ""),
        (
            "a gateway and an API",
            &pair,
            &[0],
            "chargers Unknown, gateways Down, journal Down",
        ),
        ("a gateway and an API", &pair, &[1], ""),
        (
            "serve with RabbitMQ, and an API",
            &serve_and_rabbitmq,
            &[],
            "bypass Idle",
        ),
        (
            "serve with RabbitMQ, and an API",
            &serve_and_rabbitmq,
            &[0],
            "chargers Unknown, gateways Down, journal Down, bypass Down, consumers Down",
        ),
        ("two of each", &six, &[], "bypass Idle"),
        (
            "two of each",
            &six,
            &[0],
            "chargers Degraded, gateways Degraded, journal Degraded, bypass Idle",
        ),
        (
            "two of each",
            &six,
            &[0, 1],
            "chargers Unknown, gateways Down, journal Down, bypass Down",
        ),
        ("two of each", &six, &[2], "bypass Idle, consumers Degraded"),
        ("two of each", &six, &[2, 3], "bypass Idle, consumers Down"),
        ("two of each", &six, &[4], "bypass Idle"),
        (
            "two of each",
            &six,
            &[0, 1, 2, 3, 4],
            "chargers Unknown, gateways Down, journal Down, bypass Down, consumers Down",
        ),
    ];
    for (shape, processes, which, expected) in cases {
        let mut processes = processes();
        for index in *which {
            processes[*index] = gone(processes[*index].clone());
        }
        let has_broker = processes
            .iter()
            .any(|one| one.report.role == ProcessRole::Api && one.report.parts.len() > 1);
        let found = pipeline(NOW, has_broker, &processes, &seen());
        let not_working: Vec<String> = NAMES
            .iter()
            .filter_map(|name| found.parts.iter().find(|part| part.part == *name))
            .filter(|part| part.state != PartState::Works)
            .map(|part| format!("{} {:?}", part.part, part.state))
            .collect();
        assert_eq!(
            not_working.join(", "),
            *expected,
            "{shape}, gone: {which:?}"
        );
        // The process is named by each part that does not work for want of it, and by no other one.
        let ids: Vec<String> = which
            .iter()
            .map(|index| processes[*index].report.id.to_string())
            .collect();
        for part in &found.parts {
            let is_well = matches!(part.state, PartState::Works | PartState::Idle);
            let names_it = part
                .faults
                .iter()
                .any(|fault| fault.is_gone && ids.contains(&fault.process_id));
            let is_bypass_of_another = part.part == "bypass" && is_well;
            assert!(
                names_it != is_well || is_bypass_of_another,
                "{shape}, gone: {which:?}: {part:?}"
            );
        }
    }
}

#[test]
fn a_server_is_judged_by_the_processes_that_run_and_by_what_the_api_sees() {
    let mut gateway = storing(ProcessRole::Gateway);
    // Nobody has seen the database since the gateway was killed.
    let nobody = DatabaseSeen::default();
    let processes = [gone(gateway.clone()), api(false)];
    let found = pipeline(NOW, false, &processes, &nobody);
    assert_eq!(state(&found, "database"), PartState::Unknown);
    // It runs, and cannot reach it, although the API can.
    gateway.report.parts[4] = part("database", false);
    let found = pipeline(NOW, false, &[gateway, api(false)], &seen());
    let database = named(&found, "database");
    assert_eq!(database.state, PartState::Degraded);
    assert_eq!(database.detail, "gateway on host: broken");
    let fault = PartFault {
        process_id: Uuid::from_u128(1).to_string(),
        process_name: "gateway on host".to_owned(),
        is_gone: false,
        since: NOW.plus_millis(-60_000).to_string(),
        detail: "broken".to_owned(),
    };
    assert_eq!(database.faults, [fault]);
}

#[test]
fn what_is_said_of_a_process_that_is_gone_stays_the_same_while_it_is() {
    let at = |waited_ms: i64| {
        // How old its report is follows from another clock than the time of the answer.
        let one = Observed {
            age_ms: 30_000 + waited_ms + waited_ms % 7,
            ..gone(gateway(1, 10, 10, 10))
        };
        pipeline(NOW.plus_millis(waited_ms), true, &[one], &seen())
    };
    let first = at(0);
    let gateways = named(&first, "gateways");
    let heard = "2026-01-01T11:59:30";
    assert_eq!(
        gateways.detail,
        format!("gateway on host has not reported since {heard}Z")
    );
    assert_eq!(gateways.since, Some(format!("{heard}.000Z")));
    let fault = PartFault {
        process_id: Uuid::from_u128(1).to_string(),
        process_name: "gateway on host".to_owned(),
        is_gone: true,
        since: format!("{heard}.000Z"),
        detail: "it does not report".to_owned(),
    };
    assert_eq!(gateways.faults, [fault]);
    assert_eq!(first.processes[0].reported_at, format!("{heard}.000Z"));
    for waited_ms in [1, 999, 1_000, 5_003] {
        let later = at(waited_ms);
        for (one, other) in first.parts.iter().zip(&later.parts) {
            assert_eq!(
                (&one.detail, &one.since, &one.faults, &one.last_error),
                (
                    &other.detail,
                    &other.since,
                    &other.faults,
                    &other.last_error
                )
            );
        }
        assert_eq!(
            first.processes[0].reported_at,
            later.processes[0].reported_at
        );
    }
}

#[test]
fn processes_have_the_end_of_their_ids_in_their_names_where_that_tells_them_apart() {
    let processes = [
        on("a", 0x0011_2233, gateway(1, 1, 1, 1)),
        on("a", 0x0044_5566, gateway(2, 1, 1, 1)),
        on("b", 0x0077_8899, gateway(3, 1, 1, 1)),
        on("a", 4, consumer(0)),
    ];
    let found = pipeline(NOW, true, &processes, &seen());
    let names: Vec<&str> = found.processes.iter().map(|one| &*one.name).collect();
    let expected = [
        "gateway …112233 on a",
        "gateway …445566 on a",
        "gateway on b",
        "consumer on a",
    ];
    assert_eq!(names, expected);
}

/// A gateway that reported so many milliseconds after its start.
fn started(id: u128, ran_ms: i64) -> Observed {
    let mut one = gateway(id, 123, 123, 123);
    one.report.started_at = NOW.plus_millis(-ran_ms);
    if let Some(gateway) = &mut one.report.gateway {
        (gateway.connected, gateway.oldest_age_ms) = (0, None);
    }
    one
}

#[test]
fn the_figures_of_a_gateway_that_has_just_started_are_not_known() {
    let why = "gateway on host has just started and has not reported its figures yet";
    let found = pipeline(NOW, true, &[started(1, 4_999)], &seen());
    assert_reasons(&found);
    let chargers = named(&found, "chargers");
    assert_eq!(chargers.state, PartState::Unknown);
    assert_eq!(
        chargers.detail,
        format!("how many are connected is not known: {why}")
    );
    assert_eq!(state(&found, "gateways"), PartState::Works);
    let journal = named(&found, "journal");
    assert_eq!(
        (journal.waiting_records, journal.waiting_bytes),
        (None, None)
    );
    assert_eq!(journal.unknown["waiting_records"], why);
    let balance = &found.balance;
    let figures = [
        balance.acknowledged,
        balance.stored,
        balance.journal,
        balance.rabbitmq,
        balance.difference,
    ];
    assert_eq!(figures, [None; 5]);
    assert_eq!(balance.unknown["acknowledged"], why);
    assert_eq!(balance.dead_letters, Some(3));

    let whole = |one: Observed| {
        let found = pipeline(NOW, true, &[one], &seen());
        assert_reasons(&found);
        assert_eq!(found.balance.acknowledged, Some(123));
        assert_eq!(named(&found, "journal").waiting_records, Some(0));
        named(&found, "chargers").detail.clone()
    };
    assert_eq!(whole(started(1, 5_000)), "0 chargers are connected");
    // Its newest report has just come over RabbitMQ, and an earlier one is what was counted.
    let mut counted_at_start = started(1, 5_000);
    if let Ok(counted) = &mut counted_at_start.counted {
        counted.is_of_start = true;
    }
    let found = pipeline(NOW, true, &[counted_at_start], &seen());
    assert_reasons(&found);
    assert_eq!(found.balance.acknowledged, None);
    assert_eq!(named(&found, "journal").waiting_records, Some(0));
    // The process that asks knows its own figures of now.
    let own = Observed {
        is_own: true,
        ..started(1, 10)
    };
    assert_eq!(whole(own), "0 chargers are connected");
    // Its clock was put back by an hour.
    whole(started(1, -3_600_000));
    // What it left behind is not more than it has reported.
    whole(gone(started(1, 10)));
    let retired = Observed {
        is_retired: true,
        ..gone(started(1, 10))
    };
    whole(retired);
}

#[test]
fn what_other_gateways_report_is_the_least_while_one_has_just_started() {
    let processes = [
        on("a", 1, gateway(1, 10, 10, 10)),
        on("b", 2, started(2, 100)),
    ];
    let found = pipeline(NOW, true, &processes, &seen());
    let chargers = named(&found, "chargers");
    assert_eq!(chargers.state, PartState::Works);
    assert_eq!(
        chargers.detail,
        "at least 2 chargers are connected: gateway on b has just started and has not reported its figures yet"
    );
    assert_eq!(found.balance.acknowledged, None);
    // It was there before, and its chargers are elsewhere.
    let processes = [
        on("a", 1, gateway(1, 10, 10, 10)),
        gone(on("b", 2, gateway(2, 10, 10, 10))),
    ];
    let found = pipeline(NOW, true, &processes, &seen());
    assert_eq!(
        named(&found, "chargers").detail,
        "2 chargers are connected; gateway on b has not reported since 2026-01-01T11:59:30Z"
    );
}

#[test]
fn a_process_that_left_records_behind_is_a_fault_of_the_journal_alone() {
    let mut stopped = on("b", 2, gateway(2, 50, 49, 49));
    stopped.report.has_stopped = true;
    let gone = gone(on("c", 3, gateway(3, 50, 40, 40)));
    let processes = [on("a", 1, gateway(1, 5, 5, 5)), stopped, gone];
    let found = pipeline(NOW, true, &processes, &seen());
    let words = |name: &str| -> Vec<String> {
        let faults = named(&found, name).faults.iter();
        faults
            .map(|fault| format!("{}: {}", fault.process_name, fault.detail))
            .collect()
    };
    assert_eq!(words("gateways"), ["gateway on c: it does not report"]);
    let expected = [
        "gateway on c: it does not report, and 10 records wait in its journal",
        "gateway on b: it does not run, and 1 record waits in its journal",
    ];
    assert_eq!(words("journal"), expected);
}
