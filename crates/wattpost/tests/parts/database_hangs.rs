//! PostgreSQL neither refuses nor answers, as one that is stopped (SIGSTOP) or behind a network that drops everything.

use crate::charger::Charger;
use crate::deployment::{Deployment, TIMEOUT, until};
use crate::hanging::{health_comes_at_once, requests_end_in_time};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// How long a charger may wait for its answer during a take-over on a machine that runs many tests. With both processes
/// waiting for the database as a start and a stop do, it is more than ten seconds.
const WAITED: Duration = Duration::from_secs(7);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn each_process_answers_for_itself_and_the_api_with_errors_in_time_while_postgresql_hangs() {
    let settings = "[gateway]\nbroker_grace_s = 1\n[http]\nrequest_timeout_ms = 2000\n";
    let (deployment, _rabbit, postgres) = Deployment::through_proxies(settings);
    let gateway = deployment.start("gateway", "gateway");
    let consumer = deployment.start("consumer", "consumer");
    let api = deployment.start("api", "api");
    // Without RabbitMQ, it has all roles.
    let mut alone = deployment.command("serve", "serve");
    alone.args(["--broker-url", ""]);
    let serve = deployment.start_command(alone, "serve");
    let mut charger = Charger::connect(gateway.ocpp, "A", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    assert_eq!(api.get("/api/v1/chargers").0, 200);

    postgres.black_hole();
    health_comes_at_once(&[&gateway, &consumer, &api, &serve], || {
        std::thread::scope(|scope| {
            for server in [&api, &serve] {
                scope.spawn(move || {
                    // One answer may have been under way. What waits from here on must not add to the next requests.
                    let (reads, _) = requests_end_in_time(server, "A", REQUEST_TIMEOUT);
                    assert!(reads.contains(&503), "{reads:?}");
                    let (reads, writes) = requests_end_in_time(server, "A", REQUEST_TIMEOUT);
                    let all = [reads, writes].concat();
                    assert!(all.iter().all(|status| *status == 503), "{all:?}");
                });
            }
        });
        let asked = Instant::now();
        charger.call("2", "Heartbeat", "{}");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(5), "the charger waited {took:?}");
    });
    postgres.restore();
    for server in [&api, &serve] {
        let works = until(TIMEOUT, || server.get("/api/v1/chargers").0 == 200);
        assert!(works, "{:?}", server.get("/health"));
    }
}

/// While chargers wait for the new process, neither process waits for the database for long.
#[test]
fn a_process_takes_over_while_postgresql_hangs() {
    let (deployment, postgres) = Deployment::through_proxy_of_database("");
    let mut command = deployment.command("serve", "serve");
    command.args(["--broker-url", ""]);
    let serve = deployment.start_command(command, "serve");
    let mut charger = Charger::connect(serve.ocpp, "A", "ocpp1.6");
    charger.call("1", "Heartbeat", "{}");
    let old = serve.pid().expect("it runs");
    let owner = || {
        let lock = std::fs::read_to_string(deployment.path("serve/journal/lock")).ok()?;
        lock.trim().parse::<u32>().ok()
    };
    assert_eq!(owner(), Some(old));
    postgres.black_hole();
    let pid = Pid::from_raw(i32::try_from(old).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::USR2).expect("it runs");
    let (mut longest, mut number) = (Duration::ZERO, 1);
    let is_replaced = until(TIMEOUT, || {
        number += 1;
        let asked = Instant::now();
        charger.call(&number.to_string(), "Heartbeat", "{}");
        longest = longest.max(asked.elapsed());
        owner().is_some_and(|owner| owner != old) && !serve.is_running()
    });
    let log = std::fs::read_to_string(deployment.path("serve.log")).unwrap_or_default();
    assert!(is_replaced, "no process took over:\n{log}");
    println!("the charger waited for {longest:?} at most");
    assert!(
        longest < WAITED,
        "the charger waited for {longest:?}:\n{log}"
    );
    number += 1;
    charger.call(&number.to_string(), "Heartbeat", "{}");
    let new = owner().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    kill_process(new.expect("the new process"), Signal::KILL).expect("it runs");
}
