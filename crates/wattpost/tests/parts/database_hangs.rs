//! PostgreSQL neither refuses nor answers, as one that is stopped (SIGSTOP) or behind a network that drops everything.

use crate::charger::Charger;
use crate::deployment::{Deployment, TIMEOUT, until};
use crate::hanging::{health_comes_at_once, requests_end_in_time};
use std::time::{Duration, Instant};

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
