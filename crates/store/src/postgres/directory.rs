//! Chargers and tokens that the operator has set, and the revision by which a gateway detects a change.

use super::numbers::clean;
use super::query::snapshot;
use super::{PostgresStore, audit, error, tokens};
use crate::directory::{ProfileRow, charger_entry, profile, to_text};
use crate::refusal::Refusal;
use central::Timestamp;
use central::model::{ChargerKey, Origin};
use central::ports::{
    ChargerProfile, DirectoryAdmin, DirectorySnapshot, DirectorySource, Token, Unavailable,
};
use sqlx::postgres::PgConnection;

/// The key of a charger as PostgreSQL can store it.
fn profile_key(id: &str) -> String {
    clean(ChargerKey::of(id).as_str()).into_owned()
}

impl DirectoryAdmin for PostgresStore {
    fn put_charger_profile(
        &self,
        profile: &ChargerProfile,
        origin: &Origin,
    ) -> Result<(), Unavailable> {
        self.write(async |connection| {
            let key = profile_key(&profile.charger_id);
            let before = one_profile(connection, &key).await?;
            sqlx::query(
                "INSERT INTO charger_profiles (key, id, registration, password_hash, check_mode, frame_bytes_max)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (key) DO UPDATE SET id = excluded.id,
                    registration = excluded.registration,
                    password_hash = excluded.password_hash, check_mode = excluded.check_mode,
                    frame_bytes_max = excluded.frame_bytes_max",
            )
            .bind(key)
            .bind(clean(&profile.charger_id).into_owned())
            .bind(to_text(profile.registration)?)
            .bind(&profile.password_hash)
            .bind(profile.check.map(to_text).transpose()?)
            .bind(profile.frame_bytes_max.map(i64::from))
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            let entry = charger_entry(before.as_ref(), Some(profile), origin);
            audit::insert(connection, &entry).await?;
            bump(connection).await
        })
    }

    fn remove_charger_profile(
        &self,
        charger_id: &str,
        origin: &Origin,
    ) -> Result<bool, Unavailable> {
        self.write(async |connection| {
            let key = profile_key(charger_id);
            let Some(before) = one_profile(connection, &key).await? else {
                return Ok(false);
            };
            sqlx::query("DELETE FROM charger_profiles WHERE key = $1")
                .bind(key)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            audit::insert(connection, &charger_entry(Some(&before), None, origin)).await?;
            bump(connection).await?;
            Ok(true)
        })
    }

    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
        self.read(async |connection| {
            let profiles = all_profiles(connection).await?;
            Ok(profiles.into_iter().map(|(_, profile)| profile).collect())
        })
    }
}

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

/// Incremented last in the transaction. The row lock makes other changes wait until the commit, so a reader of
/// a revision also reads all changes up to it.
pub(super) async fn bump(connection: &mut PgConnection) -> Result<(), Refusal> {
    sqlx::query("UPDATE settings SET value = value + 1 WHERE name = 'directory_revision'")
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// Inside the transaction that changes it. The row is locked, so that the audit log shows each state once.
async fn one_profile(
    connection: &mut PgConnection,
    key: &str,
) -> Result<Option<ChargerProfile>, Refusal> {
    let row: Option<ProfileRow> = sqlx::query_as(
        "SELECT key, id, registration, password_hash, check_mode, frame_bytes_max FROM charger_profiles
         WHERE key = $1 FOR UPDATE",
    )
    .bind(key)
    .fetch_optional(connection)
    .await
    .map_err(error::refusal)?;
    Ok(row.map(profile).transpose()?.map(|(_, profile)| profile))
}

async fn all_profiles(
    connection: &mut PgConnection,
) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    let rows: Vec<ProfileRow> = sqlx::query_as(
        "SELECT key, id, registration, password_hash, check_mode, frame_bytes_max
         FROM charger_profiles ORDER BY key",
    )
    .fetch_all(connection)
    .await
    .map_err(error::refusal)?;
    rows.into_iter().map(profile).collect()
}
