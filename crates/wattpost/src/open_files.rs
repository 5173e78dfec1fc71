//! Fits the limits of connections into the limit of open files (`RLIMIT_NOFILE`).
//!
//! Each socket is an open file, and clients decide how many sockets they open. If none were left for the journal's next
//! segment or for the database, delivery would stop. So at the start the limit of open files is raised as far as needed
//! and permitted, the files that are not sockets are reserved, and the limits of connections are lowered until all of
//! them fit into the rest.

use crate::config::Settings;
use crate::serve::Roles;
use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files reserved for everything except sockets of chargers, HTTP and PostgreSQL: standard streams, the runtime, logs,
/// the journal's segments and readers, `directory.json`, SQLite with its readers, RabbitMQ, and for each webhook an
/// attempt or a query of DNS. More than they need.
const RESERVED: u64 = 128 + central::model::WEBHOOKS_MAX as u64;

/// Raises the limit of open files if needed and permitted, and lowers the limits of connections if it is still too low.
/// Logs each lowered setting with the remedy.
///
/// # Errors
/// When the limit is too low even for a few chargers.
pub(crate) fn fit(settings: &mut Settings, roles: Roles) -> Result<()> {
    let wanted = wanted(settings, roles);
    let limit = raise(wanted);
    for sentence in share(settings, roles, limit)? {
        tracing::warn!("{sentence}");
    }
    Ok(())
}

/// Raises the limit to `wanted` if permitted; returns the limit that applies.
fn raise(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let higher = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    if higher <= soft {
        return soft;
    }
    let raised = Rlimit {
        current: Some(higher),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => higher,
        Err(error) => {
            tracing::warn!(%error, limit = soft, "the limit of open files could not be raised");
            soft
        }
    }
}

/// The files needed for all limits as they are set.
fn wanted(settings: &Settings, roles: Roles) -> u64 {
    let sockets = match roles.has_gateway() {
        true => settings.gateway.handles_max(),
        false => 0,
    };
    sockets.saturating_add(without_chargers(settings))
}

/// The files needed without any charger.
fn without_chargers(settings: &Settings) -> u64 {
    RESERVED + settings.http.handles_max() + u64::from(settings.database.connections_max)
}

/// Lowers the limits of connections until everything fits into `limit`. Returns a sentence for each lowered setting.
///
/// # Errors
/// As [`fit`].
fn share(settings: &mut Settings, roles: Roles, limit: u64) -> Result<Vec<String>> {
    let wanted = wanted(settings, roles);
    if wanted <= limit {
        return Ok(Vec::new());
    }
    let mut lowered = Vec::new();
    let for_http = usize::try_from(limit / 8).unwrap_or(usize::MAX).max(1);
    if for_http < settings.http.connections_max {
        lowered.push(sentence(
            "http.connections_max",
            settings.http.connections_max,
            for_http,
            limit,
            wanted,
        ));
        settings.http.connections_max = for_http;
    }
    let without_chargers = without_chargers(settings);
    if !roles.has_gateway() {
        if limit < without_chargers {
            bail!(too_few(limit, without_chargers));
        }
        return Ok(lowered);
    }
    let for_chargers = limit.saturating_sub(without_chargers);
    let fitting = match settings.gateway.fit_into(for_chargers) {
        Ok(fitting) => fitting,
        Err(_) => bail!(too_few(
            limit,
            without_chargers + gateway::GatewayConfig::HANDLES_MIN
        )),
    };
    for (key, set, holds) in [
        (
            "gateway.connections_max",
            settings.gateway.connections_max,
            fitting.connections_max,
        ),
        (
            "gateway.handshakes_max",
            settings.gateway.handshakes_max,
            fitting.handshakes_max,
        ),
    ] {
        if holds < set {
            lowered.push(sentence(key, set, holds, limit, wanted));
        }
    }
    settings.gateway = fitting;
    Ok(lowered)
}

fn sentence(key: &str, set: usize, holds: usize, limit: u64, wanted: u64) -> String {
    format!(
        "{key} is {set}, but this process may open only {limit} files, so {key} = {holds} applies; raise the limit to \
         {wanted} (LimitNOFILE= in the systemd unit, ulimit -n), or set {key} to {holds}"
    )
}

fn too_few(limit: u64, least: u64) -> String {
    format!(
        "this process may open only {limit} files, but needs {least} at least; raise the limit (LimitNOFILE= in the \
         systemd unit, ulimit -n), or lower http.connections_max"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_files_are_left_at_every_limit() {
        for limit in [380, 400, 500, 1_024, 4_096, 20_000, 55_000, 60_000] {
            let mut settings = Settings::default();
            let lowered = share(&mut settings, Roles::All, limit).unwrap();
            let sockets = settings.gateway.handles_max()
                + settings.http.handles_max()
                + u64::from(settings.database.connections_max);
            assert!(sockets + RESERVED <= limit, "{limit}: {sockets}");
            assert!(settings.gateway.connections_max > 0, "{limit}");
            settings.gateway.check().unwrap();
            settings.http.check().unwrap();
            let set = Settings::default();
            let is_as_set = settings.gateway == set.gateway && settings.http == set.http;
            assert_eq!(lowered.is_empty(), is_as_set, "{limit}");
        }
    }

    #[test]
    fn sentence_about_a_lowered_setting_names_its_value_and_the_remedy() {
        let mut settings = Settings::default();
        let lowered = share(&mut settings, Roles::Gateway, 4_096).unwrap();
        let said = lowered.join("\n");
        for part in [
            "gateway.connections_max is 50000",
            "only 4096 files",
            "LimitNOFILE=",
            &settings.gateway.connections_max.to_string(),
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn limit_too_low_for_one_charger_is_an_error() {
        for roles in [Roles::All, Roles::Gateway, Roles::Consumer, Roles::Api] {
            let mut settings = Settings::default();
            let said = share(&mut settings, roles, 100).unwrap_err().to_string();
            assert!(
                said.contains("only 100 files") && said.contains("ulimit -n"),
                "{said}"
            );
        }
    }

    #[test]
    fn limit_is_raised_no_further_than_needed() {
        let before = getrlimit(Resource::Nofile);
        let soft = before.current.unwrap_or(u64::MAX);
        assert_eq!(raise(1), soft);
        let one_more = soft.saturating_add(1);
        let permitted = before.maximum.unwrap_or(u64::MAX);
        assert_eq!(raise(one_more), one_more.min(permitted));
    }
}
