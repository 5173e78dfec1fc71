//! Chargers and tokens that the operator has set, and the revision by which a gateway detects a change.

use super::charger_settings::all_profiles;
use super::query::snapshot;
use super::{PostgresStore, error, rotations, tokens};
use crate::directory::{RunningRow, running};
use crate::paging::at_most;
use crate::refusal::Refusal;
use central::Timestamp;
use central::ports::{DirectorySnapshot, DirectorySource, Token, Unavailable};
use central::running::{READ_MAX, RunningTransaction};
use sqlx::postgres::PgConnection;

/// The server's time, in milliseconds since 1970.
pub(crate) const NOW_MS: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

impl DirectorySource for PostgresStore {
    fn load(&self, known: Option<u64>) -> Result<Option<DirectorySnapshot>, Unavailable> {
        self.read(async |connection| {
            // Usually nothing has changed, and one query is enough.
            if known.is_some() && known == Some(revision(connection).await?) {
                return Ok(None);
            }
            let all = snapshot(connection, async |connection| {
                Ok(DirectorySnapshot {
                    chargers: all_profiles(connection).await?.into_iter().collect(),
                    new_passwords: rotations::open_hashes(connection)
                        .await?
                        .into_iter()
                        .collect(),
                    tokens: tokens::all(connection).await?.into_iter().collect(),
                    revision: revision(connection).await?,
                })
            });
            all.await.map(Some)
        })
    }

    fn token(&self, id: &str) -> Result<Option<Token>, Unavailable> {
        self.read(async |connection| tokens::one(connection, id).await)
    }

    fn running(
        &self,
        is_default_refuse: bool,
        since: Timestamp,
    ) -> Result<Vec<RunningTransaction>, Unavailable> {
        self.read(async |connection| {
            let rows: Vec<RunningRow> = sqlx::query_as(
                "SELECT v.token_key, c.key, t.wire_id, v.place, v.began_at
                 FROM tokens k JOIN transaction_views v ON v.token_key = k.key
                 JOIN transactions t ON t.no = v.transaction_no JOIN chargers c ON c.no = v.charger_no
                 WHERE (k.concurrent = 'refuse' OR ($1 AND k.concurrent IS NULL))
                     AND v.open AND NOT v.hidden AND v.token_key IS NOT NULL AND v.began_at >= $2
                 ORDER BY v.began_at DESC LIMIT $3",
            )
            .bind(is_default_refuse)
            .bind(since.as_millis())
            .bind(at_most(READ_MAX))
            .fetch_all(connection)
            .await
            .map_err(error::refusal)?;
            Ok(rows.into_iter().map(running).collect())
        })
    }

    fn clock(&self) -> Result<Option<Timestamp>, Unavailable> {
        self.read_within(self.startup_timeout(), async |connection| {
            let millis: i64 = sqlx::query_scalar(NOW_MS)
                .fetch_one(connection)
                .await
                .map_err(error::refusal)?;
            Ok(Some(Timestamp(millis)))
        })
    }
}

async fn revision(connection: &mut PgConnection) -> Result<u64, Refusal> {
    let revision: i64 =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = 'directory_revision'")
            .fetch_one(connection)
            .await
            .map_err(error::refusal)?;
    Ok(revision.cast_unsigned())
}

/// Increases the revision, and returns it. The row lock makes other changes wait until the commit, so a reader of
/// a revision also reads all changes up to it.
pub(crate) async fn bump(connection: &mut PgConnection) -> Result<u64, Refusal> {
    let revision: i64 = sqlx::query_scalar(
        "UPDATE settings SET value = value + 1 WHERE name = 'directory_revision' RETURNING value",
    )
    .fetch_one(connection)
    .await
    .map_err(error::refusal)?;
    Ok(revision.cast_unsigned())
}
