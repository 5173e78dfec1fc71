//! The chargers that the operator has set.

use super::directory::bump;
use super::handshakes;
use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, commands, error, local_lists, rotations, sites};
use crate::directory::{
    GATEWAY_COLUMNS, PROFILE_COLUMNS, ProfileRow, charger_entry, gateway_profile, profile,
    readable_profile, to_text,
};
use crate::refusal::Refusal;
use crate::removed::actor_column;
use central::charger_import;
use central::import::{self, Applied, Imported, Line, Verdict};
use central::model::{ChargerKey, ChargerProfile, ChargerSettings, Origin};
use central::ports::{ChangeRequest, ChargerAdmin, ChargerChange, NotChanged, Once, Unavailable};
use central::query::label_key;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;

/// Rows per statement of an import.
const IMPORT_ROWS: usize = 1_000;

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
                if change.patch.password_hash.is_some() {
                    rotations::replace(connection, &key, &change.request.origin).await?;
                }
                let version = bump(connection).await?;
                put(connection, &[&after], version).await?;
                let before = before.map(|(before, _)| before);
                let entry = charger_entry(before.as_ref(), Some(&after), &change.request.origin);
                audit::insert(connection, &entry).await?;
                Ok(Ok(ChargerSettings::of(&after, version)))
            })
            .await
        })
    }

    fn import_chargers_once(
        &self,
        lines: &[Line],
        is_dry_run: bool,
        request: &ChangeRequest,
    ) -> Result<Once<Vec<Verdict>, Vec<Verdict>>, Unavailable> {
        if is_dry_run {
            return self.read(async |connection| {
                let known = known(connection, lines).await?;
                let sites = sites::ids(connection).await?;
                Ok(Once::Done(charger_import::judge(lines, &known, &sites).0))
            });
        }
        let done = self.write(async |connection| {
            once(connection, request, async |connection| {
                import(connection, lines, &request.origin).await
            })
            .await
        })?;
        Ok(import::verdicts(&charger_import::COLUMNS, lines, done))
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
            let rows = all(connection, PROFILE_COLUMNS).await?;
            let profiles = rows.into_iter().filter_map(readable_profile);
            Ok(profiles.map(|(_, profile)| profile).collect())
        })
    }
}

/// Applies the lines, or returns the verdicts if one is refused.
async fn import(
    connection: &mut PgConnection,
    lines: &[Line],
    origin: &Origin,
) -> Result<Result<Applied, Vec<Verdict>>, Refusal> {
    lock_directory(connection).await?;
    let known = known(connection, lines).await?;
    let sites = sites::ids(connection).await?;
    let (verdicts, imported) = charger_import::judge(lines, &known, &sites);
    if imported.is_empty() {
        return Ok(import::applied(&charger_import::COLUMNS, verdicts));
    }
    let version = bump(connection).await?;
    for changes in imported.chunks(IMPORT_ROWS) {
        let password = |charger: &ChargerProfile| charger.password_hash.clone();
        for Imported { before, after } in changes {
            if before.as_ref().and_then(password) != password(after) {
                rotations::replace(connection, &profile_key(&after.charger_id), origin).await?;
            }
        }
        let after: Vec<&ChargerProfile> = changes.iter().map(|change| &change.after).collect();
        put(connection, &after, version).await?;
        let entries: Vec<_> = changes
            .iter()
            .map(|change| charger_entry(change.before.as_ref(), Some(&change.after), origin))
            .collect();
        audit::insert_all(connection, &entries).await?;
    }
    Ok(import::applied(&charger_import::COLUMNS, verdicts))
}

/// Stores chargers, which are then neither refused nor removed any more.
async fn put(
    connection: &mut PgConnection,
    chargers: &[&ChargerProfile],
    version: u64,
) -> Result<(), Refusal> {
    let text = |text: &str| clean(text).into_owned();
    let texts = |member: fn(&ChargerProfile) -> Option<&str>| -> Vec<Option<String>> {
        chargers
            .iter()
            .map(|charger| member(charger).map(text))
            .collect()
    };
    let keys: Vec<String> = chargers
        .iter()
        .map(|charger| profile_key(&charger.charger_id))
        .collect();
    let mut registrations = Vec::with_capacity(chargers.len());
    let mut checks = Vec::with_capacity(chargers.len());
    let mut close_styles = Vec::with_capacity(chargers.len());
    for charger in chargers {
        registrations.push(to_text(charger.registration)?);
        checks.push(charger.check.map(to_text).transpose()?);
        close_styles.push(charger.close_style.map(to_text).transpose()?);
    }
    let labels = chargers.iter().map(|charger| charger.label.as_deref());
    let label_keys: Vec<Option<String>> = labels
        .map(|label| label.map(label_key).as_deref().map(text))
        .collect();
    let bytes: Vec<Option<i64>> = chargers
        .iter()
        .map(|charger| charger.frame_bytes_max.map(i64::from))
        .collect();
    sqlx::query(
        "INSERT INTO charger_profiles
             (key, id, registration, password_hash, check_mode, frame_bytes_max, close_style, version,
              label, label_key, site, charger_group)
         SELECT key, id, registration, password_hash, check_mode, frame_bytes_max, close_style, $8,
                label, label_key, site, charger_group
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                     $9::text[], $10::text[], $11::text[], $12::text[])
              AS new (key, id, registration, password_hash, check_mode, frame_bytes_max, close_style,
                      label, label_key, site, charger_group)
         ON CONFLICT (key) DO UPDATE SET id = excluded.id,
            registration = excluded.registration,
            password_hash = excluded.password_hash, check_mode = excluded.check_mode,
            frame_bytes_max = excluded.frame_bytes_max, close_style = excluded.close_style,
            version = excluded.version,
            label = excluded.label, label_key = excluded.label_key, site = excluded.site,
            charger_group = excluded.charger_group",
    )
    .bind(&keys)
    .bind(texts(|charger| Some(&charger.charger_id)))
    .bind(registrations)
    .bind(texts(|charger| charger.password_hash.as_deref()))
    .bind(checks)
    .bind(bytes)
    .bind(close_styles)
    .bind(version.cast_signed())
    .bind(texts(|charger| charger.label.as_deref()))
    .bind(label_keys)
    .bind(texts(|charger| charger.site.as_deref()))
    .bind(texts(|charger| charger.group.as_deref()))
    .execute(&mut *connection)
    .await
    .map_err(error::refusal)?;
    handshakes::forget(connection, &keys).await?;
    sqlx::query("DELETE FROM removed_chargers WHERE key = ANY($1)")
        .bind(&keys)
        .execute(&mut *connection)
        .await
        .map_err(error::refusal)?;
    Ok(())
}

/// The stored chargers of these lines.
async fn known(
    connection: &mut PgConnection,
    lines: &[Line],
) -> Result<HashMap<ChargerKey, ChargerProfile>, Refusal> {
    let keys: Vec<String> = charger_import::keys(lines)
        .map(|key| clean(key.as_str()).into_owned())
        .collect();
    let sql = format!("SELECT {PROFILE_COLUMNS} FROM charger_profiles WHERE key = ANY($1)");
    let rows: Vec<ProfileRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(keys)
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
    let rows = all(connection, GATEWAY_COLUMNS).await?;
    Ok(rows.into_iter().map(gateway_profile).collect())
}

async fn all(connection: &mut PgConnection, columns: &str) -> Result<Vec<ProfileRow>, Refusal> {
    let sql = format!("SELECT {columns} FROM charger_profiles ORDER BY key");
    sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .map_err(error::refusal)
}
