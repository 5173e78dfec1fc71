//! Settings that had another name in an earlier version.
//!
//! A start with an old name stops with an error that names the new one, because a setting that is ignored without a
//! word is found out in production.

use figment::Figment;

/// What replaces an old setting.
#[derive(Debug, Clone, Copy)]
enum Cure {
    /// The same value under another key.
    Key(&'static str),
    /// What to write instead, where a new key alone does not say it.
    Sentence(&'static str),
}

/// One entry per setting that was renamed: its old key, and what replaces it.
const RENAMED: &[(&str, Cure)] = &[
    (
        "gateway.batch_max_records",
        Cure::Key("gateway.batch_records_max"),
    ),
    (
        "gateway.batch_max_bytes",
        Cure::Key("gateway.batch_bytes_max"),
    ),
    (
        "gateway.listen",
        Cure::Sentence("write gateway.listeners = [{ address = \"ADDR:PORT\" }] instead"),
    ),
    (
        "applier",
        Cure::Sentence("the section's name is now consumer"),
    ),
    (
        "http.ledger_calls_max",
        Cure::Key("http.database_calls_max"),
    ),
];

/// One sentence about all old keys that the file or the environment holds; none when there is none.
pub(super) fn complaint(figment: &Figment) -> Option<String> {
    let found: Vec<String> = RENAMED
        .iter()
        .filter_map(|(old, cure)| about(figment, old, *cure))
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

fn about(figment: &Figment, old: &str, cure: Cure) -> Option<String> {
    let value = figment.find_value(old).ok()?;
    let source = figment.find_metadata(old);
    let is_variable = source.is_some_and(|from| from.name.starts_with("`WATTPOST__"));
    let name = |key: &str| match is_variable {
        true => variable(key),
        false => key.to_owned(),
    };
    let place = match source.and_then(|from| from.source.as_ref()) {
        Some(file) => format!(" in {file}"),
        None if is_variable => " in the environment".to_owned(),
        None => String::new(),
    };
    let value = serde_json::to_string(&value).unwrap_or_default();
    let cure = match cure {
        Cure::Key(new) => format!("its name is now {}", name(new)),
        Cure::Sentence(sentence) => sentence.to_owned(),
    };
    let old = name(old);
    Some(format!(
        "the setting {old}{place} ({value}) no longer exists: {cure}"
    ))
}

/// The environment variable that sets a key.
fn variable(key: &str) -> String {
    format!("WATTPOST__{}", key.to_uppercase().replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use figment::providers::{Format as _, Serialized, Toml};
    use figment::value::{Dict, Map};
    use figment::{Metadata, Profile, Provider};

    fn replacement(cure: Cure) -> String {
        match cure {
            Cure::Key(new) => new.to_owned(),
            Cure::Sentence(sentence) => sentence.to_owned(),
        }
    }

    #[test]
    fn every_old_key_in_a_file_is_named_with_its_value_and_its_replacement() {
        for (old, cure) in RENAMED {
            let figment = Figment::from(Toml::string(&format!("{old} = 4711")));
            let said = complaint(&figment).unwrap_or_default();
            for word in [old, "4711", &replacement(*cure)] {
                assert!(said.contains(word), "{said:?} does not contain {word:?}");
            }
        }
    }

    /// Settings as [`Env`](figment::providers::Env) gives them, without changing this process's environment.
    struct Variables(String);

    impl Provider for Variables {
        fn metadata(&self) -> Metadata {
            Metadata::named("`WATTPOST__` environment variable(s)")
        }

        fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
            Toml::string(&self.0).data()
        }
    }

    #[test]
    fn every_old_key_in_the_environment_is_named_as_a_variable() {
        for (old, cure) in RENAMED {
            let figment = Figment::from(Variables(format!("{old} = 4711")));
            let said = complaint(&figment).unwrap_or_default();
            let new = match cure {
                Cure::Key(new) => variable(new),
                Cure::Sentence(sentence) => (*sentence).to_owned(),
            };
            for word in [&variable(old), "4711", "in the environment", &new] {
                assert!(said.contains(word), "{said:?} does not contain {word:?}");
            }
        }
    }

    #[test]
    fn every_new_key_exists_and_no_old_one_does() {
        let figment = Figment::from(Serialized::defaults(Settings::default()));
        for (old, cure) in RENAMED {
            assert!(figment.find_value(old).is_err(), "{old} exists");
            if let Cure::Key(new) = cure {
                assert!(figment.find_value(new).is_ok(), "{new} does not exist");
            }
        }
    }

    #[test]
    fn all_old_keys_are_named_at_once() {
        let figment = Figment::from(Toml::string(
            "[gateway]\nbatch_max_records = 1\nlisten = \"127.0.0.1:1\"",
        ));
        let said = complaint(&figment).unwrap_or_default();
        assert!(said.contains("batch_max_records") && said.contains("gateway.listeners"));
    }
}
