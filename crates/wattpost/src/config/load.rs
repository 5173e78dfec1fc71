//! Reads the settings: defaults, then the file, then `WATTPOST__SECTION__KEY`, then flags; later ones win.

use super::{Settings, environment, renamed, shown};
use anyhow::{Result, bail};
use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The settings that flags override.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub data_dir: Option<PathBuf>,
    pub ocpp_listen: Option<SocketAddr>,
    pub http_listen: Option<SocketAddr>,
    pub database_url: Option<String>,
    pub broker_url: Option<String>,
}

/// The settings file that is read if none is named and it exists.
const DEFAULT_FILE: &str = "wattpost.toml";

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// One sentence that names the key, the value and a value that would work.
    pub(crate) fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(path) if !path.is_file() => bail!(
                "--config is {}, which is not a readable file",
                path.display()
            ),
            Some(path) => figment = figment.merge(Toml::file_exact(path)),
            None if Path::new(DEFAULT_FILE).is_file() => {
                figment = figment.merge(Toml::file_exact(DEFAULT_FILE));
            }
            None => {}
        }
        figment = environment::merge_into(figment);
        if let Some(sentence) = renamed::find_old_names(&figment) {
            bail!("{sentence}");
        }
        let mut settings: Self = figment
            .extract_lossy()
            .map_err(|error| explain(&figment, &error))?;
        if let Some(dir) = overrides.data_dir {
            settings.data_dir = dir;
        }
        if let Some(listen) = overrides.ocpp_listen {
            let first = settings.gateway.listeners.drain(..).next();
            settings.gateway.listeners = vec![gateway::ListenerConfig {
                address: listen,
                ..first.unwrap_or_default()
            }];
        }
        if let Some(listen) = overrides.http_listen {
            settings.http.listen = listen;
        }
        if let Some(url) = overrides.database_url {
            settings.database.url = url;
        }
        if let Some(url) = overrides.broker_url {
            settings.broker.url = url;
        }
        settings.validate()?;
        settings.fit_alerts();
        for warning in settings.warnings() {
            eprintln!("wattpost: warning: {warning}");
        }
        Ok(settings)
    }

    /// A charger that sends Heartbeat as often as it was told to is not silent, and of one whose Heartbeats are not recorded
    /// that is not known.
    fn fit_alerts(&mut self) {
        let silent_s = &mut self.alerts.rules.charger_silent_s;
        if !self.policy.record_heartbeats {
            *silent_s = 0;
        } else if *silent_s > 0 {
            *silent_s = (*silent_s).max(self.policy.heartbeat_interval_s.saturating_mul(3));
        }
    }
}

impl Settings {
    /// One sentence for each variable or setting that has no effect.
    fn warnings(&self) -> Vec<String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        environment::near_misses(names, &defaults)
    }
}

/// The error as one sentence: the key, where it was set, its value, and what is wrong with it.
fn explain(figment: &Figment, error: &figment::Error) -> anyhow::Error {
    let Some(first) = error.clone().into_iter().next() else {
        return anyhow::anyhow!("read the settings: {error}");
    };
    let key = first.path.join(".");
    let location = first.metadata.as_ref().map_or_else(String::new, |from| {
        let name = from.name.trim_end_matches(" environment variable(s)");
        match from.source.as_ref() {
            Some(source) => format!(" ({source})"),
            None if name.starts_with("`WATTPOST__") => " (environment)".to_owned(),
            None => String::new(),
        }
    });
    let mut what = shown::shown_kind(&key, &first.kind);
    if what.contains("socket address") {
        what.push_str("; give an address and a port, such as 127.0.0.1:8080");
    }
    if key.is_empty() {
        return anyhow::anyhow!("the settings{location} cannot be used: {what}");
    }
    // The name may be a mistyped one of a secret.
    let is_unknown = matches!(first.kind, figment::error::Kind::UnknownField(..));
    let value = figment
        .find_value(&key)
        .ok()
        .filter(|_| !is_unknown)
        .and_then(|value| serde_json::to_value(&value).ok())
        .map(|value| shown::shown_value(&key, value))
        .map_or_else(String::new, |value| format!(" is {value}, which"));
    anyhow::anyhow!("the setting {key}{location}{value} cannot be used: {what}")
}
