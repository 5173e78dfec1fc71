//! What was measured during one transaction.

use crate::support::*;
use central::Timestamp;
use central::model::{ChargerKey, MeterValueRow};
use serde_json::{Value, json};
use std::sync::Arc;

const KEY: &str = "/api/v1/transactions/00000000-0000-0000-0000-000000000003/meter-values";

/// A row of transaction 3 that was measured so many seconds after its start.
fn row(second: i64, sampled: &str) -> MeterValueRow {
    MeterValueRow {
        charger: ChargerKey::of("CP-A"),
        at: begin().plus_millis(second * 1_000),
        key_hash: second,
        evse: None,
        connector: Some(1),
        unnamed_at: None,
        transaction_id: Some("3".to_owned()),
        energy_wh: None,
        power_w: None,
        soc_percent: None,
        sampled: sampled.to_owned(),
    }
}

fn begin() -> Timestamp {
    transaction("CP-A", 3, false).started_at.expect("a start")
}

/// A row with power on three phases and energy, every five seconds for a minute.
fn rows() -> MemoryRows {
    let mut meter_values: Vec<MeterValueRow> = (0..12)
        .map(|n| {
            let phase = |phase| {
                format!(
                    r#"{{"value":"{n}.5","measurand":"Power.Active.Import","phase":"{phase}","unit":"W"}}"#
                )
            };
            let phases = ["L1", "L2", "L3"].map(phase).join(",");
            row(n * 5, &format!(r#"[{phases},{{"value":"{n}00"}}]"#))
        })
        .collect();
    let unnamed = MeterValueRow {
        unnamed_at: Some(1),
        transaction_id: None,
        ..row(
            57,
            r#"[{"value":21,"measurand":"SoC","location":"EV","unit":"Percent"},{"value":"x","format":"SignedData"}]"#,
        )
    };
    let elsewhere = MeterValueRow {
        unnamed_at: Some(2),
        ..unnamed.clone()
    };
    let other = MeterValueRow {
        transaction_id: Some("4".to_owned()),
        ..row(58, r#"[{"value":"9"}]"#)
    };
    meter_values.extend([unnamed, elsewhere, other, row(59, "not JSON")]);
    MemoryRows {
        transactions: vec![transaction("CP-A", 3, false)],
        meter_values,
        ..MemoryRows::default()
    }
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().expect("items")
}

#[tokio::test]
async fn samples_are_listed_filtered_thinned_and_paged() {
    let api = start(config(), &Arc::new(rows())).await;
    let addr = api.local_addr();
    let list = async |query: &str| get(addr, &format!("{KEY}?{query}")).await.json();

    let all = list("limit=1000").await;
    assert_eq!(items(&all).len(), 12 * 4 + 2);
    assert_eq!(
        items(&all)[3],
        json!({
            "at": begin().to_string(), "measurand": "Energy.Active.Import.Register", "phase": null,
            "location": "Outlet", "context": "Sample.Periodic", "value": 0.0, "unit": "Wh", "signed": false,
            "evse": null, "connector": 1,
        })
    );
    let soc = list("location=ev").await;
    assert_eq!(
        (items(&soc).len(), &items(&soc)[0]["value"]),
        (1, &json!(21.0))
    );
    let signed = &items(&all)[49];
    assert_eq!(
        (&signed["value"], &signed["signed"]),
        (&Value::Null, &json!(true))
    );

    let power = list("measurand=power.active.import&phase=L2").await;
    assert_eq!(items(&power).len(), 12);
    assert_eq!(
        items(&list("measurand=Power.Active.Import&phase=").await).len(),
        0
    );
    // The last value of each interval, with its own time. The start is at second 3 of its minute.
    let thin = list("measurand=Power.Active.Import&phase=L2&resolution=20s").await;
    let values: Vec<f64> = items(&thin)
        .iter()
        .map(|item| item["value"].as_f64().expect("a number"))
        .collect();
    assert_eq!(values, [3.5, 7.5, 11.5]);
    assert_eq!(
        items(&thin)[0]["at"],
        begin().plus_millis(15_000).to_string()
    );

    for query in [
        "",
        "&resolution=20s",
        "&resolution=1d",
        "&phase=L1&resolution=7s",
    ] {
        let whole = list(&format!("limit=1000{query}")).await;
        for limit in [1, 3, 4, 7] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = list(&format!("limit={limit}{query}{cursor}")).await;
                assert!(items(&page).len() <= limit);
                seen.extend(items(&page).clone());
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(&seen, items(&whole), "{query} with {limit} items on a page");
        }
    }
}

#[tokio::test]
async fn samples_are_a_table_too_and_mistakes_are_named() {
    let api = start(config(), &Arc::new(rows())).await;
    let addr = api.local_addr();
    let csv = get_with(
        addr,
        &format!("{KEY}?fields=value,unit&limit=1"),
        &["Accept: text/csv"],
    )
    .await;
    assert_eq!(csv.body, "value,unit\r\n0.5,W\r\n");
    for (query, code) in [
        ("resolution=5", "bad_parameter"),
        ("resolution=2d", "bad_parameter"),
        ("cursor=a1", "bad_cursor"),
        ("unit=W", "unknown_parameter"),
    ] {
        let refused = get(addr, &format!("{KEY}?{query}")).await;
        assert_eq!(
            (refused.status, &refused.value()["code"]),
            (400, &json!(code)),
            "{query}"
        );
    }
    let unknown = get(addr, &KEY.replace("03/", "04/")).await;
    assert_eq!(unknown.status, 404);
}
