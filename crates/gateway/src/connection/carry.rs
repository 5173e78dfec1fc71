//! How a connection is given to another process, and goes on there. It is frozen between two messages: everything that
//! was received is answered, or is in what is given.

use crate::admission::handshake::agree_deflate;
use crate::admission::peer::Peer;
use crate::clock::wall_clock;
use crate::connection::commanding::Commanding;
use crate::connection::control::{Control, Stop};
use crate::connection::finish::End;
use crate::connection::frames::{Frames, Incoming, Line};
use crate::connection::wire::Taken;
use crate::connection::{Connection, broken};
use crate::directory::PasswordMark;
use crate::hand_over::{Arrived, CarriedConnection};
use crate::parts::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use central::Epoch;
use central::model::ChargerKey;
use central::resend::ResendMemory;
use central::station::{CarriedStation, CloseReason, Station};
use common::lock::lock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A connection without its socket. Members may be added; those that a process does not know are ignored.
#[derive(Serialize, Deserialize)]
struct State {
    station: CarriedStation,
    peer: Peer,
    /// The agreed parameters of permessage-deflate. No state of a compressor lasts longer than a message.
    deflate: Option<String>,
    admitted_by: Option<PasswordMark>,
    /// Milliseconds since the connection began.
    age_ms: u64,
    replacements: u32,
    has_ponged: bool,
    /// Messages that were read and wait for their turn.
    held: Vec<HeldMessage>,
    /// Bytes as Base64: received of an incomplete message, and to be sent before anything else.
    unread: String,
    unwritten: String,
    command: Option<Box<Commanding>>,
}

#[derive(Serialize, Deserialize)]
struct HeldMessage {
    is_text: bool,
    /// As Base64.
    message: String,
}

impl Connection {
    /// One round of a connection that shall be given to another process: no message is taken in, what waits for the disk
    /// is answered, and what the library has received is held.
    pub(super) fn poll_frozen(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<End> {
        match self.freeze_round(cx, now) {
            Ok(true) => Poll::Ready(End::Frozen),
            Ok(false) => Poll::Pending,
            Err(reason) => Poll::Ready(End::Closed(reason)),
        }
    }

    /// Returns whether it is ready.
    fn freeze_round(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, CloseReason> {
        self.frames.meter().freeze();
        let wall = wall_clock();
        self.release_durable(now, wall);
        for fact in self.control.take_facts() {
            self.station.handle_fact(fact, wall);
        }
        self.drain(cx, now, wall)?;
        self.flush(cx, now)?;
        if !self.pending.is_empty() || !self.station.is_between_messages() {
            return Ok(false);
        }
        loop {
            let received = match self.frames.poll_received(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(received) => received.map_err(broken)?,
            };
            match received {
                None => break,
                Some(Incoming::Text(message)) => self.hold(message, true, now),
                Some(Incoming::Binary(message)) => self.hold(message, false, now),
                Some(Incoming::Ping) => {}
                Some(Incoming::Pong) => self.has_ponged = true,
                Some(Incoming::Close(code)) => return Err(CloseReason::ByCharger(code)),
            }
        }
        // Of a long message all bytes are read first.
        Ok(self.frames.meter().has_all_begun())
    }

    /// Gives the connection to [`Parts::carried`]. No record is appended, and the charger stays in the registry.
    ///
    /// # Errors
    /// The connection itself, when something waits.
    pub(super) fn carry(self: Box<Self>) -> Result<(), Box<Self>> {
        if !self.station.is_between_messages() {
            return Err(self);
        }
        let this = *self;
        this.control.leave_turns();
        if let Some(claimed) = this.control.close_for_commands() {
            // If this is too late to be stored, the other process finds in the journal that it was not sent.
            this.parts.commands.give_back(claimed);
        }
        let deflate = this.frames.deflate().map(str::to_owned);
        let charger_id = this.station.charger_id().to_owned();
        let epoch = this.control.epoch;
        let (taken, station) = (this.frames.into_taken(), this.station.into_carried());
        let (Some(taken), Some(station)) = (taken, station) else {
            // The peer is gone.
            let why = CloseReason::Broken("while the connection was given away".to_owned());
            let record =
                central::record::disconnected(&charger_id, epoch, &why.as_text(), wall_clock());
            let _ = this.parts.delivery.journal.append(&record, None);
            let registry = &this.parts.registry;
            registry.release(&this.key, &this.control, ResendMemory::default());
            return Ok(());
        };
        let state = State {
            station,
            peer: this.control.peer,
            deflate,
            admitted_by: this.control.admitted_by,
            age_ms: u64::try_from(this.control.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            replacements: this.control.replacements(),
            has_ponged: this.has_ponged,
            held: this
                .held
                .iter()
                .map(|held| HeldMessage {
                    is_text: held.is_text,
                    message: BASE64_STANDARD.encode(&held.message),
                })
                .collect(),
            unread: BASE64_STANDARD.encode(&taken.unread),
            unwritten: BASE64_STANDARD.encode(&taken.unwritten),
            command: this.commanding,
        };
        let carried = CarriedConnection {
            charger_id,
            epoch,
            socket: taken.socket,
            // Only maps with keys that are no texts cannot be JSON.
            state: serde_json::value::to_raw_value(&state)
                .unwrap_or_else(|_| RawValue::NULL.to_owned()),
        };
        lock(&this.parts.carried).push(carried);
        Ok(())
    }

    /// How long it has lasted, also at another process.
    pub(crate) fn age(&self) -> Duration {
        self.control.began.elapsed()
    }

    /// The charger's identity, and the connection's epoch.
    pub(crate) fn named(&self) -> (String, Epoch) {
        (self.station.charger_id().to_owned(), self.control.epoch)
    }

    /// A connection that another process had; it runs once it is spawned. `learnt` is what the journal says of the
    /// charger's messages. Nothing is appended, read or sent before it runs. Must be called within a runtime, once for a
    /// charger.
    ///
    /// # Errors
    /// When this process cannot go on with it.
    pub(crate) fn carried_on(
        parts: &Arc<Parts>,
        arrived: Arrived,
        learnt: ResendMemory,
    ) -> Result<Box<Self>, Box<NotResumed>> {
        let Arrived {
            charger_id,
            epoch,
            socket,
            read,
        } = arrived;
        let read = match read {
            Ok(read) => read,
            Err(why) => {
                return Err(Box::new(NotResumed {
                    charger_id,
                    epoch,
                    memory: learnt,
                    socket: Some(socket),
                    why,
                }));
            }
        };
        let Read { state, held, .. } = read;
        let (admission, directory) = (&parts.admission, &parts.directory);
        let key = ChargerKey::of(&charger_id);
        let profile = directory.charger(&key);
        let permit = admission.acquire().ok();
        let unknown = match profile {
            Some(_) => None,
            None => {
                let (address, has_known) = (state.peer.address(), directory.has_chargers());
                admission
                    .unknown_connections
                    .acquire(address, has_known)
                    .ok()
            }
        };
        let has_place = permit.is_some() && (profile.is_some() || unknown.is_some());
        let taken = Taken {
            socket,
            unread: read.unread,
            unwritten: read.unwritten,
        };
        let line = Line::resume(taken, Arc::clone(&admission.lingering), (permit, unknown));
        let options = &parts.frame_options;
        let frames = Frames::new(line, state.deflate.as_deref(), profile.as_deref(), options);
        let frames = match frames {
            Ok(frames) => frames,
            Err(why) => {
                return Err(Box::new(NotResumed {
                    charger_id,
                    epoch,
                    memory: state.station.into_memory(learnt),
                    socket: None,
                    why,
                }));
            }
        };
        let now = Instant::now();
        let began = now.checked_sub(Duration::from_millis(state.age_ms));
        let control = Control::new(epoch, state.peer, state.admitted_by, now)
            .carried(began.unwrap_or(now), state.replacements);
        let control = Arc::new(control);
        parts.registry.claim(&key, &control);
        // The directory may have changed since this connection was told of changes.
        let credentials = directory.credentials(&key);
        if directory.is_loaded() && !credentials.admit(state.admitted_by) {
            control.stop(Stop::Refused);
        } else if !has_place {
            control.stop(Stop::NotCarried);
        }
        let policy = Arc::clone(&admission.policy);
        let station = Station::resume(state.station, profile, policy, learnt);
        let mut connection = Self::new(Arc::clone(parts), control, key, station, frames);
        if let Some(command) = &state.command {
            parts.commands.adopt(command.id());
        }
        connection.commanding = state.command;
        connection.has_ponged = state.has_ponged;
        for (message, is_text) in held {
            connection.hold(message, is_text, now);
        }
        Ok(connection)
    }
}

/// A connection with which this process cannot go on.
pub(crate) struct NotResumed {
    pub(crate) charger_id: String,
    pub(crate) epoch: Epoch,
    /// What is remembered of the charger's messages, for its next connection.
    pub(crate) memory: ResendMemory,
    /// `None` if it is closed already.
    pub(crate) socket: Option<TcpStream>,
    pub(crate) why: String,
}

/// What was read of a [`State`].
pub(crate) struct Read {
    state: State,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
    held: Vec<(Bytes, bool)>,
}

impl Read {
    pub(crate) fn of(json: &str) -> Result<Self, String> {
        let state: State = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if let Some(deflate) = &state.deflate
            && agree_deflate(deflate).as_deref() != Some(deflate)
        {
            return Err(format!("unknown parameters of compression: {deflate}"));
        }
        let decode = |text: &String| {
            let bytes = BASE64_STANDARD.decode(text);
            bytes.map_err(|error| format!("Base64: {error}"))
        };
        let mut held = Vec::with_capacity(state.held.len());
        for message in &state.held {
            held.push((decode(&message.message)?.into(), message.is_text));
        }
        Ok(Self {
            unread: decode(&state.unread)?,
            unwritten: decode(&state.unwritten)?,
            held,
            state,
        })
    }

    /// Whether the memory of resends has come with it, so that the journal need not be read for it.
    pub(crate) fn remembers(&self) -> bool {
        self.state.station.remembers()
    }
}
