//! Settings that had another name in an earlier version.
//!
//! A setting with an old name prevents the start, and the error names the new one. If it were ignored, the operator
//! would not notice that it has no effect.

use figment::Figment;

/// What replaces an old setting.
#[derive(Debug, Clone, Copy)]
enum Replacement {
    /// Another key with the same value.
    Key(&'static str),
    /// An instruction, if the value changes too.
    Sentence(&'static str),
}

/// One entry per setting that was renamed: its old key, and what replaces it.
const RENAMED: &[(&str, Replacement)] = &[
    (
        "gateway.batch_max_records",
        Replacement::Key("gateway.batch_records_max"),
    ),
    (
        "gateway.batch_max_bytes",
        Replacement::Key("gateway.batch_bytes_max"),
    ),
    (
        "gateway.listen",
        Replacement::Sentence("write gateway.listeners = [{ address = \"ADDR:PORT\" }] instead"),
    ),
    (
        "applier",
        Replacement::Sentence("the section's name is now consumer"),
    ),
    (
        "http.ledger_calls_max",
        Replacement::Key("http.database_calls_max"),
    ),
    (
        "gateway.header_max_bytes",
        Replacement::Key("gateway.header_bytes_max"),
    ),
    (
        "gateway.frame_max_bytes",
        Replacement::Key("gateway.frame_bytes_max"),
    ),
    (
        "gateway.unfinished_max_bytes",
        Replacement::Key("gateway.unfinished_bytes_max"),
    ),
    (
        "gateway.outbound_max_bytes",
        Replacement::Key("gateway.outbound_bytes_max"),
    ),
    (
        "gateway.resend_replay_max_bytes",
        Replacement::Key("gateway.resend_replay_bytes_max"),
    ),
    (
        "gateway.pace_wait_max_ms",
        Replacement::Key("gateway.pace_wait_ms_max"),
    ),
    (
        "gateway.silence_max_s",
        Replacement::Key("gateway.silence_s_max"),
    ),
    (
        "gateway.clock_off_max_s",
        Replacement::Key("gateway.clock_off_s_max"),
    ),
    (
        "gateway.compression_min_bytes",
        Replacement::Key("gateway.compression_bytes_min"),
    ),
    (
        "gateway.retry_min_ms",
        Replacement::Key("gateway.retry_ms_min"),
    ),
    (
        "gateway.retry_max_ms",
        Replacement::Key("gateway.retry_ms_max"),
    ),
    (
        "broker.retry_min_ms",
        Replacement::Key("broker.retry_ms_min"),
    ),
    (
        "broker.retry_max_ms",
        Replacement::Key("broker.retry_ms_max"),
    ),
    (
        "consumer.retry_min_ms",
        Replacement::Key("consumer.retry_ms_min"),
    ),
    (
        "consumer.retry_max_ms",
        Replacement::Key("consumer.retry_ms_max"),
    ),
    ("journal.max_bytes", Replacement::Key("journal.bytes_max")),
];

/// One sentence about all old keys in the file or the environment; none if there are none.
pub(super) fn find_old_names(figment: &Figment) -> Option<String> {
    let found: Vec<String> = RENAMED
        .iter()
        .filter_map(|(old, replacement)| sentence_about(figment, old, *replacement))
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

fn sentence_about(figment: &Figment, old: &str, replacement: Replacement) -> Option<String> {
    let value = figment.find_value(old).ok()?;
    let source = figment.find_metadata(old);
    let is_variable = source.is_some_and(|from| from.name.starts_with("`WATTPOST__"));
    let name = |key: &str| match is_variable {
        true => variable(key),
        false => key.to_owned(),
    };
    let location = match source.and_then(|from| from.source.as_ref()) {
        Some(file) => format!(" in {file}"),
        None if is_variable => " in the environment".to_owned(),
        None => String::new(),
    };
    let value = serde_json::to_string(&value).unwrap_or_default();
    let replacement = match replacement {
        Replacement::Key(new) => format!("its name is now {}", name(new)),
        Replacement::Sentence(sentence) => sentence.to_owned(),
    };
    let old = name(old);
    Some(format!(
        "the setting {old}{location} ({value}) no longer exists: {replacement}"
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

    fn text_of(replacement: Replacement) -> String {
        match replacement {
            Replacement::Key(new) => new.to_owned(),
            Replacement::Sentence(sentence) => sentence.to_owned(),
        }
    }

    #[test]
    fn sentence_about_a_file_names_old_key_value_and_replacement() {
        for (old, replacement) in RENAMED {
            let figment = Figment::from(Toml::string(&format!("{old} = 4711")));
            let said = find_old_names(&figment).unwrap_or_default();
            for word in [old, "4711", &text_of(*replacement)] {
                assert!(said.contains(word), "{said:?} does not contain {word:?}");
            }
        }
    }

    /// Stands for [`Env`](figment::providers::Env), so that the test does not change its own environment.
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
    fn sentence_about_the_environment_names_variables() {
        for (old, replacement) in RENAMED {
            let figment = Figment::from(Variables(format!("{old} = 4711")));
            let said = find_old_names(&figment).unwrap_or_default();
            let new = match replacement {
                Replacement::Key(new) => variable(new),
                Replacement::Sentence(sentence) => (*sentence).to_owned(),
            };
            for word in [&variable(old), "4711", "in the environment", &new] {
                assert!(said.contains(word), "{said:?} does not contain {word:?}");
            }
        }
    }

    #[test]
    fn new_keys_exist_and_old_keys_do_not() {
        let figment = Figment::from(Serialized::defaults(Settings::default()));
        for (old, replacement) in RENAMED {
            assert!(figment.find_value(old).is_err(), "{old} exists");
            if let Replacement::Key(new) = replacement {
                assert!(figment.find_value(new).is_ok(), "{new} does not exist");
            }
        }
    }

    #[test]
    fn all_old_keys_are_named_in_one_sentence() {
        let figment = Figment::from(Toml::string(
            "[gateway]\nbatch_max_records = 1\nlisten = \"127.0.0.1:1\"",
        ));
        let said = find_old_names(&figment).unwrap_or_default();
        assert!(said.contains("batch_max_records") && said.contains("gateway.listeners"));
    }
}
