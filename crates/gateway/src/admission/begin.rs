//! From an accepted handshake to a charger's task.

use crate::admission::accept::{log_refusal, refusal_text, refuse};
use crate::admission::check::Accepted;
use crate::admission::handshake::Refusal;
use crate::admission::log::Attempt;
use crate::admission::peer::Peer;
use crate::admission::reason::Reason;
use crate::admission::unknown::{UnknownPermit, UnknownShare};
use crate::clock::wall_clock;
use crate::connection::Connection;
use crate::connection::control::Control;
use crate::connection::frames::{Frames, Line};
use crate::connection::registry::{Claimed, Registry};
use crate::parts::Parts;
use central::model::ChargerKey;
use central::ports::ChargerProfile;
use central::resend::ResendMemory;
use central::station::{Station, StationConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// The last steps, in this order: acquire a permit, take over what the old connection remembers, answer 101, and only
/// then start the connection's task, so that the handshake's memory is freed.
pub(super) async fn begin(
    mut line: Line,
    peer: Peer,
    parts: &Arc<Parts>,
    accepted: Accepted,
    attempt: &Attempt,
) {
    let deadline = parts.config.handshake_timeout();
    // This comes before the charger's older connection is told to stop, so that a refused charger replaces no connection.
    // A charger that replaces its own connection adds none.
    let replaces = parts.registry.find(&accepted.key).is_some();
    let permits = parts
        .admission
        .acquire()
        .and_then(|permit| Ok((permit, acquire_unknown(parts, peer, &accepted)?)))
        .and_then(|permits| match replaces {
            true => Ok(permits),
            false => parts.flow.may_enter().map(|()| permits),
        });
    match permits {
        Ok((permit, unknown)) => line.hold(permit, unknown),
        Err(refusal) => {
            log_refusal(parts, peer, attempt, &refusal);
            refuse(&mut line, &refusal_text(&parts.config, &refusal), deadline).await;
            return;
        }
    }
    let now = wall_clock();
    let epoch = parts.registry.next_epoch(now.as_millis().unsigned_abs());
    let control = Arc::new(Control::new(
        epoch,
        peer,
        accepted.admitted_by,
        Instant::now(),
    ));
    let (memory, replaced) = claim(&parts.registry, &accepted.key, &control, parts).await;
    if let Some(older) = replaced {
        parts.metrics.replaced.increment(1);
        let times = control.replacements();
        parts
            .admission
            .log
            .replaced(older, peer, &accepted.identity, times);
    }
    // A task that closes all connections sets a flag first and then stops those in the registry. This connection enters the
    // registry first and then reads the flag, so it cannot be missed.
    let admitted = parts
        .admission
        .admit_as(control.epoch)
        .and_then(|()| still_admitted(parts, &accepted));
    let profile = match admitted {
        Ok(profile) => profile,
        Err(refusal) => {
            parts.registry.release(&accepted.key, &control, memory);
            log_refusal(parts, peer, attempt, &refusal);
            refuse(&mut line, &refusal_text(&parts.config, &refusal), deadline).await;
            return;
        }
    };
    let wrote = tokio::time::timeout(deadline, line.write_all(accepted.answer.as_bytes())).await;
    let frames = match wrote {
        Ok(Ok(())) => Frames::new(
            line,
            accepted.deflate.as_deref(),
            profile.as_deref(),
            &parts.frame_options,
        ),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the answer to the handshake was not read".to_owned()),
    };
    let frames = match frames {
        Ok(frames) => frames,
        Err(error) => {
            tracing::debug!(
                charger.id = accepted.identity,
                error,
                "handshake not finished"
            );
            parts.metrics.handshakes_unfinished.increment(1);
            parts.registry.release(&accepted.key, &control, memory);
            return;
        }
    };
    if let Some(counter) = parts
        .metrics
        .handshakes_accepted
        .get(accepted.version as usize)
    {
        counter.increment(1);
    }
    let charger_id: Arc<str> = match &profile {
        Some(profile) => profile.charger_id.as_str().into(),
        None => accepted.identity.as_str().into(),
    };
    parts.ownership.publish(&charger_id, control.epoch);
    parts
        .admission
        .log
        .connected(peer, &charger_id, accepted.version);
    let config = StationConfig {
        charger_id,
        version: accepted.version,
        is_version_assumed: accepted.is_version_assumed,
        is_handshake_repaired: accepted.is_handshake_repaired,
        profile,
        policy: Arc::clone(&parts.admission.policy),
        epoch: control.epoch,
        seed: fastrand::u64(..),
        remote: peer.to_string(),
    };
    let station = Station::new(config, memory, now);
    let connection = Connection::new(Arc::clone(parts), control, accepted.key, station, frames);
    parts.admission.connections.spawn(connection.run());
}

/// Counts the connection of a charger that nobody has added; `None` for one that was.
///
/// # Errors
/// With a 503 when unknown chargers, or those of this address, have too many connections.
fn acquire_unknown(
    parts: &Parts,
    peer: Peer,
    accepted: &Accepted,
) -> Result<Option<UnknownPermit>, Refusal> {
    if accepted.profile.is_some() {
        return Ok(None);
    }
    let address = peer.address();
    let has_known = parts.directory.has_chargers();
    let acquired = parts
        .admission
        .unknown_connections
        .acquire(address, has_known);
    let share = match acquired {
        Ok(permit) => return Ok(Some(permit)),
        Err(share) => share,
    };
    parts.metrics.unknown_refused(share);
    if parts.admission.unknown_warning.is_due(Instant::now()) {
        let config = &parts.config;
        match share {
            UnknownShare::Address => tracing::warn!(
                %address,
                unknown_per_address_max = config.unknown_per_address_max,
                "refusing unknown chargers of one address: it has too many connections already (add the chargers, \
                 or raise gateway.unknown_per_address_max if that is a proxy or a depot of yours)"
            ),
            UnknownShare::Total => tracing::warn!(
                unknown_max = config.unknown_max(),
                "refusing unknown chargers: they have three quarters of gateway.connections_max already (add the \
                 chargers, or raise it)"
            ),
        }
    }
    Err(Refusal::new(
        Reason::NotNow,
        "Too many chargers that nobody has added are connected; come back in a moment.",
    ))
}

/// The charger's profile now that its connection is in the registry. The directory may have changed since the handshake
/// was checked (a password check takes its time), and a connection that is not in the registry is not told of a change.
///
/// # Errors
/// When the handshake must be checked again: the charger was removed, or its password is no longer accepted.
fn still_admitted(
    parts: &Parts,
    accepted: &Accepted,
) -> Result<Option<Arc<ChargerProfile>>, Refusal> {
    let (before, now) = (&accepted.profile, parts.directory.charger(&accepted.key));
    let is_removed = before.is_some() && now.is_none();
    let credentials = parts.directory.credentials(&accepted.key);
    if is_removed || !credentials.admit(accepted.admitted_by) {
        return Err(Refusal::new(
            Reason::NotNow,
            "The settings of this charger have just changed; come back in a moment.",
        ));
    }
    Ok(now)
}

async fn claim(
    registry: &Registry,
    key: &ChargerKey,
    control: &Arc<Control>,
    parts: &Parts,
) -> (ResendMemory, Option<Peer>) {
    match registry.claim(key, control) {
        Claimed::New(memory) => (memory, None),
        Claimed::Replaces(memory, older) => {
            let wait = Duration::from_millis(parts.config.handover_timeout_ms);
            let memory = tokio::time::timeout(wait, memory).await;
            if !matches!(memory, Ok(Ok(_))) {
                tracing::warn!(
                    charger.key = key.as_str(),
                    "the replaced connection handed nothing over in time"
                );
            }
            let memory = memory.ok().and_then(Result::ok).unwrap_or_default();
            (memory, Some(older))
        }
    }
}
