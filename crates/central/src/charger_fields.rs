//! The settings of a charger as texts, as an import has them: each value is checked by the rules that the API and the
//! command line apply to the same setting.

use crate::field_error::{FieldError, refused};
use crate::model::{
    CHARGER_ID_EXPECTED, ChargerProfile, CheckMode, CloseStyle, FRAME_BYTES_MAX, LABEL_EXPECTED,
    Registration, SITE_ID_EXPECTED, is_charger_id, is_label, is_site_id,
};

/// The column of a password in plain text; it is replaced by its hash before a charger is changed.
pub const PASSWORD: &str = "password";

/// The columns, in the order in which documents name them.
pub const NAMES: [&str; 9] = [
    "charger_id",
    "admission",
    PASSWORD,
    "check",
    "frame_bytes_max",
    "close_style",
    "label",
    "site",
    "group",
];

/// The texts of a setting and what they stand for.
type Texts<T, const N: usize> = [(&'static str, T); N];

const ADMISSIONS: Texts<Registration, 3> = [
    ("accepted", Registration::Accepted),
    ("pending", Registration::Pending),
    ("rejected", Registration::Rejected),
];
const CHECKS: Texts<CheckMode, 3> = [
    ("strict", CheckMode::Strict),
    ("warn", CheckMode::Warn),
    ("off", CheckMode::Off),
];
const CLOSE_STYLES: Texts<CloseStyle, 2> = [("frame", CloseStyle::Frame), ("tcp", CloseStyle::Tcp)];

/// Sets a member; `None` removes its value. A password is given as its hash.
///
/// # Errors
/// When the value is not valid. Whether the site exists is not checked here.
pub fn set(
    charger: &mut ChargerProfile,
    field: &'static str,
    value: Option<&str>,
) -> Result<(), FieldError> {
    match field {
        "charger_id" => {
            let id = value.unwrap_or_default();
            if !is_charger_id(id) || id.trim() != id {
                let cure = format!("give {CHARGER_ID_EXPECTED}, without blanks at its ends");
                return Err(refused(field, id, cure));
            }
            id.clone_into(&mut charger.charger_id);
        }
        // Removing it sets the default.
        "admission" => {
            let admission = value
                .map(|text| one_of(field, text, &ADMISSIONS))
                .transpose()?;
            charger.registration = admission.unwrap_or(Registration::Accepted);
        }
        PASSWORD => charger.password_hash = value.map(str::to_owned),
        "check" => charger.check = value.map(|text| one_of(field, text, &CHECKS)).transpose()?,
        "frame_bytes_max" => charger.frame_bytes_max = value.map(bytes).transpose()?,
        "close_style" => {
            let style = value.map(|text| one_of(field, text, &CLOSE_STYLES));
            charger.close_style = style.transpose()?;
        }
        "label" => charger.label = text(field, value, is_label, LABEL_EXPECTED)?,
        "site" => charger.site = text(field, value, is_site_id, SITE_ID_EXPECTED)?,
        _ => charger.group = text(field, value, is_label, LABEL_EXPECTED)?,
    }
    Ok(())
}

/// The members that differ.
#[must_use]
pub fn changes(before: &ChargerProfile, after: &ChargerProfile) -> Vec<&'static str> {
    let differ = [
        before.charger_id != after.charger_id,
        before.registration != after.registration,
        before.password_hash != after.password_hash,
        before.check != after.check,
        before.frame_bytes_max != after.frame_bytes_max,
        before.close_style != after.close_style,
        before.label != after.label,
        before.site != after.site,
        before.group != after.group,
    ];
    let names = NAMES.into_iter().zip(differ);
    names
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
}

fn one_of<T: Copy>(
    field: &'static str,
    text: &str,
    texts: &[(&'static str, T)],
) -> Result<T, FieldError> {
    let found = texts
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
        refused(
            field,
            text,
            format!("give {}, or no value", names.join(", ")),
        )
    })
}

fn bytes(text: &str) -> Result<u32, FieldError> {
    let bytes = text
        .parse()
        .ok()
        .filter(|bytes| FRAME_BYTES_MAX.contains(bytes));
    bytes.ok_or_else(|| {
        let (min, max) = (FRAME_BYTES_MAX.start(), FRAME_BYTES_MAX.end());
        let cure = format!("give a whole number of bytes from {min} to {max}, or no value");
        refused("frame_bytes_max", text, cure)
    })
}

fn text(
    field: &'static str,
    value: Option<&str>,
    is_valid: fn(&str) -> bool,
    expected: &str,
) -> Result<Option<String>, FieldError> {
    match value {
        None => Ok(None),
        Some(text) if is_valid(text) => Ok(Some(text.to_owned())),
        Some(text) => Err(refused(field, text, format!("give {expected}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_named_when_it_changes_and_can_be_removed_again() {
        let plain = ChargerProfile::new("CP-1");
        let values = [
            "cp-1",
            "Pending",
            "$hash",
            "STRICT",
            "4096",
            "tcp",
            "North gate",
            "depot-7",
            "fleet",
        ];
        let mut all = plain.clone();
        for (name, value) in NAMES.into_iter().zip(values) {
            let mut one = plain.clone();
            set(&mut one, name, Some(value)).expect(name);
            assert_eq!(changes(&plain, &one), [name]);
            set(&mut all, name, Some(value)).expect(name);
        }
        assert_eq!(changes(&plain, &all), NAMES);
        for name in &NAMES[1..] {
            set(&mut all, name, None).expect(name);
        }
        assert_eq!(changes(&plain, &all), ["charger_id"]);
    }

    #[test]
    fn each_member_refuses_wrong_values_and_says_what_to_give() {
        let mut charger = ChargerProfile::new("CP-1");
        for (field, value, cure) in [
            ("charger_id", "a/b", "without '/'"),
            ("charger_id", " CP-1", "blanks"),
            ("charger_id", "", "1 to 255"),
            ("admission", "yes", "accepted, pending, rejected"),
            ("check", "", "strict, warn, off"),
            ("frame_bytes_max", "4095", "4096"),
            ("frame_bytes_max", "8MiB", "whole number"),
            ("close_style", "none", "frame, tcp"),
            ("label", " x", "spaces"),
            ("site", "Depot 7", "a-z"),
            ("group", "a\nb", "control characters"),
        ] {
            let error = set(&mut charger, field, Some(value)).expect_err(value);
            assert_eq!((error.field, error.value.as_str()), (field, value));
            assert!(error.cure.contains(cure), "{error}");
        }
    }
}
