//! Rows of sites.

use crate::directory::entry;
use crate::refusal::Refusal;
use central::model::{AuditEntry, Origin, Site, SiteView};
use serde_json::to_value;

/// Id, name, address, time zone, latitude, longitude, chargers.
pub(crate) type SiteRow = (
    String,
    String,
    Option<String>,
    Option<String>,
    Option<f64>,
    Option<f64>,
    i64,
);

/// The columns of a [`SiteRow`], in a query of `sites s`.
pub(crate) const COLUMNS: &str = "s.id, s.name, s.address, s.time_zone, s.latitude, s.longitude,
    (SELECT count(*) FROM charger_profiles p WHERE p.site = s.id)";

/// A site as it is shown.
pub(crate) fn site(row: SiteRow) -> SiteView {
    let (id, name, address, time_zone, latitude, longitude, chargers) = row;
    SiteView {
        site: Site {
            id,
            name,
            address,
            time_zone,
            latitude,
            longitude,
        },
        chargers: chargers.cast_unsigned(),
    }
}

/// The audit entry of a site that was set or removed.
pub(crate) fn site_entry(
    before: Option<&Site>,
    after: Option<&Site>,
    origin: &Origin,
) -> Result<AuditEntry, Refusal> {
    let shown = |site: Option<&Site>| {
        site.map(to_value)
            .transpose()
            .map_err(|error| Refusal::unreachable(error.to_string()))
    };
    Ok(entry(
        "site",
        after.or(before).map(|site| site.id.as_str()),
        shown(before)?,
        shown(after)?,
        origin,
    ))
}
