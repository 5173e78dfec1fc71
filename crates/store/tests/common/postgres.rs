//! PostgreSQL: one private server for a test binary, and a database of its own for each test.

use super::Adapter;
use central::memory::Contents;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use store::{PostgresOptions, PostgresStore};
use testbed::Postgres;

/// The owner of the databases.
const OWNER: &str = "wattpost";

/// Ends with the process.
static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    postgres: Postgres,
    template: &'static str,
    databases: AtomicU32,
}

impl Server {
    fn shared() -> &'static Self {
        SERVER.get_or_init(|| {
            let postgres = Postgres::start(&server_directory()).unwrap();
            // No test kills this server, and syncing a database per test would take long.
            for sql in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
                postgres.superuser_psql(sql).unwrap();
            }
            let template = "empty_database";
            create(&postgres, template, "template0");
            PostgresStore::migrate(&postgres.url_as(OWNER, OWNER, template)).unwrap();
            Self {
                postgres,
                template,
                databases: AtomicU32::new(0),
            }
        })
    }
}

/// The same for each run of this program, so that the next run removes what this one leaves.
fn server_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().to_string_lossy().into_owned();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{name}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn create(postgres: &Postgres, name: &str, template: &str) {
    let sql = format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template}");
    postgres.superuser_psql(&sql).unwrap();
}

/// A database on the shared server.
pub(crate) struct PostgresDatabase {
    pub(crate) name: String,
}

impl PostgresDatabase {
    /// A database without tables.
    pub(crate) fn bare() -> Self {
        Self::of("template0")
    }

    /// A database without tables, with an encoding that cannot store every text.
    pub(crate) fn latin1() -> Self {
        Self::of("template0 ENCODING 'LATIN1' LOCALE 'C'")
    }

    fn of(template: &str) -> Self {
        let server = Server::shared();
        let number = server.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        create(&server.postgres, &name, template);
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        self.url_as(OWNER, OWNER)
    }

    pub(crate) fn url_as(&self, role: &str, password: &str) -> String {
        Server::shared().postgres.url_as(role, password, &self.name)
    }

    /// The URL through a proxy.
    pub(crate) fn url_by(&self, proxy: SocketAddr) -> String {
        format!("postgres://{OWNER}:{OWNER}@{proxy}/{}", self.name)
    }

    pub(crate) fn server_address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], Server::shared().postgres.port()))
    }

    pub(crate) fn open_with(&self, options: PostgresOptions) -> PostgresStore {
        PostgresStore::open(&self.url(), options).unwrap()
    }

    /// Runs `meanwhile` while a transaction that has run `sql` is open; then rolls it back.
    pub(crate) fn hold(&self, sql: &str, meanwhile: impl FnOnce()) {
        wait(async {
            let mut connection = PgConnection::connect(&self.url()).await.unwrap();
            let mut transaction = connection.begin().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut *transaction)
                .await
                .unwrap();
            meanwhile();
            transaction.rollback().await.unwrap();
        });
    }

    /// Runs a statement as the superuser.
    pub(crate) fn command(&self, sql: &str) {
        run(&self.url_as("postgres", "postgres"), sql).unwrap();
    }
}

impl Adapter for PostgresDatabase {
    type Store = PostgresStore;

    const CASES: u32 = 12;

    fn new() -> Self {
        Self::of(Server::shared().template)
    }

    fn open(&self) -> PostgresStore {
        self.open_with(PostgresOptions::default())
    }

    fn contents(store: &PostgresStore) -> Contents {
        store.contents().unwrap()
    }

    fn execute(&self, sql: &str) {
        run(&self.url(), sql).unwrap();
    }

    fn query(&self, sql: &str) -> Vec<String> {
        query(&self.url(), sql)
    }

    fn refuse_poison(&self) {
        self.execute(
            "ALTER TABLE messages ADD CONSTRAINT \"not with me\" CHECK (payload <> 'poison')",
        );
    }

    fn set_aside(&self) -> Vec<(String, Vec<u8>)> {
        wait(async {
            let mut connection = PgConnection::connect(&self.url()).await.unwrap();
            sqlx::query_as("SELECT what, state FROM set_aside ORDER BY no")
                .fetch_all(&mut connection)
                .await
                .unwrap()
        })
    }

    fn key(hex: &str) -> String {
        format!("'{hex}'::uuid")
    }

    fn set_state(&self, table: &str, state: &str, condition: &str) {
        self.execute(&format!(
            "UPDATE {table} SET state = '{state}', rev = rev + 1 WHERE {condition}"
        ));
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        // Frees the disk; the next run of the program removes the database of a test that was killed.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = Server::shared().postgres.superuser_psql(&sql);
    }
}

/// Runs statements on a new connection.
pub(crate) fn run(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    wait(async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })
}

/// The column `value` of a query, as text.
pub(crate) fn query(url: &str, sql: &str) -> Vec<String> {
    wait(async {
        let mut connection = PgConnection::connect(url).await?;
        let sql = format!("SELECT value::text FROM ({sql}) AS wanted");
        let rows = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(rows)
    })
    .unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}
