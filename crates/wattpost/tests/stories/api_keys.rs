//! API keys with the real binary: made on the command line, required by the API, and written nowhere.

use crate::deployment::{Deployment, until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIST: &str = "/api/v1/chargers";

/// The status of a GET with this key.
fn status(addr: SocketAddr, target: &str, secret: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).expect("connect");
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.expect("a status")
}

#[test]
fn a_key_made_on_the_command_line_is_required_until_it_is_revoked_and_is_written_nowhere() {
    let deployment = Deployment::start("[log]\nlevel = \"trace\"\n");
    assert_eq!(deployment.get(LIST).0, 200);
    let secret = deployment.run("apikey add", &["grafana", "--scope", "read"]);
    let secret = secret.trim_end();
    assert!(secret.starts_with("wp_live_") && !secret.contains(char::is_whitespace));

    let wait = Duration::from_secs(30);
    assert!(until(wait, || deployment.get(LIST).0 == 401));
    assert_eq!(status(deployment.http, LIST, secret), 200);
    assert_eq!(deployment.get("/health/ready").0, 200);
    let list = deployment.run("apikey list", &[]);
    assert!(list.starts_with("grafana: read, made "), "{list}");
    let again = deployment
        .command("apikey add")
        .arg("grafana")
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && said.contains("already"),
        "{said}"
    );

    deployment.run("apikey revoke", &["grafana"]);
    assert!(until(wait, || deployment.get(LIST).0 == 200));

    // Neither the log, nor the database with its audit log, nor the metrics have the key.
    let digits = &secret["wp_live_".len()..];
    assert!(!deployment.log().contains(digits));
    assert!(!deployment.get("/metrics").1.contains(digits));
    let file = deployment.database_file();
    for path in [file.clone(), file.with_extension("db-wal")] {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let found = bytes
            .windows(digits.len())
            .any(|at| at == digits.as_bytes());
        assert!(!found, "{} has the key", path.display());
    }
    let database = rusqlite::Connection::open(file).expect("open the database");
    let entries: i64 = database
        .query_row("SELECT count(*) FROM audit_log", [], |row| row.get(0))
        .expect("count");
    assert_eq!(entries, 2);
}

#[test]
fn an_address_that_other_machines_reach_needs_a_key() {
    let mut deployment = Deployment::start("");
    deployment.stop();
    let refused = deployment
        .command("api")
        .args(["--http-listen", "0.0.0.0:0"])
        .output()
        .expect("run wattpost");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    for word in ["http.listen", "0.0.0.0:0", "wattpost apikey add"] {
        assert!(said.contains(word), "{said}");
    }
}
