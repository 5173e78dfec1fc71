//! Sites: places with chargers. A site says where a charger stands and in which time zone, so that people can find it and
//! its times can be read. No gateway and no charger uses it.

use serde::{Deserialize, Serialize};

/// Sites that may exist.
pub const SITES_MAX: usize = 10_000;
/// Characters of a label, of a group and of the name of a site at most.
pub const LABEL_CHARS_MAX: usize = 100;
/// Characters of the address of a site at most.
pub const ADDRESS_CHARS_MAX: usize = 300;

/// How the id of a site is bounded, for error messages.
pub const SITE_ID_EXPECTED: &str =
    "1 to 64 characters of a-z, 0-9, '-', '_' and '.', of which the first is a letter or a digit";
/// How a label, a group or the name of a site is bounded, for error messages.
pub const LABEL_EXPECTED: &str = "1 to 100 characters without spaces at its ends, control characters and characters that turn the direction of text";
/// How the address of a site is bounded, for error messages.
pub const ADDRESS_EXPECTED: &str = "1 to 300 characters on one line without spaces at its ends, control characters and characters that turn the direction of text";
/// How the time zone of a site is bounded, for error messages.
pub const TIME_ZONE_EXPECTED: &str =
    "the name of a time zone in the IANA database, such as \"Europe/Berlin\" or \"UTC\"";
/// The latitudes that a site may have, for error messages.
pub const LATITUDE_EXPECTED: &str = "a number of degrees from -90 to 90";
/// The longitudes that a site may have, for error messages.
pub const LONGITUDE_EXPECTED: &str = "a number of degrees from -180 to 180";

/// Whether a site may have this id: see [`SITE_ID_EXPECTED`].
#[must_use]
pub fn is_site_id(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// Whether a charger may have this label or group, or a site this name: see [`LABEL_EXPECTED`].
#[must_use]
pub fn is_label(text: &str) -> bool {
    is_one_line(text, LABEL_CHARS_MAX)
}

/// Whether a site may have this address: see [`ADDRESS_EXPECTED`].
#[must_use]
pub fn is_address(text: &str) -> bool {
    is_one_line(text, ADDRESS_CHARS_MAX)
}

/// A text on one line that looks the same wherever it is shown: a character that turns the direction of text would also
/// turn what is shown beside it.
fn is_one_line(text: &str, chars_max: usize) -> bool {
    let is_bad = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    !text.is_empty()
        && text.len() <= chars_max * 4
        && text.chars().count() <= chars_max
        && text.trim() == text
        && !text.contains(is_bad)
}

/// Whether this looks like the name of a time zone: see [`TIME_ZONE_EXPECTED`]. Only its form is checked, because which
/// zones exist depends on the version of the database.
#[must_use]
pub fn is_time_zone(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_uppercase())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    };
    text.len() <= 64 && (text == "UTC" || (text.contains('/') && text.split('/').all(is_part)))
}

/// Whether this is a latitude: see [`LATITUDE_EXPECTED`].
#[must_use]
pub fn is_latitude(degrees: f64) -> bool {
    (-90.0..=90.0).contains(&degrees)
}

/// Whether this is a longitude: see [`LONGITUDE_EXPECTED`].
#[must_use]
pub fn is_longitude(degrees: f64) -> bool {
    (-180.0..=180.0).contains(&degrees)
}

/// A site as the operator has set it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Its id, which never changes: see [`SITE_ID_EXPECTED`].
    pub id: String,
    /// The name that people see: see [`LABEL_EXPECTED`].
    pub name: String,
    /// Its postal address: see [`ADDRESS_EXPECTED`].
    pub address: Option<String>,
    /// Its time zone: see [`TIME_ZONE_EXPECTED`].
    pub time_zone: Option<String>,
    /// Degrees north; set if and only if the longitude is.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
}

impl Site {
    /// A site whose name is its id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            address: None,
            time_zone: None,
            latitude: None,
            longitude: None,
        }
    }

    /// Whether it has both coordinates or none.
    #[must_use]
    pub const fn has_whole_position(&self) -> bool {
        self.latitude.is_some() == self.longitude.is_some()
    }

    /// The version of the site for conditional requests: equal sites have equal ones.
    #[must_use]
    pub fn version(&self) -> u64 {
        // Texts and finite numbers can always be written as JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(&json).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A change of a [`Site`]; members that are `None` stay as they are, and `Some(None)` removes a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SitePatch {
    /// The name.
    pub name: Option<String>,
    /// The address.
    pub address: Option<Option<String>>,
    /// The time zone.
    pub time_zone: Option<Option<String>>,
    /// Degrees north.
    pub latitude: Option<Option<f64>>,
    /// Degrees east.
    pub longitude: Option<Option<f64>>,
}

impl SitePatch {
    /// Changes `site`.
    pub fn apply(&self, site: &mut Site) {
        if let Some(name) = &self.name {
            site.name.clone_from(name);
        }
        if let Some(address) = &self.address {
            site.address.clone_from(address);
        }
        if let Some(zone) = &self.time_zone {
            site.time_zone.clone_from(zone);
        }
        if let Some(latitude) = self.latitude {
            site.latitude = latitude;
        }
        if let Some(longitude) = self.longitude {
            site.longitude = longitude;
        }
    }
}

/// A site as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteView {
    /// The site.
    #[serde(flatten)]
    pub site: Site,
    /// How many chargers that were added are there.
    pub chargers: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_into_a_url_and_a_label_on_a_line() {
        for id in ["depot-7", "a", "7", "berlin.mitte_2", &"x".repeat(64)] {
            assert!(is_site_id(id), "{id}");
        }
        for id in ["", "Depot", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_site_id(id), "{id}");
        }
        for label in ["Depot 7, north gate", "שער צפון", "<b>", &"ä".repeat(100)] {
            assert!(is_label(label), "{label}");
        }
        let long = "x".repeat(101);
        for label in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "\u{2066}",
            &long,
        ] {
            assert!(!is_label(label), "{label:?}");
        }
        assert!(is_address(&"x".repeat(300)) && !is_address(&"x".repeat(301)));
    }

    #[test]
    fn a_time_zone_has_the_form_of_a_name() {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Buenos_Aires",
            "Etc/GMT+5",
        ] {
            assert!(is_time_zone(zone), "{zone}");
        }
        for zone in [
            "",
            "Berlin",
            "Europe/",
            "/Berlin",
            "europe/berlin",
            "Europe/Ber lin",
            "+01:00",
        ] {
            assert!(!is_time_zone(zone), "{zone}");
        }
    }

    #[test]
    fn coordinates_are_within_their_bounds() {
        assert!(is_latitude(-90.0) && is_latitude(90.0) && is_longitude(-180.0));
        for bad in [90.1, -90.1, f64::NAN, f64::INFINITY] {
            assert!(!is_latitude(bad));
        }
        assert!(!is_longitude(180.5) && !is_longitude(f64::NAN));
    }
}
