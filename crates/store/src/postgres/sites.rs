//! The sites that the operator has set. A change of a site takes the lock of the directory, so that it and changes of
//! chargers run one after the other.

use super::charger_settings::lock_directory;
use super::idempotency::once;
use super::numbers::clean;
use super::{PostgresStore, audit, error};
use crate::paging::{after_site, at_most, cut};
use crate::refusal::Refusal;
use crate::sites::{COLUMNS, SiteRow, site, site_entry};
use central::model::{SITES_MAX, Site, SiteView};
use central::ports::{ChangeRequest, Once, SiteChange, SiteNotChanged, Sites, Unavailable};
use central::query::{Page, PageRequest, Place, QueryError};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashSet;

impl Sites for PostgresStore {
    fn site(&self, id: &str) -> Result<Option<SiteView>, Unavailable> {
        self.read(async |connection| one(connection, id).await)
    }

    fn site_page(&self, page: &PageRequest) -> Result<Page<SiteView>, QueryError> {
        let (after, limit) = (after_site(page)?, page.rows());
        let rows: Vec<SiteRow> = self.read(async |connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM sites s WHERE s.id > $1 ORDER BY s.id LIMIT $2");
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(clean(&after).into_owned())
                .bind(at_most(limit) + 1)
                .fetch_all(connection)
                .await
                .map_err(error::refusal)
        })?;
        let rows = rows.into_iter().map(|row| {
            let view = site(row);
            (Place::Site(view.site.id.clone()), view)
        });
        Ok(cut(rows.collect(), limit))
    }

    fn change_site(
        &self,
        change: &SiteChange,
    ) -> Result<Once<SiteView, SiteNotChanged>, Unavailable> {
        self.write(async |connection| {
            once(connection, &change.request, async |connection| {
                lock_directory(connection).await?;
                let before = one(connection, &change.id).await?;
                let after = match change.applied_to(before.as_ref().map(|view| &view.site)) {
                    Ok(after) => after,
                    Err(refused) => return Ok(Err(refused)),
                };
                if before.is_none() && count(connection).await? >= SITES_MAX as i64 {
                    return Ok(Err(SiteNotChanged::TooMany));
                }
                let chargers = before.as_ref().map_or(0, |view| view.chargers);
                let before = before.map(|view| view.site);
                if before.as_ref() != Some(&after) {
                    put(connection, &after).await?;
                    let entry = site_entry(before.as_ref(), Some(&after), &change.request.origin)?;
                    audit::insert(connection, &entry).await?;
                }
                Ok(Ok(SiteView {
                    site: after,
                    chargers,
                }))
            })
            .await
        })
    }

    fn remove_site(
        &self,
        id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), SiteNotChanged>, Unavailable> {
        self.write(async |connection| {
            lock_directory(connection).await?;
            let Some(SiteView { site, chargers }) = one(connection, id).await? else {
                return Ok(Err(SiteNotChanged::Unknown));
            };
            if !request.condition.holds(Some(site.version())) {
                return Ok(Err(SiteNotChanged::OtherVersion));
            }
            if chargers > 0 {
                return Ok(Err(SiteNotChanged::HasChargers(chargers)));
            }
            sqlx::query("DELETE FROM sites WHERE id = $1")
                .bind(&site.id)
                .execute(&mut *connection)
                .await
                .map_err(error::refusal)?;
            let entry = site_entry(Some(&site), None, &request.origin)?;
            audit::insert(connection, &entry).await?;
            Ok(Ok(()))
        })
    }
}

/// The ids of all sites.
pub(super) async fn ids(connection: &mut PgConnection) -> Result<HashSet<String>, Refusal> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM sites")
        .fetch_all(connection)
        .await
        .map_err(error::refusal)?;
    Ok(ids.into_iter().collect())
}

/// Whether there is a site with this id.
pub(super) async fn exists(connection: &mut PgConnection, id: &str) -> Result<bool, Refusal> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sites WHERE id = $1)")
        .bind(clean(id).into_owned())
        .fetch_one(connection)
        .await
        .map_err(error::refusal)
}

async fn one(connection: &mut PgConnection, id: &str) -> Result<Option<SiteView>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM sites s WHERE s.id = $1");
    let row: Option<SiteRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(clean(id).into_owned())
        .fetch_optional(connection)
        .await
        .map_err(error::refusal)?;
    Ok(row.map(site))
}

async fn count(connection: &mut PgConnection) -> Result<i64, Refusal> {
    sqlx::query_scalar("SELECT count(*) FROM sites")
        .fetch_one(connection)
        .await
        .map_err(error::refusal)
}

async fn put(connection: &mut PgConnection, site: &Site) -> Result<(), Refusal> {
    let text = |text: &str| clean(text).into_owned();
    sqlx::query(
        "INSERT INTO sites (id, name, address, time_zone, latitude, longitude) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address,
            time_zone = excluded.time_zone, latitude = excluded.latitude, longitude = excluded.longitude",
    )
    .bind(text(&site.id))
    .bind(text(&site.name))
    .bind(site.address.as_deref().map(text))
    .bind(site.time_zone.as_deref().map(text))
    .bind(site.latitude)
    .bind(site.longitude)
    .execute(connection)
    .await
    .map_err(error::refusal)?;
    Ok(())
}
