//! `GET /health`, `GET /health/ready` and `wattpost status` over real processes, while everything works, and while
//! RabbitMQ, the database or a process does not.

use crate::charger::Charger;
use crate::deployment::{Deployment, Role, TIMEOUT, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

/// What `wattpost status --json` says, and whether it succeeded.
fn status(deployment: &Deployment, roles: &[&Role]) -> (bool, Value) {
    let addresses: Vec<String> = roles.iter().map(|role| role.http.to_string()).collect();
    let mut arguments = vec!["--json"];
    for address in &addresses {
        arguments.extend(["--health", address]);
    }
    let (is_ok, stdout, stderr) = deployment.try_run("status", &arguments);
    let found = serde_json::from_str(&stdout);
    (
        is_ok,
        found.unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")),
    )
}

/// The process of this role.
fn process<'a>(found: &'a Value, role: &str) -> &'a Value {
    let processes = found["processes"].as_array().expect("processes");
    let of_role = |one: &&Value| one["process"]["role"] == role;
    processes
        .iter()
        .find(of_role)
        .unwrap_or_else(|| panic!("no {role}: {found:#}"))
}

/// One part of a process.
fn part<'a>(process: &'a Value, name: &str) -> &'a Value {
    let parts = process["parts"].as_array().expect("parts");
    let part = parts.iter().find(|part| part["part"] == name);
    part.unwrap_or_else(|| panic!("no {name}: {process:#}"))
}

/// Waits until `wattpost status` with these roles says so.
fn wait_for(deployment: &Deployment, roles: &[&Role], is_so: impl Fn(bool, &Value) -> bool) {
    let mut last = (false, Value::Null);
    let happened = until(TIMEOUT, || {
        last = status(deployment, roles);
        is_so(last.0, &last.1)
    });
    assert!(happened, "{last:#?}");
}

/// `wattpost status --watch` shows the state again and again, until Ctrl-C, or until nobody reads it any more.
fn is_watched(deployment: &Deployment, gateway: &Role) {
    let start = || {
        let mut command = deployment.command("status", "command");
        let child = command
            .args(["--watch", "1", "--health", &gateway.http.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("run wattpost");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        (child, output)
    };
    let ends_well = |mut child: Child| {
        let mut status = None;
        let has_ended = until(TIMEOUT, || {
            status = child.try_wait().expect("its status");
            status.is_some()
        });
        if !has_ended {
            child.kill().expect("it runs");
        }
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut errors).expect("text");
        assert!(has_ended, "it goes on; {errors}");
        assert_eq!(
            (status.and_then(|status| status.code()), errors.as_str()),
            (Some(0), "")
        );
    };
    let shows = |output: &mut BufReader<ChildStdout>| {
        let mut line = String::new();
        while !line.starts_with("gateway ") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("a line"), 0);
        }
    };
    let (child, mut output) = start();
    shows(&mut output);
    shows(&mut output);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("an id"), Signal::INT).expect("it runs");
    ends_well(child);
    let (child, mut output) = start();
    shows(&mut output);
    drop(output);
    ends_well(child);
}

#[test]
fn the_status_of_all_processes_is_shown_whatever_is_unavailable() {
    let (deployment, rabbit, postgres) =
        Deployment::through_proxies("[gateway]\nbroker_grace_s = 1\n");
    let gateway = deployment.start("gateway", "gateway");
    let mut consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    let roles = [&gateway, &consumer, &api];
    let mut charger = Charger::connect(gateway.ocpp, "A", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");

    wait_for(&deployment, &roles, |is_ok, found| {
        let journal = part(process(found, "gateway"), "journal");
        // The queues are measured once a second.
        let queues = part(process(found, "consumer"), "rabbitmq");
        is_ok
            && found["all_work"] == true
            && journal["figures"]["undelivered_records"] == 0
            && queues["figures"]["queued_records"].is_number()
    });
    let (_, found) = status(&deployment, &roles);
    let of_gateway = process(&found, "gateway");
    assert_eq!(part(of_gateway, "gateway")["figures"]["connections"], 1);
    let journal = &part(of_gateway, "journal")["figures"];
    assert!(journal["durable_seq"].as_u64() >= Some(1), "{journal}");
    assert!(
        journal["sync_mean_seconds"].as_f64() > Some(0.0),
        "{journal}"
    );
    let directory = &part(of_gateway, "directory")["figures"];
    assert!(directory["age_seconds"].is_number(), "{directory}");
    let queues = &part(process(&found, "consumer"), "rabbitmq")["figures"];
    assert!(queues["unacknowledged_records"].is_number(), "{queues}");

    // Without addresses, the database knows the same three: by their reports, every 5 s.
    wait_for(&deployment, &[], |is_ok, _| is_ok);
    let (_, found) = status(&deployment, &[]);
    for role in ["gateway", "consumer", "api"] {
        assert!(process(&found, role)["reported_ms_ago"].is_number());
    }
    let connected = &part(process(&found, "gateway"), "gateway")["figures"]["connections"];
    assert!(connected.is_number(), "{found:#}");

    // RabbitMQ is away: a part is down, and every process goes on.
    rabbit.cut();
    wait_for(&deployment, &roles, |is_ok, found| {
        let is_down = |role| part(process(found, role), "rabbitmq")["up"] == false;
        !is_ok && is_down("gateway") && is_down("consumer")
    });
    for role in roles {
        assert_eq!(
            role.get("/health/ready").0,
            200,
            "{:?}",
            role.get("/health")
        );
    }
    assert_eq!(gateway.health_status(), "degraded");
    let (_, text, _) = deployment.try_run("status", &["--health", &gateway.http.to_string()]);
    assert!(text.contains("down  rabbitmq"), "{text}");
    assert!(text.contains("since 2"), "{text}");

    // So is the database: the processes still answer for themselves.
    postgres.cut();
    wait_for(&deployment, &roles, |is_ok, found| {
        let is_degraded = |role| process(found, role)["status"] == "degraded";
        !is_ok
            && found["database_error"].is_string()
            && is_degraded("gateway")
            && is_degraded("api")
    });
    assert_eq!(gateway.get("/health/ready").0, 200);
    charger.call("2", "Heartbeat", "{}");
    postgres.restore();
    rabbit.restore();
    wait_for(&deployment, &roles, |is_ok, _| is_ok);

    is_watched(&deployment, &gateway);

    // A process that has stopped is known to the database, and is no fault.
    consumer.stop();
    wait_for(&deployment, &[&gateway, &api], |is_ok, found| {
        is_ok && process(found, "consumer")["status"] == "stopped"
    });
}
