//! Bounds the memory of messages that are incomplete or wait for their turn.
//!
//! The WebSocket library keeps the parts of an incomplete message in its own buffers and does not report them. So the
//! bytes are followed below it, frame header by frame header ([`Meter`]). The bytes held by all connections are counted
//! ([`Budget`]); above the bound, the connections that hold the most bytes for the longest time are closed.

use crate::connection::control::{Control, Stop};
use crate::connection::frames::{MessageLimit, ReadError};
use crate::connection::wire::Wire;
use common::lock::lock;
use metrics::{Counter, Gauge, counter, gauge};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes of a message that are not counted, because the connection's read buffer holds them anyway.
pub(crate) const FREE_BYTES: usize = 2_048;
/// A complete message up to this length that waits for its turn is charged to no connection, because the charger did not
/// cause the wait. All such messages together have a bound of their own, as large as that of the budget.
pub(crate) const WAITING_FREE_BYTES: usize = 16 << 10;
/// Bytes of an incomplete message that are kept as they were received. They are charged besides those in the library's
/// buffers, so all connections together keep half of the budget at most.
const KEPT_MAX: usize = 256 << 10;
/// Above the bound, connections are closed until one part in this many of the budget is free.
const FREED_SHARE: u64 = 8;

/// The bytes held by incomplete and waiting messages of all connections.
pub(crate) struct Budget {
    bytes_max: u64,
    used: AtomicU64,
    /// Bytes of waiting messages that are charged to no connection.
    waiting: AtomicU64,
    held: Mutex<Held>,
    gauge: Gauge,
    waiting_gauge: Gauge,
    closed: Counter,
}

#[derive(Default)]
struct Held {
    last: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    control: Arc<Control>,
    bytes: u64,
    since: Instant,
}

impl Budget {
    /// A budget of `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max: bytes_max as u64,
            used: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            held: Mutex::default(),
            gauge: gauge!("wattpost_gateway_unfinished_bytes"),
            waiting_gauge: gauge!("wattpost_gateway_waiting_bytes"),
            closed: counter!("wattpost_gateway_unfinished_closed_total", "reason" => "bytes"),
        })
    }

    /// Bytes charged now, without those of connections that were told to close.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Charges `bytes`, held since `since`, to the connection of `control` until the charge is dropped.
    pub(crate) fn charge(
        self: &Arc<Self>,
        control: &Arc<Control>,
        bytes: usize,
        since: Instant,
    ) -> Charge {
        let mut held = lock(&self.held);
        held.last += 1;
        let id = held.last;
        held.entries.insert(
            id,
            Entry {
                control: Arc::clone(control),
                bytes: bytes as u64,
                since,
            },
        );
        self.used.fetch_add(bytes as u64, Ordering::Relaxed);
        self.enforce(&mut held);
        Charge {
            budget: Arc::clone(self),
            id,
        }
    }

    /// Charges a complete message of `bytes` that waits for its turn since `since`. Up to [`FREE_BYTES`] it is not
    /// counted. Up to [`WAITING_FREE_BYTES`] it is charged to no connection, while all such messages hold at most
    /// `bytes_max`. Otherwise it is charged as an incomplete one.
    pub(crate) fn charge_waiting(
        self: &Arc<Self>,
        control: &Arc<Control>,
        bytes: usize,
        since: Instant,
    ) -> WaitingCharge {
        if bytes <= FREE_BYTES {
            return WaitingCharge::Free;
        }
        let (more, max) = (bytes as u64, self.bytes_max);
        let has_room = bytes <= WAITING_FREE_BYTES
            && self
                .waiting
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                    Some(waiting + more).filter(|sum| *sum <= max)
                })
                .is_ok();
        if has_room {
            let budget = Arc::clone(self);
            return WaitingCharge::Common(CommonCharge {
                budget,
                bytes: more,
            });
        }
        WaitingCharge::Own(self.charge(control, bytes, since))
    }

    /// Bytes of waiting messages that are charged to no connection.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn grow(&self, id: u64, bytes: usize) {
        let mut held = lock(&self.held);
        // Removed already: its connection was told to close.
        let Some(entry) = held.entries.get_mut(&id) else {
            return;
        };
        let more = (bytes as u64).saturating_sub(entry.bytes);
        entry.bytes += more;
        self.used.fetch_add(more, Ordering::Relaxed);
        self.enforce(&mut held);
    }

    fn release(&self, id: u64) {
        let mut held = lock(&self.held);
        if let Some(entry) = held.entries.remove(&id) {
            self.used.fetch_sub(entry.bytes, Ordering::Relaxed);
        }
        if held.entries.is_empty() && held.entries.capacity() > 64 {
            held.entries = HashMap::new();
        }
    }

    /// Closes connections when the budget is exceeded: those with the highest product of bytes and time first. A connection
    /// that holds bytes and waits is closed before one that is just sending, however small its parts are. Closes several
    /// at a time, so that the search costs little per received byte.
    fn enforce(&self, held: &mut Held) {
        if self.used.load(Ordering::Relaxed) <= self.bytes_max {
            return;
        }
        let now = Instant::now();
        let mut all: Vec<(u64, u128)> = held
            .entries
            .iter()
            .map(|(id, entry)| {
                let held_for = now.saturating_duration_since(entry.since).as_micros() + 1;
                (*id, held_for.saturating_mul(entry.bytes.into()))
            })
            .collect();
        all.sort_unstable_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let goal = self.bytes_max - self.bytes_max / FREED_SHARE;
        let (mut closed, mut freed) = (0_u64, 0);
        for (id, _) in all {
            if self.used.load(Ordering::Relaxed) <= goal {
                break;
            }
            if let Some(entry) = held.entries.remove(&id) {
                self.used.fetch_sub(entry.bytes, Ordering::Relaxed);
                freed += entry.bytes;
                closed += 1;
                entry.control.stop(Stop::Unfinished);
            }
        }
        self.closed.increment(closed);
        tracing::warn!(
            connections = closed,
            bytes = freed,
            bytes_max = self.bytes_max,
            "closing the connections that held the most bytes of unfinished messages: gateway.unfinished_bytes_max \
             was exceeded"
        );
    }

    /// Updates the gauges.
    pub(crate) fn report(&self) {
        self.gauge.set(self.used.load(Ordering::Relaxed) as f64);
        self.waiting_gauge.set(self.waiting() as f64);
    }
}

/// Bytes charged to a connection until this is dropped.
pub(crate) struct Charge {
    budget: Arc<Budget>,
    id: u64,
}

impl Charge {
    /// Sets the charge to `bytes`, if that is more than before.
    fn grow(&self, bytes: usize) {
        self.budget.grow(self.id, bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.id);
    }
}

/// What a message that waits for its turn is counted as, until this is dropped.
#[expect(dead_code, reason = "the charges are held to be dropped")]
pub(crate) enum WaitingCharge {
    /// It is so short that it is not counted.
    Free,
    /// Bytes charged to no connection.
    Common(CommonCharge),
    /// Bytes charged to its own connection.
    Own(Charge),
}

/// Bytes of a waiting message that are charged to no connection, until this is dropped.
pub(crate) struct CommonCharge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for CommonCharge {
    fn drop(&mut self) {
        self.budget.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Follows the frames of one connection in its received bytes. It validates nothing: the WebSocket library closes the
/// connection on a violation of the protocol.
pub(crate) struct Meter {
    budget: Arc<Budget>,
    control: Option<Arc<Control>>,
    /// One message at most, as the library bounds it.
    limit: MessageLimit,
    head: [u8; 14],
    head_len: usize,
    /// Of the frame whose header has been read.
    payload_left: u64,
    is_data: bool,
    is_last: bool,
    /// Since when a frame is incomplete.
    frame_since: Option<Instant>,
    /// Since when a data message is incomplete.
    message_since: Option<Instant>,
    message_bytes: usize,
    charge: Option<Charge>,
    charged: usize,
    is_gate_closed: bool,
    is_gated: bool,
    /// Bytes since the end of the last complete message.
    begun: usize,
    /// These bytes, as received, as long as they are at most [`KEPT_MAX`]: the library does not give them back, and
    /// another process that goes on with the connection must read them again.
    kept: Vec<u8>,
    /// While the connection is given to another process.
    wire: Option<Box<Wire>>,
}

impl Meter {
    pub(crate) fn new(budget: &Arc<Budget>, limit: MessageLimit) -> Self {
        Self {
            budget: Arc::clone(budget),
            control: None,
            limit,
            head: [0; 14],
            head_len: 0,
            payload_left: 0,
            is_data: false,
            is_last: false,
            frame_since: None,
            message_since: None,
            message_bytes: 0,
            charge: None,
            charged: 0,
            is_gate_closed: false,
            is_gated: false,
            begun: 0,
            kept: Vec::new(),
            wire: None,
        }
    }

    /// Sets the connection that is told to close when the budget is exceeded.
    pub(crate) fn belong_to(&mut self, control: &Arc<Control>) {
        self.control = Some(Arc::clone(control));
    }

    /// Since when a message, or a control frame, is incomplete. Control frames between its parts change nothing.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.message_since.or(self.frame_since)
    }

    /// The error of a message that the library refused for its length. More than what was received and announced of it is
    /// not known: it may be compressed, or in parts.
    pub(crate) fn too_large(&self) -> ReadError {
        let announced = (self.message_bytes as u64).saturating_add(self.payload_left);
        ReadError::TooLarge {
            bytes: announced.max(self.limit.bytes_max as u64 + 1),
            limit: self.limit,
        }
    }

    /// How long a message may be.
    pub(crate) const fn limit(&self) -> MessageLimit {
        self.limit
    }

    /// Moves that moment by a time in which nothing was read.
    pub(crate) fn postpone(&mut self, by: Duration) {
        for since in [&mut self.message_since, &mut self.frame_since] {
            *since = since.map(|since| since + by);
        }
    }

    /// While the gate is closed, no more than [`FREE_BYTES`] of a message are read.
    pub(crate) fn close_gate(&mut self, is_closed: bool) {
        self.is_gate_closed = is_closed;
        self.is_gated = false;
    }

    /// Whether the gate has stopped reading since it was last set.
    pub(crate) const fn is_gated(&self) -> bool {
        self.is_gated
    }

    /// Whether more bytes may be read.
    pub(crate) fn may_read(&mut self) -> bool {
        if self.wire.is_some() {
            return !self.has_all_begun();
        }
        self.is_gated |= self.is_gate_closed && self.message_bytes >= FREE_BYTES;
        !self.is_gated
    }

    /// Reads no more than it must to have all bytes of an incomplete message: the connection is to be given to another
    /// process. The task polls again by itself.
    pub(crate) fn freeze(&mut self) {
        self.wire.get_or_insert_default();
    }

    /// Reads again.
    pub(crate) fn thaw(&mut self) {
        self.wire = None;
    }

    /// What the connection and its line share while it is given to another process.
    pub(crate) fn wire(&mut self) -> Option<&mut Wire> {
        self.wire.as_deref_mut()
    }

    /// Whether all bytes of the incomplete message, if there is one, are kept.
    pub(crate) const fn has_all_begun(&self) -> bool {
        self.kept.len() == self.begun
    }

    /// Takes the bytes of the incomplete message.
    pub(crate) fn take_begun(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    fn keep(&mut self, bytes: &[u8]) {
        match bytes.len().checked_sub(self.begun) {
            // The message began in these bytes, or nothing of it is left.
            Some(from) => {
                self.kept = match self.begun {
                    0 => Vec::new(),
                    1..=KEPT_MAX => bytes[from..].to_vec(),
                    _ => Vec::new(),
                }
            }
            None if self.begun <= KEPT_MAX && self.kept.len() + bytes.len() == self.begun => {
                self.kept.extend_from_slice(bytes);
            }
            None => self.kept = Vec::new(),
        }
    }

    /// Follows received bytes.
    pub(crate) fn take(&mut self, received: &[u8], now: Instant) {
        let mut bytes = received;
        while !bytes.is_empty() {
            self.frame_since.get_or_insert(now);
            if self.payload_left > 0 {
                let count = bytes
                    .len()
                    .min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                self.payload_left -= count as u64;
                self.begun += count;
                bytes = &bytes[count..];
                self.count(count);
            } else {
                self.head[self.head_len] = bytes[0];
                self.head_len += 1;
                self.begun += 1;
                bytes = &bytes[1..];
                if self.head_len < 2 || self.head_len < head_len(self.head[1]) {
                    continue;
                }
                self.take_head(now);
            }
            if self.payload_left == 0 {
                self.end_frame();
            }
        }
        self.keep(received);
        self.settle(now);
    }

    fn take_head(&mut self, now: Instant) {
        let [first, second, ..] = self.head;
        let long = &self.head[2..];
        self.payload_left = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([long[0], long[1]])),
            127 => long[..8]
                .iter()
                .fold(0, |len, byte| len << 8 | u64::from(*byte)),
            len => len.into(),
        };
        let len = std::mem::take(&mut self.head_len);
        self.is_data = first & 0x08 == 0;
        self.is_last = first & 0x80 != 0;
        if self.is_data {
            self.message_since
                .get_or_insert(self.frame_since.unwrap_or(now));
            self.count(len);
            // Parts of a compressed message are inflated as they arrive, to any length up to the bound.
            if first & 0x40 != 0 && !self.is_last {
                self.message_bytes = self.message_bytes.max(self.limit.bytes_max);
            }
        }
    }

    fn count(&mut self, bytes: usize) {
        if self.is_data {
            self.message_bytes += bytes;
        }
    }

    fn end_frame(&mut self) {
        self.frame_since = None;
        if self.is_data && self.is_last {
            self.message_since = None;
            self.message_bytes = 0;
            self.charge = None;
            self.charged = 0;
        }
        if self.message_since.is_none() {
            self.begun = 0;
        }
        self.is_data = false;
    }

    /// Charges what is held now: buffers grow by doubling.
    fn settle(&mut self, now: Instant) {
        if self.message_bytes <= FREE_BYTES {
            return;
        }
        let most = self.limit.bytes_max.next_power_of_two();
        let held = self.message_bytes.next_power_of_two().min(most) + self.kept.len();
        if held <= self.charged {
            return;
        }
        let Some(control) = &self.control else { return };
        self.charged = held;
        match &self.charge {
            Some(charge) => charge.grow(self.charged),
            None => {
                let since = self.message_since.unwrap_or(now);
                self.charge = Some(self.budget.charge(control, self.charged, since));
            }
        }
    }
}

/// Length of a header with this second byte.
const fn head_len(second: u8) -> usize {
    let long = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + long + mask
}

/// A [`Meter`] shared by the socket below the library and the connection above it. Both belong to one task, so the lock
/// is never contended.
pub(crate) type SharedMeter = Arc<Mutex<Meter>>;

#[cfg(test)]
mod tests {
    use super::*;
    use central::Epoch;
    use central::station::SizeLimit;

    const KIB: usize = 1 << 10;

    fn control(epoch: u64) -> Arc<Control> {
        Arc::new(Control::for_test(Epoch(epoch)))
    }

    fn meter(budget: &Arc<Budget>, control: &Arc<Control>) -> Meter {
        let mut meter = Meter::new(
            budget,
            MessageLimit {
                bytes_max: 1 << 20,
                source: SizeLimit::Setting,
            },
        );
        meter.belong_to(control);
        meter
    }

    /// A masked frame of zeros.
    fn frame(first: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match len {
            0..126 => bytes.push(0x80 | len as u8),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        bytes.resize(bytes.len() + 4 + len, 0);
        bytes
    }

    #[test]
    fn waiting_messages_are_charged_to_no_connection_up_to_a_common_bound() {
        let budget = Budget::new(64 * KIB);
        let own = control(1);
        let now = Instant::now();
        let mut held: Vec<_> = (0..1_000)
            .map(|_| budget.charge_waiting(&own, FREE_BYTES, now))
            .collect();
        assert_eq!((budget.waiting(), budget.used()), (0, 0));
        let long = budget.charge_waiting(&own, WAITING_FREE_BYTES + 1, now);
        assert!(matches!(long, WaitingCharge::Own(_)));
        drop(long);
        for _ in 0..4 {
            held.push(budget.charge_waiting(&own, WAITING_FREE_BYTES, now));
        }
        assert_eq!((budget.waiting(), budget.used()), (64 * KIB as u64, 0));
        let one_more = budget.charge_waiting(&own, FREE_BYTES + 1, now);
        assert!(matches!(one_more, WaitingCharge::Own(_)));
        assert_eq!(budget.used(), FREE_BYTES as u64 + 1);
        drop((held, one_more));
        assert_eq!((budget.waiting(), budget.used()), (0, 0));
    }

    #[test]
    fn a_complete_message_leaves_no_charge_however_it_is_split() {
        let budget = Budget::new(64 << 20);
        let control = control(1);
        for piece in [1, 3, 7, 1_000, 1 << 20] {
            let mut meter = meter(&budget, &control);
            let now = Instant::now();
            let all = [
                frame(0x81, 5),
                frame(0x01, 300),
                frame(0x89, 4),
                frame(0x00, 70_000),
                frame(0x80, 0),
                frame(0x82, 100 * KIB),
            ]
            .concat();
            for piece in all.chunks(piece) {
                meter.take(piece, now);
            }
            assert_eq!((meter.since(), budget.used()), (None, 0), "{}", piece);
        }
    }

    #[test]
    fn the_age_of_a_message_counts_from_its_first_byte() {
        let budget = Budget::new(64 << 20);
        let mut meter = meter(&budget, &control(1));
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let part = frame(0x01, 10 * KIB);
        meter.take(&part, start);
        // Its bytes are also kept as they came.
        assert_eq!(budget.used(), (16 << 10) + part.len() as u64);
        for second in 1..100 {
            meter.take(&frame(0x89, 0), later(second));
            meter.take(&frame(0x00, 1), later(second));
        }
        assert_eq!(meter.since(), Some(start));
        meter.postpone(Duration::from_secs(5));
        assert_eq!(meter.since(), Some(later(5)));
        meter.take(&frame(0x80, 1), later(100));
        assert_eq!((meter.since(), budget.used()), (None, 0));
        // Only the first byte of a header.
        meter.take(&[0x81], later(101));
        assert_eq!(meter.since(), Some(later(101)));
    }

    #[test]
    fn a_part_of_a_compressed_message_is_charged_as_the_longest_message() {
        let budget = Budget::new(64 << 20);
        let mut meter = meter(&budget, &control(1));
        let part = frame(0x41, 100);
        meter.take(&part, Instant::now());
        // Its bytes are also kept as they came.
        assert_eq!(budget.used(), (1 << 20) + part.len() as u64);
    }

    #[test]
    fn a_closed_gate_admits_only_what_the_read_buffer_holds() {
        let budget = Budget::new(64 << 20);
        let mut meter = meter(&budget, &control(1));
        let now = Instant::now();
        let message = frame(0x81, 10 * KIB);
        meter.close_gate(true);
        assert!(meter.may_read());
        meter.take(&message[..FREE_BYTES + 1], now);
        assert!(!meter.may_read() && meter.is_gated());
        meter.close_gate(false);
        assert!(meter.may_read() && !meter.is_gated());
        meter.take(&message[FREE_BYTES + 1..], now);
        meter.close_gate(true);
        assert!(meter.may_read());
    }

    #[test]
    fn the_connection_that_holds_the_most_for_the_longest_is_closed() {
        let budget = Budget::new(64 << 20);
        let start = Instant::now();
        let held_for = |seconds| start.checked_sub(Duration::from_secs(seconds)).unwrap();
        let idle: Vec<_> = (0..600).map(control).collect();
        let honest = control(1_000);
        let mut charges = Vec::new();
        let mut most = 0;
        let sending = budget.charge(&honest, 64 * KIB, start);
        for control in &idle {
            let charge = budget.charge(control, 4 * KIB, held_for(30));
            charge.grow(1 << 20);
            most = most.max(budget.used());
            charges.push(charge);
        }
        assert!(most <= 64 << 20, "{most}");
        assert_eq!(honest.stopped(), None);
        let closed = idle
            .iter()
            .filter(|control| control.stopped() == Some(Stop::Unfinished))
            .count();
        assert!(closed >= 600 - 64, "{closed}");
        drop((charges, sending));
        assert_eq!(budget.used(), 0);

        // Small parts of many connections do not displace one large message that arrives quickly.
        let many: Vec<_> = (0..16_000).map(control).collect();
        let charges: Vec<_> = many
            .iter()
            .map(|control| budget.charge(control, 4 * KIB, held_for(30)))
            .collect();
        // The same moment for all, so that the result does not depend on the machine's speed.
        let now = start + Duration::from_secs(600);
        let sending = budget.charge(&honest, 1 << 20, now);
        let more = budget.charge(&honest, 1 << 20, now);
        assert_eq!(honest.stopped(), None);
        assert!(many.iter().any(|control| control.stopped().is_some()));
        drop((charges, sending, more));
        assert_eq!(budget.used(), 0);
    }
}
