//! `/api/v1/pipeline`: it is answered from memory, whatever the database does.

use crate::support::*;
use api::{Api, ApiDeps, PipelineDeps};
use central::model::ProcessRole;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn start_over(processes: &Arc<FakeProcesses>) -> Api {
    let deps = ApiDeps {
        pipeline: Some(PipelineDeps {
            processes: Arc::clone(processes) as _,
            own: Arc::new(|| process_report(1, ProcessRole::Api)),
            has_broker: true,
        }),
        ..deps(&Arc::new(MemoryRows::default()))
    };
    Api::start(config(), deps).await.expect("it starts")
}

/// The part in the answer, once `is_so`; each answer comes within a second.
async fn part_when(api: &Api, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = get(api.local_addr(), "/api/v1/pipeline").await;
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        let pipeline = answer.json();
        let parts = pipeline["parts"].as_array().expect("parts");
        let part = parts.iter().find(|part| part["part"] == name);
        let part = part.expect("a part of this name");
        if is_so(part) {
            return part.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{pipeline:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_pipeline_is_answered_at_once_while_the_database_hangs() {
    let processes = FakeProcesses::new(Database::Hangs);
    let api = start_over(&processes).await;
    let part = part_when(&api, "database", |part| part["state"] == "down").await;
    let detail = part["detail"].as_str().expect("words");
    assert!(detail.contains("does not answer"), "{detail}");
    assert!(part["since"].is_string(), "{part}");
    let ready = get(api.local_addr(), "/health/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    let part = &ready.json()["parts"][0];
    assert_eq!(
        (&part["part"], &part["up"]),
        (&json!("database"), &json!(false))
    );
    let detail = part["detail"].as_str().expect("words");
    assert!(detail.contains("a query has waited since"), "{detail}");
    processes.set(Database::Answers);
    part_when(&api, "database", |part| part["state"] == "works").await;
    let ready = get(api.local_addr(), "/health/ready").await;
    let part = json!({"part": "database", "up": true, "ready": true, "detail": "it answers"});
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json(), json!({"ready": true, "parts": [part]}));
}

#[tokio::test]
async fn a_process_that_only_the_database_knows_is_shown_as_gone() {
    let processes = FakeProcesses::new(Database::Answers);
    let api = start_over(&processes).await;
    let part = part_when(&api, "consumers", |part| part["state"] == "down").await;
    let detail = part["detail"].as_str().expect("words");
    assert!(detail.contains("has not reported"), "{detail}");
    let pipeline = get(api.local_addr(), "/api/v1/pipeline").await.json();
    let roles = pipeline["processes"].as_array().expect("processes").iter();
    let states: Vec<(&Value, &Value)> = roles.map(|one| (&one["role"], &one["state"])).collect();
    assert_eq!(states.len(), 2, "{pipeline:#}");
    let fault = &part["faults"][0];
    let mut processes = pipeline["processes"].as_array().expect("processes").iter();
    let gone = processes.find(|one| one["state"] == "gone");
    let gone = gone.expect("one is gone");
    assert_eq!(fault["is_gone"], true, "{part:#}");
    assert_eq!(
        (
            &fault["process_id"],
            &fault["process_name"],
            &fault["since"]
        ),
        (&gone["id"], &gone["name"], &gone["reported_at"])
    );
    // It is read from the database again and again.
    assert_eq!(part["since"], gone["reported_at"]);
    part_when(&api, "database", |part| part["state"] == "works").await;
    assert!(
        states
            .iter()
            .any(|one| *one.0 == "consumer" && *one.1 == "gone")
    );
    assert!(
        states
            .iter()
            .any(|one| *one.0 == "api" && *one.1 == "running")
    );

    let refusing = FakeProcesses::new(Database::Refuses);
    let api = start_over(&refusing).await;
    let part = part_when(&api, "database", |part| part["state"] == "down").await;
    let ready = get(api.local_addr(), "/health/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("connection refused"), "{}", ready.body);
    assert!(
        part["detail"]
            .as_str()
            .is_some_and(|words| words.contains("connection refused"))
    );
}
