//! The log lines about chargers that connect, disconnect, or are refused. Any peer can cause them, so each kind is bounded.
//!
//! No line holds a password or the value of an `Authorization` header. A path is logged without its query and without the
//! user part of a URL, where some chargers send their password.

use crate::admission::handshake::Request;
use crate::admission::peer::Peer;
use crate::admission::reason::Reason;
use crate::connection::control::REPLACED_SOON;
use central::model::{ChargerKey, FRAME_BYTES_MAX};
use central::station::SizeLimit;
use common::lock::lock;
use common::log_bound::{Bounds, LogBound, Unlogged, cut};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Characters of a path, an identity or a list of subprotocols that a line holds.
const CHARS_MAX: usize = 100;

/// Lines about refused handshakes, in a minute.
const REFUSALS: Bounds = Bounds {
    per_subject: 3,
    per_source: 60,
    total: 600,
};
/// Lines about connections that begin and end, in a minute. The chargers behind one trusted proxy have addresses of their
/// own; those behind a router or a proxy that is not trusted have one.
const CONNECTIONS: Bounds = Bounds {
    per_subject: 3,
    per_source: 120,
    total: 1_200,
};
/// After this many replacements in a row, connections of one identity that replace each other are logged. A charger whose
/// network failed replaces its own connection once.
const REPEATED: u32 = 3;
/// Chargers whose replacements at other gateways are counted at most; at this number the counts begin again.
const MOVED_MAX: usize = 4_096;
/// How often to check whether a summary is due.
const SUMMARY_CHECK: Duration = Duration::from_secs(5);

/// What is known of a handshake when it is refused.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Of the request target, without its query and a URL's user.
    path: String,
    /// The identity as it came, if the path has one.
    identity: String,
    /// The subprotocols offered, as they came.
    offered: String,
    /// The revision of the directory by which it was judged last, if it was.
    judged_by: Option<u64>,
}

impl Attempt {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            path: path_without_secrets(&request.target),
            identity: String::new(),
            offered: request.protocols.join(", "),
            judged_by: None,
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn offered(&self) -> &str {
        &self.offered
    }

    pub(crate) fn judged_by(&self) -> Option<u64> {
        self.judged_by
    }

    /// From now on it is judged by this revision of the directory, or by a later one.
    pub(crate) fn set_judged_by(&mut self, revision: Option<u64>) {
        self.judged_by = revision;
    }

    pub(crate) fn set_identity(&mut self, identity: &str) {
        identity.clone_into(&mut self.identity);
    }
}

/// The target without its query or fragment, and without `user:password@` of a URL inside it.
fn path_without_secrets(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    // A password may contain slashes, so everything up to the last `@` may belong to it.
    let user = path.find("://").and_then(|at| {
        let (start, end) = (at + 3, path.rfind('@')?);
        (start <= end).then_some((start, end))
    });
    let mut shown = match user {
        Some((start, end)) => format!("{}…{}", &path[..start], &path[end..]),
        None => path.to_owned(),
    };
    if path.len() < target.len() {
        shown.push_str("?…");
    }
    shown
}

/// Writes the lines.
pub(crate) struct ConnectionLog {
    refusals: LogBound,
    connections: LogBound,
    moved: Mutex<Moved>,
}

/// Chargers whose connection here was replaced by one at another gateway: how often in a row, and when last.
#[derive(Default)]
struct Moved(HashMap<ChargerKey, (u32, Instant)>);

impl Moved {
    /// Counts one more, and returns how many there were in a row.
    fn count(&mut self, key: ChargerKey, now: Instant) -> u32 {
        if self.0.len() >= MOVED_MAX && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let (times, last) = self.0.entry(key).or_insert((0, now));
        let is_soon = now.saturating_duration_since(*last) < REPLACED_SOON;
        *times = if is_soon { times.saturating_add(1) } else { 1 };
        *last = now;
        *times
    }
}

impl Default for ConnectionLog {
    fn default() -> Self {
        Self {
            refusals: LogBound::new(REFUSALS),
            connections: LogBound::new(CONNECTIONS),
            moved: Mutex::default(),
        }
    }
}

impl ConnectionLog {
    /// A handshake is refused. `sentence` is the body of the answer, which says more where the reason is
    /// [`Reason::NotNow`].
    pub(crate) fn refused(&self, peer: Peer, attempt: &Attempt, reason: Reason, sentence: &str) {
        let subject = match attempt.identity.as_str() {
            "" => &attempt.path,
            identity => identity,
        };
        let kind = reason.line();
        if !self
            .refusals
            .may_log(kind, &peer.address(), subject, Instant::now())
        {
            return;
        }
        let path = some(&attempt.path);
        let identity = some(&attempt.identity);
        let offered = some(&attempt.offered);
        tracing::info!(
            address = %peer,
            proxy = peer.proxy().map(tracing::field::display),
            path = path.as_deref(),
            identity = identity.as_deref(),
            offered = offered.as_deref(),
            status = reason.status().code(),
            why = (reason == Reason::NotNow).then_some(sentence),
            cure = reason.cure(),
            "charger refused: {kind}"
        );
    }

    /// A PROXY protocol header came from an address that is not in `trusted_proxies`.
    pub(crate) fn proxy_header_ignored(&self, peer: Peer) {
        let kind = "PROXY protocol header ignored";
        if self
            .refusals
            .may_log(kind, &peer.address(), "", Instant::now())
        {
            tracing::info!(
                address = %peer,
                cure = "add the proxy's address to trusted_proxies of this listener",
                "PROXY protocol header ignored: it came from an address that is not trusted"
            );
        }
    }

    pub(crate) fn connected(&self, peer: Peer, charger_id: &str, version: ocpp::Version) {
        if self.may_log_connection("charger connected", peer, charger_id) {
            tracing::info!(
                charger.id = charger_id,
                %version,
                address = %peer,
                proxy = peer.proxy().map(tracing::field::display),
                "charger connected"
            );
        }
    }

    pub(crate) fn disconnected(
        &self,
        peer: Peer,
        charger_id: &str,
        reason: &str,
        duration: Duration,
    ) {
        if self.may_log_connection("charger disconnected", peer, charger_id) {
            tracing::info!(
                charger.id = charger_id,
                reason = &*cut(reason, CHARS_MAX),
                duration_s = duration.as_secs(),
                address = %peer,
                "charger disconnected"
            );
        }
    }

    /// A connection of this charger was replaced by another one at this gateway, for this many times in a row. A few times
    /// are not logged.
    pub(crate) fn replaced(&self, older: Peer, newer: Peer, charger_id: &str, times: u32) {
        if times >= REPEATED {
            self.replaced_repeatedly(newer, Some(older), charger_id, times);
        }
    }

    /// A connection of this charger was replaced by one at another gateway. A few times in a row are not logged.
    pub(crate) fn replaced_elsewhere(&self, peer: Peer, charger_id: &str) {
        let times = lock(&self.moved).count(ChargerKey::of(charger_id), Instant::now());
        if times >= REPEATED {
            self.replaced_repeatedly(peer, None, charger_id, times);
        }
    }

    /// `other` is not known if the other connections are at another gateway.
    fn replaced_repeatedly(&self, peer: Peer, other: Option<Peer>, charger_id: &str, times: u32) {
        let kind = "connections that replace each other";
        if self.refusals.may_log(kind, &(), charger_id, Instant::now()) {
            tracing::warn!(
                charger.id = charger_id,
                address = %peer,
                other_address = other.map(tracing::field::display),
                at_another_gateway = other.is_none(),
                times,
                cure = "give each charger an identity of its own; if it is one charger, look for a network that \
                        drops its connections",
                "connections of one identity replace each other again and again: two chargers seem to use it"
            );
        }
    }

    /// A message was longer than the charger's limit: its connection ends, and the charger will send it again.
    pub(crate) fn message_too_large(
        &self,
        peer: Peer,
        charger_id: &str,
        bytes: u64,
        bytes_max: u64,
        limit: SizeLimit,
    ) {
        let kind = "message over the limit";
        if self
            .refusals
            .may_log(kind, &peer.address(), charger_id, Instant::now())
        {
            tracing::warn!(
                charger.id = charger_id,
                address = %peer,
                bytes_at_least = bytes,
                bytes_max,
                limit = limit.as_str(),
                cure = cure_of_length(charger_id, bytes, limit),
                "message over the limit: the connection is closed, and the charger will send the message again"
            );
        }
    }

    fn may_log_connection(&self, kind: &'static str, peer: Peer, charger_id: &str) -> bool {
        self.connections
            .may_log(kind, &peer.address(), charger_id, Instant::now())
    }

    /// Logs how many lines were not logged, a minute after the first of them. Never ends.
    pub(crate) async fn summarise(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SUMMARY_CHECK);
        loop {
            ticks.tick().await;
            for bound in [&self.refusals, &self.connections] {
                log_unlogged(bound.take_unlogged(Instant::now()));
            }
        }
    }

    /// Logs at once how many lines were not logged: the gateway stops.
    pub(crate) fn summarise_at_stop(&self) {
        for bound in [&self.refusals, &self.connections] {
            log_unlogged(bound.take_all_unlogged());
        }
    }
}

/// What an operator does about a message of at least `bytes` that is over `limit`.
fn cure_of_length(charger_id: &str, bytes: u64, limit: SizeLimit) -> String {
    const SHORTER: &str = "set the charger to send shorter messages: fewer measurands or longer intervals \
                           (StopTxnSampledData, StopTxnAlignedData; in 2.x TxEndedMeasurands, TxEndedInterval)";
    let can_be_raised = bytes <= u64::from(*FRAME_BYTES_MAX.end());
    match limit {
        SizeLimit::Setting | SizeLimit::Charger if can_be_raised => {
            let word = shell_word(charger_id);
            match charger_id.starts_with('-') {
                true => format!("wattpost charger set --frame-bytes-max 8MiB -- {word}"),
                false => format!("wattpost charger set {word} --frame-bytes-max 8MiB"),
            }
        }
        SizeLimit::Unfinished if can_be_raised => {
            format!("set gateway.unfinished_bytes_max to at least {}", 2 * bytes)
        }
        SizeLimit::Record if can_be_raised => {
            format!("raise journal.segment_bytes and journal.bytes_max, or {SHORTER}")
        }
        _ => SHORTER.to_owned(),
    }
}

/// The text as one word of a POSIX shell: an identity may hold anything.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:+@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn log_unlogged(unlogged: Option<Unlogged>) {
    if let Some(Unlogged { lines, kinds }) = unlogged {
        tracing::info!(
            lines,
            kinds,
            "lines about chargers were not logged, because there were too many within a minute"
        );
    }
}

fn some(text: &str) -> Option<std::borrow::Cow<'_, str>> {
    (!text.is_empty()).then(|| cut(text, CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::log_bound::FIRST_LINES;

    #[test]
    fn connections_of_a_few_addresses_do_not_suppress_the_lines_of_another() {
        for bounds in [CONNECTIONS, REFUSALS] {
            let bound = LogBound::new(bounds);
            let now = Instant::now();
            for address in 0..50 {
                for charger in 0..700 {
                    bound.may_log("charger connected", &address, &charger.to_string(), now);
                }
            }
            for kind in ["charger connected", "charger disconnected"] {
                assert!(bound.may_log(kind, &1_000, "CP-1", now), "{kind}");
            }
        }
    }

    #[test]
    fn chargers_that_move_between_gateways_are_counted_within_a_bound() {
        let mut moved = Moved::default();
        let start = Instant::now();
        let later = start + REPLACED_SOON - Duration::from_secs(1);
        let key = |id: &str| ChargerKey::of(id);
        let counts = [start, later, later].map(|now| moved.count(key("CP-1"), now));
        assert_eq!(counts, [1, 2, 3]);
        assert_eq!(
            moved.count(key("cp-1"), later + REPLACED_SOON),
            1,
            "not in a row"
        );
        assert_eq!(moved.count(key("CP-2"), later), 1);
        for i in 0..3 * MOVED_MAX {
            moved.count(key(&format!("made-up-{i}")), later);
            assert!(moved.0.len() <= MOVED_MAX);
        }
    }

    #[test]
    fn the_cure_of_a_long_message_is_a_command_that_a_shell_takes() {
        let cure = |id, bytes, limit| cure_of_length(id, bytes, limit);
        for (id, command) in [
            ("CP-1", "wattpost charger set CP-1 --frame-bytes-max 8MiB"),
            (
                "a b; c's",
                r"wattpost charger set 'a b; c'\''s' --frame-bytes-max 8MiB",
            ),
            ("-x", "wattpost charger set --frame-bytes-max 8MiB -- -x"),
        ] {
            assert_eq!(cure(id, 3 << 20, SizeLimit::Setting), command);
            assert_eq!(cure(id, 3 << 20, SizeLimit::Charger), command);
        }
        let unfinished = cure("CP-1", 3 << 20, SizeLimit::Unfinished);
        assert_eq!(
            unfinished,
            "set gateway.unfinished_bytes_max to at least 6291456"
        );
        for limit in [SizeLimit::Setting, SizeLimit::Charger, SizeLimit::Record] {
            let cure = cure("CP-1", (8 << 20) + 1, limit);
            assert!(
                cure.starts_with("set the charger to send shorter"),
                "{cure}"
            );
        }
    }

    #[test]
    fn the_page_has_the_bounds() {
        let page = include_str!("../../../../docs/connecting-a-charger.md");
        let (refused, connected) = (REFUSALS, CONNECTIONS);
        assert_eq!((refused.per_subject, connected.per_subject), (3, 3));
        let thousands = |number: u32| match number {
            1_000.. => format!("{},{:03}", number / 1_000, number % 1_000),
            _ => number.to_string(),
        };
        let sentence = format!(
            "three lines are written in a minute; {} refusals and {} other lines of one address; {} refusals and {} other lines in total, of which one half is reserved for the first {FIRST_LINES} lines of each address",
            refused.per_source,
            connected.per_source,
            thousands(refused.total),
            thousands(connected.total)
        );
        assert!(page.contains(&sentence), "the page lacks: {sentence}");
    }

    #[test]
    fn a_path_is_shown_without_query_and_without_a_urls_user() {
        for (target, shown) in [
            ("/ocpp/CP-1", "/ocpp/CP-1"),
            ("/ocpp/CP-1?password=secret", "/ocpp/CP-1?…"),
            ("/ocpp/CP-1#secret", "/ocpp/CP-1?…"),
            ("ws://CP-1:secret@host/ocpp/CP-1", "ws://…@host/ocpp/CP-1"),
            (
                "/ocpp/ws://u:p@ss@host:9000/CP-1",
                "/ocpp/ws://…@host:9000/CP-1",
            ),
            ("ws://u:p/ss@host/CP-1", "ws://…@host/CP-1"),
            ("ws://u:p@a/ws://b/CP-1", "ws://…@a/ws://b/CP-1"),
            ("ws://host/CP-1", "ws://host/CP-1"),
            ("/ocpp/cp@1", "/ocpp/cp@1"),
            ("ws://u:secret@host", "ws://…@host"),
            ("", ""),
        ] {
            assert_eq!(path_without_secrets(target), shown, "{target}");
        }
    }
}
