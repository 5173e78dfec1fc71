use super::*;
use crate::memory::sample;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(super) fn known() -> Known {
    Known {
        is_current: true,
        ..Known::default()
    }
}

pub(super) fn detail(online: bool) -> ChargerDetail {
    let mut charger = sample::charger("CP-1", online);
    charger.gateway_id = Some(GatewayId(Uuid::from_u128(1)));
    charger.connected_at = Some(NOW);
    charger.booted_at = Some(NOW.plus_millis(-HOUR));
    charger.first_seen_at = Some(NOW.plus_millis(-HOUR));
    charger.last_seen_at = Some(NOW);
    charger.disconnected_at = (!online).then_some(NOW);
    ChargerDetail {
        charger,
        settings: None,
        removed_at: None,
        removed_by: None,
        connectors: vec![sample::connector("CP-1", 1)],
    }
}

fn found(detail: &ChargerDetail, known: &Known, recent: &Recent) -> Vec<Finding> {
    let mut found = Vec::new();
    of_charger(
        detail,
        known,
        &mut recent.clone(),
        |_| false,
        &Thresholds::default(),
        NOW,
        &mut found,
    );
    found
}

pub(super) fn names(found: &[Finding]) -> Vec<(&'static str, Severity, bool)> {
    found
        .iter()
        .map(|one| (one.name, one.severity, one.holds))
        .collect()
}

#[test]
fn a_charger_without_a_connection_is_offline_and_unknown_while_its_gateway_is_gone() {
    let recent = Recent::default();
    let offline = detail(false);
    assert_eq!(
        names(&found(&offline, &known(), &recent)),
        [("ChargerOffline", Severity::Ticket, true)]
    );
    let gateway = offline.charger.gateway_id.expect("it was connected");
    let gone = Known {
        gone: [gateway].into(),
        ..known()
    };
    let late = Known {
        is_current: false,
        ..known()
    };
    let mut silent = detail(true);
    silent.charger.connection = ConnectionState::Unknown;
    for (detail, known) in [(&offline, &gone), (&offline, &late), (&silent, &known())] {
        assert_eq!(
            names(&found(detail, known, &recent)),
            [("ChargerOffline", Severity::Ticket, false)]
        );
    }
    assert_eq!(names(&found(&detail(true), &known(), &recent)), []);
    let mut removed = detail(false);
    removed.removed_at = Some(NOW);
    assert_eq!(names(&found(&removed, &known(), &recent)), []);
    let mut never = detail(false);
    never.charger.connected_at = None;
    assert_eq!(names(&found(&never, &known(), &recent)), []);
}

#[test]
fn a_faulted_connector_is_a_page_where_people_may_be_in_danger() {
    let recent = Recent::default();
    let mut faulted = detail(true);
    let connector = &mut faulted.connectors[0];
    connector.status = "Faulted".to_owned();
    connector.last_status = Some("Faulted".to_owned());
    connector.error_code = Some("EVCommunicationError".to_owned());
    connector.vendor_error_code = Some("E42".to_owned());
    let one = found(&faulted, &known(), &recent);
    assert_eq!(names(&one), [("ConnectorFaulted", Severity::Ticket, true)]);
    assert!(one[0].summary.ends_with("EVCommunicationError, E42"));
    faulted.connectors[0].error_code = Some("GroundFailure".to_owned());
    assert_eq!(
        names(&found(&faulted, &known(), &recent)),
        [("ConnectorFaulted", Severity::Page, true)]
    );
    faulted.connectors[0].status = UNKNOWN.to_owned();
    assert_eq!(
        names(&found(&faulted, &known(), &recent)),
        [("ConnectorFaulted", Severity::Page, false)]
    );
}

#[test]
fn a_connector_that_is_not_reported_after_a_boot_is_not_faulted() {
    let recent = Recent::default();
    let mut silent = detail(true);
    silent.connectors[0].last_status = Some("Faulted".to_owned());
    silent.connectors[0].status = UNKNOWN.to_owned();
    let not_known = [("ConnectorFaulted", Severity::Ticket, false)];
    assert_eq!(names(&found(&silent, &known(), &recent)), not_known);
    // It has booted since it connected, or has had the time to report.
    silent.charger.booted_at = Some(NOW);
    assert_eq!(names(&found(&silent, &known(), &recent)), []);
    silent.charger.booted_at = None;
    silent.charger.connected_at = Some(NOW.plus_millis(-REPORT_MS));
    assert_eq!(names(&found(&silent, &known(), &recent)), []);
    // While it is away, nothing is known.
    silent.charger.connection = ConnectionState::Unknown;
    silent.charger.booted_at = Some(NOW);
    let unknown = found(&silent, &known(), &recent);
    assert!(names(&unknown).contains(&not_known[0]), "{unknown:?}");
}

#[test]
fn a_charger_that_nobody_has_added_is_missed_once_it_has_booted_and_was_seen_for_a_while() {
    let recent = Recent::default();
    let is_found = |detail: &ChargerDetail| !found(detail, &known(), &recent).is_empty();
    assert!(is_found(&detail(false)));
    let mut invented = detail(false);
    invented.charger.booted_at = None;
    assert!(!is_found(&invented));
    // Nor does it page anybody.
    invented.charger.connection = ConnectionState::Open;
    let connector = &mut invented.connectors[0];
    connector.status = "Faulted".to_owned();
    connector.last_status = Some("Faulted".to_owned());
    connector.error_code = Some("GroundFailure".to_owned());
    assert!(!is_found(&invented));
    let mut young = detail(false);
    young.charger.first_seen_at = Some(NOW.plus_millis(-9 * MINUTE));
    assert!(!is_found(&young));
    young.settings = Some(crate::model::ChargerSettings {
        charger_id: "CP-1".to_owned(),
        admission: Registration::Accepted,
        has_password: false,
        check: None,
        frame_bytes_max: None,
        label: None,
        site: None,
        group: None,
        close_style: None,
        version: 1,
    });
    assert!(is_found(&young), "an operator has added it");
}

#[test]
fn chargers_that_are_offline_for_long_at_the_first_start_are_one_alert() {
    let (recent, settings) = (Recent::default(), Thresholds::default());
    let mut many = Vec::new();
    for no in 0..25 {
        let mut old = detail(false);
        old.charger.charger_id = format!("CP-{no:02}");
        old.charger.disconnected_at = Some(NOW.plus_millis(-8 * 24 * HOUR));
        many.push(old);
    }
    let judged = |has_alert: &dyn Fn(&str) -> bool| {
        let mut found = Vec::new();
        for detail in &many {
            of_charger(
                detail,
                &known(),
                &mut recent.clone(),
                has_alert,
                &settings,
                NOW,
                &mut found,
            );
        }
        of_long_offline(&many, has_alert, &settings, NOW, &mut found);
        found
    };
    let one = judged(&|_| false);
    assert_eq!(
        names(&one),
        [("ChargersLongOffline", Severity::Ticket, true)]
    );
    assert!(
        one[0].summary.ends_with(", CP-19 and 5 more"),
        "{}",
        one[0].summary
    );
    // One whose alert has fired for so long goes on.
    let two = judged(&|id| id == "CP-07");
    assert_eq!(names(&two)[0], ("ChargerOffline", Severity::Ticket, true));
    assert_eq!(two.len(), 2);
    assert!(!two[1].summary.contains("CP-07"));
}

#[test]
fn connections_and_boots_of_the_last_hour_are_counted() {
    let mut recent = Recent::default();
    for no in 0..7 {
        recent.connected("cp-1", NOW.plus_millis(-no * MINUTE));
        recent.connected("CP-2", NOW.plus_millis(-no * MINUTE));
        recent.booted("CP-1", NOW.plus_millis(-no * HOUR));
    }
    assert_eq!(
        names(&found(&detail(true), &known(), &recent)),
        [("ChargerFlapping", Severity::Ticket, true)]
    );
    recent.forget(NOW.plus_millis(2 * HOUR));
    assert!(recent.connects.is_empty() && recent.boots.is_empty());
    for no in 0..4 {
        recent.booted("CP-1", NOW.plus_millis(-no * MINUTE));
    }
    assert_eq!(
        names(&found(&detail(true), &known(), &recent)),
        [("BootLoop", Severity::Ticket, true)]
    );
}

#[test]
fn a_charger_that_is_connected_and_sends_nothing_is_silent() {
    let recent = Recent::default();
    let mut quiet = detail(true);
    let at = |seconds: i64| Some(NOW.plus_millis(-seconds * SECOND));
    (quiet.charger.connected_at, quiet.charger.last_seen_at) = (at(4_000), at(899));
    assert_eq!(names(&found(&quiet, &known(), &recent)), []);
    quiet.charger.last_seen_at = at(900);
    let silent = [("ChargerSilent", Severity::Ticket, true)];
    assert_eq!(names(&found(&quiet, &known(), &recent)), silent);
    // Nobody has heard it on this connection yet: the connection itself is the last word.
    quiet.charger.connected_at = at(899);
    assert_eq!(names(&found(&quiet, &known(), &recent)), []);
    let late = Known {
        is_current: false,
        ..known()
    };
    quiet.charger.connected_at = at(4_000);
    let not_known = [("ChargerSilent", Severity::Ticket, false)];
    assert_eq!(names(&found(&quiet, &late, &recent)), not_known);
}

#[test]
fn the_newest_live_status_shows_the_error_of_the_clock() {
    let mut wrong = detail(true);
    wrong.connectors.push(sample::connector("CP-1", 2));
    wrong.connectors[0].clock_error_ms = Some((NOW, -400_000));
    wrong.connectors[1].clock_error_ms = Some((NOW.plus_millis(-1), 0));
    let one = found(&wrong, &known(), &Recent::default());
    assert_eq!(names(&one), [("ChargerClockWrong", Severity::Info, true)]);
    assert_eq!(one[0].summary, "the clock of CP-1 is 400 s slow");
    wrong.connectors[1].clock_error_ms = Some((NOW.plus_millis(1), 0));
    assert_eq!(names(&found(&wrong, &known(), &Recent::default())), []);
}

#[test]
fn a_transaction_is_stuck_when_it_does_not_change_and_its_charger_is_there() {
    let (mut recent, settings) = (Recent::default(), Thresholds::default());
    let mut view = sample::transaction("CP-1", 1, true);
    let at = |recent: &mut Recent, view: &TransactionView, minute: i64, online: bool| {
        let (detail, mut found) = (detail(online), Vec::new());
        of_transactions(
            [view],
            |_| Some(&detail),
            &known(),
            recent,
            &settings,
            NOW.plus_millis(minute * MINUTE),
            &mut found,
        );
        found.retain(|one| one.name == "TransactionStuck");
        names(&found)
    };
    // It is not watched for long enough: an alert that was there before goes on.
    let not_known = [("TransactionStuck", Severity::Ticket, false)];
    assert_eq!(at(&mut recent, &view, 0, true), not_known);
    assert_eq!(at(&mut recent, &view, 14, true), not_known);
    assert_eq!(
        at(&mut recent, &view, 15, true),
        [("TransactionStuck", Severity::Ticket, true)]
    );
    assert_eq!(
        at(&mut recent, &view, 16, false),
        [("TransactionStuck", Severity::Ticket, false)]
    );
    view.last_at = Some(NOW);
    assert_eq!(at(&mut recent, &view, 17, true), []);
    assert_eq!(recent.sessions.len(), 1);
    let mut none = Vec::new();
    of_transactions(
        [],
        |_| None,
        &known(),
        &mut recent,
        &Thresholds::default(),
        NOW,
        &mut none,
    );
    assert!(
        recent.sessions.is_empty(),
        "one that has ended is forgotten"
    );
}

#[test]
fn a_meter_that_stands_still_while_its_connector_charges_is_found() {
    let (mut recent, settings) = (Recent::default(), Thresholds::default());
    let mut view = sample::transaction("CP-1", 1, true);
    (view.connector, view.evse) = (Some(1), None);
    view.charging_state = None;
    let mut found_at = |recent: &mut Recent, minute: i64, status: &str, energy: f64| {
        let mut detail = detail(true);
        detail.connectors[0].status = status.to_owned();
        view.last_at = Some(NOW.plus_millis(minute * MINUTE));
        view.energy_wh = Some(energy);
        let mut found = Vec::new();
        of_transactions(
            [&view],
            |_| Some(&detail),
            &known(),
            recent,
            &settings,
            NOW.plus_millis(minute * MINUTE),
            &mut found,
        );
        found.retain(|one| one.name == "MeterNotMoving");
        names(&found)
    };
    let not_known = [("MeterNotMoving", Severity::Ticket, false)];
    for minute in (0..20).step_by(5) {
        assert_eq!(found_at(&mut recent, minute, "Charging", 7.0), not_known);
    }
    assert_eq!(
        found_at(&mut recent, 20, "Charging", 7.0),
        [("MeterNotMoving", Severity::Ticket, true)]
    );
    assert_eq!(found_at(&mut recent, 25, "SuspendedEV", 7.0), []);
    assert_eq!(found_at(&mut recent, 26, "Charging", 8.0), []);
}

#[test]
fn refused_handshakes_are_counted_per_identity() {
    let (mut recent, settings) = (Recent::default(), Thresholds::default());
    let row = |no, reason: &str, count, first_at| RefusedHandshakeView {
        no,
        outcome: "refused",
        charger_id: Some(format!("CP-{no}")),
        reason: reason.to_owned(),
        status: 404,
        cure: String::new(),
        address: "192.0.2.1".to_owned(),
        path: None,
        offered: None,
        gateway_id: GatewayId(Uuid::nil()),
        first_at,
        last_at: NOW,
        count,
    };
    let mut of = |rows: &[RefusedHandshakeView], now: Timestamp| {
        let mut found = Vec::new();
        recent.of_handshakes(rows, &settings, now, &mut found);
        found
            .iter()
            .map(|one| (one.name, one.severity, one.subject.clone()))
            .collect::<Vec<_>>()
    };
    let long_ago = NOW.plus_millis(-5 * HOUR);
    let rows = |count| {
        [
            row(1, "unknown charger", 4, long_ago),
            row(2, "unknown charger", 3, long_ago),
            row(3, "wrong password", count, long_ago),
        ]
    };
    let unknown = ("UnknownCharger", Severity::Info, "CP-1".to_owned());
    assert_eq!(of(&rows(1_000), NOW), std::slice::from_ref(&unknown));
    assert_eq!(
        of(&rows(1_005), NOW.plus_millis(MINUTE)),
        std::slice::from_ref(&unknown)
    );
    assert_eq!(
        of(&rows(1_006), NOW.plus_millis(2 * MINUTE)),
        [
            unknown.clone(),
            ("WrongPassword", Severity::Ticket, "CP-3".to_owned())
        ]
    );
    assert_eq!(
        of(&rows(1_006), NOW.plus_millis(13 * MINUTE)),
        [unknown],
        "those were more than 10 minutes ago"
    );
    let new = row(9, "wrong password", 6, NOW.plus_millis(13 * MINUTE));
    assert_eq!(
        of(&[new], NOW.plus_millis(14 * MINUTE)),
        [("WrongPassword", Severity::Ticket, "CP-9".to_owned())]
    );
}

#[test]
fn an_uncertain_command_is_found_until_its_outcome_is_known_or_a_day_has_passed() {
    let (mut recent, id) = (Recent::default(), Uuid::from_u128(7));
    let uncertain = Uncertain {
        charger_id: "CP-1".to_owned(),
        summary: "x".to_owned(),
        at: NOW,
    };
    let of = |recent: &Recent, is_done: bool| {
        let mut found = Vec::new();
        recent.of_commands(|_| is_done, &mut found);
        let uncertain = ("CommandUncertain", Severity::Ticket, true);
        assert!(names(&found).iter().all(|one| *one == uncertain));
        found.len()
    };
    recent.finished(id, Some(uncertain.clone()));
    assert_eq!((of(&recent, false), of(&recent, true)), (1, 0));
    recent.finished(id, None);
    assert_eq!(of(&recent, false), 0);
    recent.finished(id, Some(uncertain));
    recent.forget(NOW.plus_millis(UNCERTAIN_MS + 1));
    assert_eq!(of(&recent, false), 0);
}

#[test]
fn a_webhook_that_delivers_nothing_for_an_hour_or_was_switched_off_is_found() {
    use crate::model::{EventId, WebhookId, WebhookProgress, WebhookRetry, WebhookSettings};
    let webhook = |failing_for_ms: Option<i64>, enabled: bool, is_switched_off: bool| Webhook {
        id: WebhookId(Uuid::from_u128(5)),
        settings: WebhookSettings {
            url: "https://x.example/hook".to_owned(),
            types: Vec::new(),
            charger_id: None,
            description: String::new(),
            enabled,
        },
        version: 1,
        created_at: NOW,
        former_secret_until: None,
        progress: WebhookProgress {
            cursor: EventId::START,
            retry: failing_for_ms.map(|ms| WebhookRetry {
                event: EventId::START,
                attempts: 1,
                since: NOW.plus_millis(-ms),
            }),
            due_at: NOW,
            last_success_at: None,
            last_error: Some((NOW, "no route".to_owned())),
        },
        switched_off: is_switched_off.then(|| (NOW, "5 days".to_owned())),
        waiting: 1,
    };
    let of = |webhook: Webhook| {
        let mut found = Vec::new();
        of_webhooks(&[webhook], &Thresholds::default(), NOW, &mut found);
        found
    };
    let failing = [("WebhookFailing", Severity::Ticket, true)];
    let found = of(webhook(Some(HOUR), true, false));
    assert_eq!(names(&found), failing);
    assert_eq!(
        found[0].summary,
        "the webhook to https://x.example has delivered nothing for 60 min: no route"
    );
    assert_eq!(names(&of(webhook(Some(HOUR), false, true))), failing);
    assert_eq!(names(&of(webhook(Some(HOUR - 1), true, false))), []);
    assert_eq!(names(&of(webhook(None, true, false))), []);
    // A person has disabled it.
    assert_eq!(names(&of(webhook(Some(HOUR), false, false))), []);
}

#[test]
fn that_chargers_are_not_judged_is_found_with_the_reason() {
    let of = |why_not: Option<&str>| {
        let known = Known {
            is_current: false,
            why_not: why_not.map(str::to_owned),
            ..Known::default()
        };
        let mut found = Vec::new();
        of_unjudged(&known, &mut found);
        found
    };
    let found = of(Some("the database is behind"));
    let expected = [("ChargersNotJudged", Severity::Ticket, true)];
    assert_eq!(names(&found), expected);
    assert!(found[0].summary.ends_with(": the database is behind"));
    assert_eq!(of(None), []);
}

/// An alert whose name and severity no test of this file or of the sites expects was added without a test.
#[test]
fn each_alert_that_only_wattpost_evaluates_is_expected_by_a_test() {
    // It is about mails: crates/api/src/alerts/evaluator/tests.rs.
    const ELSEWHERE: &str = "NotifierFailing";
    let (_, of_sites) = include_str!("../sites.rs")
        .split_once("mod tests {")
        .expect("the tests of sites");
    let texts = [
        include_str!("tests.rs"),
        include_str!("security.rs"),
        include_str!("stuck.rs"),
        of_sites,
    ];
    let texts = texts.map(|text| text.split_whitespace().collect::<String>());
    for alert in crate::alert::CHARGER_ALERTS {
        let expected = format!("(\"{}\",Severity::{:?}", alert.name, alert.severity);
        assert!(
            alert.name == ELSEWHERE || texts.iter().any(|text| text.contains(&expected)),
            "{expected}"
        );
    }
}

#[test]
fn a_webhook_is_named_by_its_host_alone() {
    for (url, shown) in [
        (
            "https://hooks.example.com/T0/B0/SECRET",
            "https://hooks.example.com",
        ),
        ("https://x.example?token=SECRET", "https://x.example"),
        ("https://user:SECRET@x.example:8443/a", "x.example:8443"),
        ("https://x.example", "https://x.example"),
    ] {
        assert_eq!(origin(url), shown);
    }
}

#[test]
fn few_refusals_a_day_are_never_many_within_ten_minutes() {
    let (mut recent, settings) = (Recent::default(), Thresholds::default());
    let begin = NOW.plus_millis(-24 * HOUR);
    for turn in 0..3_000 {
        let now = NOW.plus_millis(turn * 5 * SECOND);
        let row = RefusedHandshakeView {
            no: 1,
            outcome: "refused",
            charger_id: Some("CP-1".to_owned()),
            reason: "wrong password".to_owned(),
            status: 401,
            cure: String::new(),
            address: "192.0.2.1".to_owned(),
            path: None,
            offered: None,
            gateway_id: GatewayId(Uuid::nil()),
            first_at: begin,
            last_at: now,
            count: 10 + turn.unsigned_abs() / 250,
        };
        let mut found = Vec::new();
        recent.of_handshakes(&[row], &settings, now, &mut found);
        assert_eq!(names(&found), [], "turn {turn}");
    }
}
