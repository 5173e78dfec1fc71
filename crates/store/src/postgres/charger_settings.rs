//! The chargers that the operator has set.

use super::directory::bump;
use super::handshakes;
use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, commands, error, local_lists, rotations, sites};
use crate::directory::{
    GATEWAY_COLUMNS, PROFILE_COLUMNS, ProfileRow, charger_entry, profile, to_text,
};
use crate::refusal::Refusal;
use crate::removed::actor_column;
use central::model::{ChargerKey, ChargerProfile, ChargerSettings};
use central::ports::{ChangeRequest, ChargerAdmin, ChargerChange, NotChanged, Once, Unavailable};
use central::query::label_key;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// The key of a charger as PostgreSQL can store it.
pub(crate) fn profile_key(id: &str) -> String {
    clean(ChargerKey::of(id).as_str()).into_owned()
}

impl ChargerAdmin for PostgresStore {
    fn change_charger(
        &self,
        change: &ChargerChange,
    ) -> Result<Once<ChargerSettings, NotChanged>, Unavailable> {
        self.write(async |connection| {
            once(connection, &change.request, async |connection| {
                let key = profile_key(&change.charger_id);
                lock_directory(connection).await?;
                let before = one_profile(connection, &key).await?;
                let after = match change.applied_to(before.as_ref()) {
                    Ok(after) => after,
                    Err(refused) => return Ok(Err(refused)),
                };
                if let Some(site) = change.new_site()
                    && !sites::exists(connection, site).await?
                {
                    return Ok(Err(NotChanged::NoSuchSite));
                }
                let text = |text: &str| clean(text).into_owned();
                if change.patch.password_hash.is_some() {
                    rotations::replace(connection, &key, &change.request.origin).await?;
                }
                let version = bump(connection).await?;
                sqlx::query(
                    "INSERT INTO charger_profiles
                         (key, id, registration, password_hash, check_mode, frame_bytes_max, close_style, version,
                          label, label_key, site, charger_group)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                     ON CONFLICT (key) DO UPDATE SET id = excluded.id,
                        registration = excluded.registration,
                        password_hash = excluded.password_hash, check_mode = excluded.check_mode,
                        frame_bytes_max = excluded.frame_bytes_max, close_style = excluded.close_style,
                        version = excluded.version,
                        label = excluded.label, label_key = excluded.label_key, site = excluded.site,
                        charger_group = excluded.charger_group",
                )
                .bind(&key)
                .bind(clean(&after.charger_id).into_owned())
                .bind(to_text(after.registration)?)
                .bind(&after.password_hash)
                .bind(after.check.map(to_text).transpose()?)
                .bind(after.frame_bytes_max.map(i64::from))
                .bind(after.close_style.map(to_text).transpose()?)
                .bind(version.cast_signed())
                .bind(after.label.as_deref().map(text))
                .bind(after.label.as_deref().map(label_key).as_deref().map(text))
                .bind(after.site.as_deref().map(text))
                .bind(after.group.as_deref().map(text))
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
                let before = before.map(|(before, _)| before);
                let entry = charger_entry(before.as_ref(), Some(&after), &change.request.origin);
                audit::insert(connection, &entry).await?;
                handshakes::forget(connection, &key).await?;
                sqlx::query("DELETE FROM removed_chargers WHERE key = $1")
                    .bind(&key)
                    .execute(&mut *connection)
                    .await
                    .map_err(error::refusal)?;
                Ok(Ok(ChargerSettings::of(&after, version)))
            })
            .await
        })
    }

    fn remove_charger(
        &self,
        charger_id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), NotChanged>, Unavailable> {
        self.write(async |connection| {
            let key = profile_key(charger_id);
            lock_directory(connection).await?;
            let Some((before, version)) = one_profile(connection, &key).await? else {
                return Ok(Err(NotChanged::Unknown));
            };
            if !request.condition.holds(Some(version)) {
                return Ok(Err(NotChanged::OtherVersion));
            }
            commands::wait_for_requests(connection, &key).await?;
            rotations::replace(connection, &key, &request.origin).await?;
            sqlx::query("DELETE FROM password_rotations WHERE key = $1")
                .bind(&key)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            sqlx::query("DELETE FROM charger_profiles WHERE key = $1")
                .bind(&key)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            sqlx::query(
                "INSERT INTO removed_chargers (key, at, actor) SELECT key, $2, $3 FROM chargers WHERE key = $1
                 ON CONFLICT (key) DO UPDATE SET at = excluded.at, actor = excluded.actor",
            )
            .bind(&key)
            .bind(request.origin.at.0)
            .bind(clean(&actor_column(&request.origin.by)?).into_owned())
            .execute(&mut *connection)
            .await
            .map_err(error::refusal)?;
            commands::end_of_removed(connection, &key, request.origin.at).await?;
            local_lists::end_of_removed(connection, &before.charger_id, &request.origin).await?;
            let entry = charger_entry(Some(&before), None, &request.origin);
            audit::insert(connection, &entry).await?;
            bump(connection).await?;
            Ok(Ok(()))
        })
    }

    fn charger_profiles(&self) -> Result<Vec<ChargerProfile>, Unavailable> {
        self.read(async |connection| {
            let profiles = all(connection, PROFILE_COLUMNS).await?;
            Ok(profiles.into_iter().map(|(_, profile)| profile).collect())
        })
    }
}

/// Makes other changes of the directory wait until this transaction ends. It comes before any row of a charger is locked:
/// two changes that took these locks in different orders would wait for each other. It also excludes that one charger is
/// created twice, since a charger that does not exist has no row to lock.
pub(super) async fn lock_directory(connection: &mut PgConnection) -> Result<(), Refusal> {
    sqlx::query("SELECT 1 FROM settings WHERE name = 'directory_revision' FOR UPDATE")
        .execute(connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// One profile with its version. Inside the transaction that changes it: the row is locked, so that the audit log shows
/// each state once.
pub(super) async fn one_profile(
    connection: &mut PgConnection,
    key: &str,
) -> Result<Option<(ChargerProfile, u64)>, Refusal> {
    let sql = format!("SELECT {PROFILE_COLUMNS} FROM charger_profiles WHERE key = $1 FOR UPDATE");
    let row: Option<ProfileRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    let found = row.map(profile).transpose()?;
    Ok(found.map(|(_, profile, version)| (profile, version)))
}

/// All profiles as a gateway needs them.
pub(crate) async fn all_profiles(
    connection: &mut PgConnection,
) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    all(connection, GATEWAY_COLUMNS).await
}

async fn all(
    connection: &mut PgConnection,
    columns: &str,
) -> Result<Vec<(ChargerKey, ChargerProfile)>, Refusal> {
    let sql = format!("SELECT {columns} FROM charger_profiles ORDER BY key");
    let rows: Vec<ProfileRow> = sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    rows.into_iter()
        .map(|row| {
            let (key, profile, _) = profile(row)?;
            Ok((key, profile))
        })
        .collect()
}
