//! Settings in the environment: `WATTPOST__SECTION__KEY`.
//!
//! An environment variable is text, and its type follows from the setting: `1.6` may be a number or a version. So plain
//! values are passed on as text, and figment converts them where the setting is a number or a boolean.

use figment::providers::Env;
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

const PREFIX: &str = "WATTPOST__";
const SEPARATOR: &str = "__";

/// Variables of Wattpost that are not settings.
const OTHER_NAMES: [&str; 2] = ["WATTPOST_CONFIG", "WATTPOST_SIMULATE_PASSWORD"];

/// Adds the settings in the environment.
pub(super) fn merge_into(mut figment: Figment) -> Figment {
    for (key, text) in Env::prefixed(PREFIX).split(SEPARATOR).iter() {
        figment = figment.merge(Variable {
            key: key.into_string(),
            value: value(&text),
        });
    }
    figment
}

/// Lists and tables as TOML writes them, everything else as text.
fn value(text: &str) -> Value {
    match text.parse() {
        Ok(value @ (Value::Array(..) | Value::Dict(..) | Value::String(..))) => value,
        _ => Value::from(text),
    }
}

/// One variable.
struct Variable {
    /// The path of the setting, such as `gateway.assume_version`.
    key: String,
    value: Value,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("`{PREFIX}` environment variable(s)"))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// A warning for each of these variables that looks like a setting and is none. `defaults` has all settings.
pub(super) fn near_misses(
    names: impl Iterator<Item = String>,
    defaults: &serde_json::Value,
) -> Vec<String> {
    let mut keys = Vec::new();
    collect_keys(defaults, &mut Vec::new(), &mut keys);
    let sections = defaults
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.is_object())
        .map(|(name, _)| compact(name));
    let sections: Vec<String> = sections.collect();
    let mut warnings: Vec<String> = names
        .filter(|name| !name.to_uppercase().starts_with(PREFIX))
        .filter(|name| !OTHER_NAMES.contains(&name.as_str()))
        .filter_map(|name| {
            let upper = name.to_uppercase();
            let rest = compact(upper.strip_prefix("WATTPOST_")?);
            let meant = keys.iter().find(|key| compact(&key.concat()) == rest);
            if let Some(key) = meant {
                let right = key.join(SEPARATOR).to_uppercase();
                return Some(format!(
                    "the environment variable {name} has no effect; the setting {} is {PREFIX}{right}",
                    key.join(".")
                ));
            }
            let names_section = sections.iter().any(|section| rest.starts_with(section.as_str()));
            names_section.then(|| {
                format!(
                    "the environment variable {name} has no effect and is like no setting; settings are \
                     {PREFIX}SECTION__KEY, such as WATTPOST__POLICY__CHECK"
                )
            })
        })
        .collect();
    warnings.sort();
    warnings
}

/// Letters and digits in lower case: what two spellings of a name have in common.
fn compact(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric())
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

fn collect_keys(value: &serde_json::Value, path: &mut Vec<String>, keys: &mut Vec<Vec<String>>) {
    let Some(members) = value.as_object() else {
        return keys.push(path.clone());
    };
    for (name, value) in members {
        path.push(name.clone());
        collect_keys(value, path, keys);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_values_are_text_and_lists_are_lists() {
        for text in ["1.6", "5", "true", "x", "-1", ""] {
            assert_eq!(value(text).as_str(), Some(text));
        }
        assert_eq!(value("\"1.6\"").as_str(), Some("1.6"));
        assert!(matches!(value("[1, 2]"), Value::Array(..)));
    }

    #[test]
    fn near_misses_are_named_with_the_right_spelling() {
        let defaults = json!({"policy": {"check": "warn"}, "data_dir": "x"});
        let warnings = |name: &str| near_misses([name.to_owned()].into_iter(), &defaults);
        for name in [
            "WATTPOST_POLICY_CHECK",
            "wattpost_policy__check",
            "WATTPOST_DATA_DIR",
        ] {
            let found = warnings(name);
            assert_eq!(found.len(), 1, "{name}");
            assert!(found[0].contains(name), "{found:?}");
        }
        assert!(
            warnings("WATTPOST_POLICY_CHECK")[0]
                .ends_with("policy.check is WATTPOST__POLICY__CHECK")
        );
        assert!(warnings("WATTPOST_DATA_DIR")[0].ends_with("data_dir is WATTPOST__DATA_DIR"));
        assert!(warnings("WATTPOST_POLICY_CHEK")[0].contains("like no setting"));
        for name in [
            "WATTPOST__POLICY__CHECK",
            "WATTPOST_CONFIG",
            "WATTPOST_SEED",
            "PATH",
        ] {
            assert!(warnings(name).is_empty(), "{name}");
        }
    }
}
