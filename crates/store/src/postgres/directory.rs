//! Chargers and tokens that the operator has set, and the revision by which a gateway detects a change.

use super::charger_settings::all_profiles;
use super::query::snapshot;
use super::{PostgresStore, error, tokens};
use crate::refusal::Refusal;
use central::Timestamp;
use central::ports::{DirectorySnapshot, DirectorySource, Token, Unavailable};
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
