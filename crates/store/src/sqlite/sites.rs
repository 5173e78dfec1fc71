//! The sites that the operator has set. SQLite has one writer at a time, so changes of sites and of chargers run one after
//! the other.

use super::idempotency::once;
use super::{SqliteStore, audit};
use crate::paging::{after_site, at_most, cut};
use crate::refusal::Refusal;
use crate::sites::{COLUMNS, site, site_entry};
use central::model::{SITES_MAX, Site, SiteView};
use central::ports::{ChangeRequest, Once, SiteChange, SiteNotChanged, Sites, Unavailable};
use central::query::{Page, PageRequest, Place, QueryError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

impl Sites for SqliteStore {
    fn site(&self, id: &str) -> Result<Option<SiteView>, Unavailable> {
        self.readers
            .read(|connection| one(connection, id))
            .map_err(Refusal::into_unavailable)
    }

    fn site_page(&self, page: &PageRequest) -> Result<Page<SiteView>, QueryError> {
        let (after, limit) = (after_site(page)?, page.rows());
        let rows = self.readers.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM sites s WHERE s.id > ?1 ORDER BY s.id LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![after, at_most(limit) + 1], |row| {
                let view = site(row.try_into()?);
                Ok((Place::Site(view.site.id.clone()), view))
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        let rows = rows.map_err(|refusal| QueryError::Unavailable(refusal.into_unavailable()))?;
        Ok(cut(rows, limit))
    }

    fn change_site(
        &self,
        change: &SiteChange,
    ) -> Result<Once<SiteView, SiteNotChanged>, Unavailable> {
        self.transact(|connection, _| {
            once(connection, &change.request, |connection| {
                let before = one(connection, &change.id)?;
                let after = match change.applied_to(before.as_ref().map(|view| &view.site)) {
                    Ok(after) => after,
                    Err(refused) => return Ok(Err(refused)),
                };
                if before.is_none() && count(connection)? >= SITES_MAX as i64 {
                    return Ok(Err(SiteNotChanged::TooMany));
                }
                let chargers = before.as_ref().map_or(0, |view| view.chargers);
                let before = before.map(|view| view.site);
                if before.as_ref() != Some(&after) {
                    put(connection, &after)?;
                    let entry = site_entry(before.as_ref(), Some(&after), &change.request.origin)?;
                    audit::insert(connection, &entry)?;
                }
                Ok(Ok(SiteView {
                    site: after,
                    chargers,
                }))
            })
        })
    }

    fn remove_site(
        &self,
        id: &str,
        request: &ChangeRequest,
    ) -> Result<Result<(), SiteNotChanged>, Unavailable> {
        self.transact(|connection, _| {
            let Some(SiteView { site, chargers }) = one(connection, id)? else {
                return Ok(Err(SiteNotChanged::Unknown));
            };
            if !request.condition.holds(Some(site.version())) {
                return Ok(Err(SiteNotChanged::OtherVersion));
            }
            if chargers > 0 {
                return Ok(Err(SiteNotChanged::HasChargers(chargers)));
            }
            connection.execute("DELETE FROM sites WHERE id = ?1", [id])?;
            audit::insert(connection, &site_entry(Some(&site), None, &request.origin)?)?;
            Ok(Ok(()))
        })
    }
}

/// The ids of all sites.
pub(super) fn ids(connection: &Connection) -> Result<HashSet<String>, Refusal> {
    let mut statement = connection.prepare_cached("SELECT id FROM sites")?;
    let ids = statement.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Whether there is a site with this id.
pub(super) fn exists(connection: &Connection, id: &str) -> Result<bool, Refusal> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM sites WHERE id = ?1")?;
    Ok(statement.exists([id])?)
}

fn one(connection: &Connection, id: &str) -> Result<Option<SiteView>, Refusal> {
    let sql = format!("SELECT {COLUMNS} FROM sites s WHERE s.id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([id], |row| Ok(site(row.try_into()?)));
    Ok(found.optional()?)
}

fn count(connection: &Connection) -> Result<i64, Refusal> {
    Ok(connection.query_row("SELECT count(*) FROM sites", [], |row| row.get(0))?)
}

fn put(connection: &Connection, site: &Site) -> Result<(), Refusal> {
    connection.execute(
        "INSERT INTO sites (id, name, address, time_zone, latitude, longitude) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address,
            time_zone = excluded.time_zone, latitude = excluded.latitude, longitude = excluded.longitude",
        params![
            site.id,
            site.name,
            site.address,
            site.time_zone,
            site.latitude,
            site.longitude,
        ],
    )?;
    Ok(())
}
