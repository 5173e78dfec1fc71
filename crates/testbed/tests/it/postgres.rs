//! A private PostgreSQL: it keeps committed rows when it is killed, and leaves no process.

use sqlx::{Connection as _, PgConnection};
use std::time::{Duration, Instant};
use testbed::Postgres;

#[test]
fn committed_rows_survive_a_kill_and_a_stop() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut postgres = Postgres::start(dir.path()).expect("PostgreSQL");
    assert_eq!(postgres.psql("SHOW fsync").expect("psql"), "on");
    assert_eq!(
        postgres
            .psql("SELECT usesuper FROM pg_user WHERE usename = current_user")
            .expect("psql"),
        "f"
    );
    postgres
        .psql("CREATE TABLE kept (word text)")
        .expect("create");
    postgres
        .psql("INSERT INTO kept VALUES ('one')")
        .expect("insert");
    postgres.kill().expect("kill");
    assert!(postgres.psql("SELECT 1").is_err());
    postgres.restart().expect("restart");
    postgres
        .psql("INSERT INTO kept VALUES ('two')")
        .expect("insert");
    postgres.stop();
    assert!(!postgres.is_running());
    postgres.restart().expect("restart");
    assert_eq!(
        postgres
            .psql("SELECT word FROM kept ORDER BY word")
            .expect("select"),
        "one\ntwo"
    );
    assert!(postgres.cpu_seconds() > 0.0);
}

#[tokio::test]
async fn kill_breaks_connections_and_leaves_no_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut postgres = Postgres::start(dir.path()).expect("PostgreSQL");
    let mut connection = PgConnection::connect(&postgres.url())
        .await
        .expect("connect");
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .expect("a process id");
    postgres.kill().expect("kill");
    // A zombie that init has not reaped yet has an empty command line.
    let command_line = std::fs::read(format!("/proc/{backend}/cmdline")).unwrap_or_default();
    assert!(
        command_line.is_empty(),
        "{}",
        String::from_utf8_lossy(&command_line)
    );
    sqlx::query("SELECT 1")
        .execute(&mut connection)
        .await
        .expect_err("the connection is broken");
    // `start_again` does not wait, so that a test can use the server during its recovery.
    postgres.start_again().expect("start");
    postgres
        .wait_ready(Instant::now() + Duration::from_secs(30))
        .expect("ready");
    PgConnection::connect(&postgres.url())
        .await
        .expect("connect again");
}

#[test]
fn wrong_password_and_missing_database_are_different_errors() {
    let dir = tempfile::tempdir().expect("a directory");
    let postgres = Postgres::start(dir.path()).expect("PostgreSQL");
    postgres
        .superuser_psql("CREATE ROLE reader LOGIN PASSWORD 'secret'")
        .expect("create a role");
    let error = |url: String| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime
            .block_on(PgConnection::connect(&url))
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(error(postgres.url_as("reader", "secret", "wattpost")), None);
    let wrong = error(postgres.url_as("reader", "guess", "wattpost")).expect("refused");
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let missing = error(postgres.url_as("reader", "secret", "nowhere")).expect("refused");
    assert!(missing.contains("does not exist"), "{missing}");
}
