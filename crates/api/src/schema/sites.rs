//! Sites.

use serde::Serialize;
use utoipa::ToSchema;

/// A site: a place with chargers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Site {
    /// Its id, which never changes.
    #[schema(example = "depot-7")]
    id: String,
    name: String,
    /// Its postal address.
    address: Option<String>,
    /// The name of its time zone in the IANA database.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// Degrees north; null if and only if `longitude` is.
    latitude: Option<f64>,
    /// Degrees east.
    longitude: Option<f64>,
    /// How many chargers that were added are there. It is no part of the version that `ETag` names.
    chargers: u64,
}

/// A site to be added.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewSite {
    /// 1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, of which the first is a letter or a digit.
    #[schema(example = "depot-7", min_length = 1, max_length = 64)]
    id: String,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Its postal address, on one line.
    #[schema(min_length = 1, max_length = 300)]
    address: Option<String>,
    /// The name of its time zone in the IANA database. Only its form is checked.
    #[schema(example = "Europe/Berlin", max_length = 64)]
    time_zone: Option<String>,
    /// Degrees north; with `longitude` or not at all.
    #[schema(minimum = -90, maximum = 90)]
    latitude: Option<f64>,
    /// Degrees east; with `latitude` or not at all.
    #[schema(minimum = -180, maximum = 180)]
    longitude: Option<f64>,
}

/// A change of a site: a member that is absent stays as it is, and null removes the value.
#[derive(Serialize, ToSchema)]
pub(crate) struct SitePatch {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 300)]
    address: Option<String>,
    #[schema(max_length = 64)]
    time_zone: Option<String>,
    #[schema(minimum = -90, maximum = 90)]
    latitude: Option<f64>,
    #[schema(minimum = -180, maximum = 180)]
    longitude: Option<f64>,
}
