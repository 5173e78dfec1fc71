//! How many files this process may open, and who may take how many of them.
//!
//! A socket is a file to the system. Chargers and strangers open as many as they like, and a journal that
//! finds no handle for its next segment, or a forwarder that finds none for the database, would stop
//! delivery. So at the start the limit is raised as far as is needed and permitted; what everything but
//! sockets needs is set aside; and the bounds of sockets are lowered until all of them fit into the rest.

use crate::config::Settings;
use crate::serve::Roles;
use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For everything that is no socket of a charger, of HTTP or of PostgreSQL: standard streams, the runtime, logs, the
/// journal's segments and readers, the directory, SQLite with its readers, RabbitMQ, names that are looked up, and
/// as much again.
const OWN: u64 = 128;

/// Raises the limit of open files where that is needed and permitted, and lowers the bounds of sockets where it is
/// not enough. A line in the log names each bound that was lowered, and the cure.
///
/// # Errors
/// When the limit is too low for even a handful of chargers.
pub(crate) fn fit(settings: &mut Settings, roles: Roles) -> Result<()> {
    let wanted = wanted(settings, roles);
    let limit = raise(wanted);
    for sentence in share(settings, roles, limit)? {
        tracing::warn!("{sentence}");
    }
    Ok(())
}

/// The limit that holds from now on.
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
            tracing::warn!(%error, limit = soft, "the limit of open files cannot be raised");
            soft
        }
    }
}

/// Files that are needed to keep all bounds as they are set.
fn wanted(settings: &Settings, roles: Roles) -> u64 {
    let sockets = match roles.has_gateway() {
        true => settings.gateway.handles_max(),
        false => 0,
    };
    sockets.saturating_add(set_aside(settings))
}

/// What is no socket of a charger.
fn set_aside(settings: &Settings) -> u64 {
    OWN + settings.http.handles_max() + u64::from(settings.database.connections_max)
}

/// Lowers the bounds until everything fits into `limit`. Returns a sentence for each that was lowered.
///
/// # Errors
/// As above.
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
    let set_aside = set_aside(settings);
    if !roles.has_gateway() {
        if limit < set_aside {
            bail!(too_few(limit, set_aside));
        }
        return Ok(lowered);
    }
    let fitting = match settings.gateway.fit_into(limit.saturating_sub(set_aside)) {
        Ok(fitting) => fitting,
        Err(_) => bail!(too_few(
            limit,
            set_aside + gateway::GatewayConfig::HANDLES_MIN
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
        "{key} is {set}, but this process may open only {limit} files, so that {holds} holds; raise the limit to \
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
    fn whatever_the_limit_all_sockets_leave_what_everything_else_needs() {
        for limit in [260, 300, 400, 1_024, 4_096, 20_000, 55_000, 60_000] {
            let mut settings = Settings::default();
            let lowered = share(&mut settings, Roles::All, limit).unwrap();
            let sockets = settings.gateway.handles_max()
                + settings.http.handles_max()
                + u64::from(settings.database.connections_max);
            assert!(sockets + OWN <= limit, "{limit}: {sockets}");
            assert!(settings.gateway.connections_max > 0, "{limit}");
            settings.gateway.check().unwrap();
            settings.http.check().unwrap();
            let set = Settings::default();
            let is_as_set = settings.gateway == set.gateway && settings.http == set.http;
            assert_eq!(lowered.is_empty(), is_as_set, "{limit}");
        }
    }

    #[test]
    fn a_bound_that_is_lowered_is_named_with_its_value_and_the_cure() {
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
    fn a_limit_for_nobody_stops_the_start_with_a_sentence() {
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
    fn the_limit_is_raised_no_further_than_needed() {
        let before = getrlimit(Resource::Nofile);
        let soft = before.current.unwrap_or(u64::MAX);
        assert_eq!(raise(1), soft);
        let one_more = soft.saturating_add(1);
        let permitted = before.maximum.unwrap_or(u64::MAX);
        assert_eq!(raise(one_more), one_more.min(permitted));
    }
}
