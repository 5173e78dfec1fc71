//! One charger's WebSocket: messages in, answers out, both bounded.
//!
//! The WebSocket library (yawc) is used in this file only, so that it can be replaced. This file adds small buffers (an
//! idle charger must not cost kilobytes), a bound on the bytes that wait for a slow reader, a bound on pending pongs,
//! compressed frames that were not negotiated (quirk 24), and a socket that lingers after its last frame so that the
//! peer can read it.

use crate::admission::unknown::UnknownPermit;
use crate::connection::unfinished::{Budget, Meter, SharedMeter};
use crate::connection::wire::Taken;
use bytes::Bytes;
use central::model::{ChargerProfile, FRAME_BYTES_MAX};
use central::station::SizeLimit;
use common::lock::lock;
use futures_util::{Sink, SinkExt};
use metrics::{Counter, counter};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use yawc::close::CloseCode;
use yawc::frame::{Frame, OpCode};
use yawc::{CompressionLevel, DeflatePool, Options, Role, WebSocket, WebSocketError};

/// Bytes of the read buffer: about six usual messages. It grows for a long message and shrinks again. Half of it would
/// save every idle charger one KiB, and cost a busy one a system call for every third message.
const READ_BUFFER: usize = 2_048;
/// Bytes of the write buffer: one usual answer. It grows and shrinks as the read buffer does.
const WRITE_BUFFER: usize = 512;
/// Bytes that the library may hold before it must write them.
const WRITE_BOUNDARY: usize = 4_096;
/// Pending pongs above which nothing more is read: a flood of pings then waits for its own answers.
const PENDING_PONGS_MAX: u32 = 16;
/// Deflate states kept for reuse, per direction: as many as there are messages in progress at once.
const DEFLATE_POOL: usize = 16;
/// How long a closed socket may linger.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that it reads meanwhile at most.
const LINGER_BYTES: usize = 4 << 20;
/// Bytes that a lingering socket reads at a time; this is the memory that it costs.
const LINGER_BUFFER: usize = 4 << 10;
/// The parameters that are always part of the agreement; see `handshake::agree_deflate`.
const NO_CONTEXT: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// How long a message of one connection may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageLimit {
    /// Bytes at most.
    pub(crate) bytes_max: usize,
    /// What says so.
    pub(crate) source: SizeLimit,
}

impl MessageLimit {
    /// The lower of both; this one if they are equal.
    pub(crate) const fn at_most(self, other: Self) -> Self {
        if other.bytes_max < self.bytes_max {
            return other;
        }
        self
    }
}

/// How long messages may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// For chargers whose profile says nothing.
    pub(crate) default: MessageLimit,
    /// What no profile can exceed.
    pub(crate) most: MessageLimit,
}

impl MessageLimits {
    /// The limit for a charger with this profile.
    pub(crate) fn of(&self, profile: Option<&ChargerProfile>) -> MessageLimit {
        let Some(bytes_max) = profile.and_then(|profile| profile.frame_bytes_max) else {
            return self.default;
        };
        let (least, most) = (*FRAME_BYTES_MAX.start(), *FRAME_BYTES_MAX.end());
        let of_charger = MessageLimit {
            bytes_max: bytes_max.clamp(least, most) as usize,
            source: SizeLimit::Charger,
        };
        of_charger.at_most(self.most)
    }
}

/// Options that all connections' WebSockets share.
#[derive(Clone)]
pub(crate) struct FrameOptions {
    compressed: Options,
    plain: Options,
    limits: MessageLimits,
    budget: Arc<Budget>,
}

impl FrameOptions {
    /// `limits` bound one message; answers shorter than `compress_from_bytes` are not compressed. Bytes of
    /// unfinished messages are counted in `budget`.
    pub(crate) fn new(
        limits: MessageLimits,
        compress_from_bytes: usize,
        budget: Arc<Budget>,
    ) -> Self {
        let base = Options::default()
            .with_compression_level(CompressionLevel::fast())
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(DEFLATE_POOL))
            .with_read_buffer_capacity(READ_BUFFER)
            .with_write_buffer_capacity(WRITE_BUFFER)
            .with_backpressure_boundary(WRITE_BOUNDARY);
        Self {
            compressed: base.clone().with_compression_threshold(compress_from_bytes),
            // Reads compressed frames although none were negotiated, and never compresses.
            plain: base.with_compression_threshold(usize::MAX),
            limits,
            budget,
        }
    }
}

/// A received message or control frame.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A text message; not necessarily UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping; its pong is pending.
    Ping,
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The peer closed the connection without a close frame.
    Ended,
    /// A message above the limit; a close frame with 1009 is queued.
    TooLarge {
        /// At least so many bytes.
        bytes: u64,
        /// The limit.
        limit: MessageLimit,
    },
    /// Any other error.
    Broken(String),
}

/// One WebSocket.
pub(crate) struct Frames {
    socket: WebSocket<Line>,
    meter: SharedMeter,
    /// What was agreed at the handshake.
    deflate: Option<Box<str>>,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    flushing: bool,
    pending_pongs: u32,
    /// A close frame is queued already.
    is_closing: bool,
}

impl Frames {
    /// A WebSocket over a connection whose handshake is done; `deflate` is what was agreed, and the charger's `profile` may
    /// say how long its messages may be.
    pub(crate) fn new(
        mut line: Line,
        deflate: Option<&str>,
        profile: Option<&ChargerProfile>,
        options: &FrameOptions,
    ) -> Result<Self, String> {
        let limit = options.limits.of(profile);
        let meter = Meter::new(&options.budget, limit);
        let meter = Arc::new(Mutex::new(meter));
        line.meter = Some(Arc::clone(&meter));
        let flushing = !line.unwritten.is_empty();
        let options = match deflate {
            Some(_) => &options.compressed,
            None => &options.plain,
        };
        // The library's limits are exclusive.
        let exclusive = limit.bytes_max + 1;
        let socket = WebSocket::from_stream_with_extensions(
            line,
            Role::Server,
            Some(deflate.unwrap_or(NO_CONTEXT)),
            options.clone().with_limits(exclusive, exclusive),
        )
        .map_err(|error| error.to_string())?;
        Ok(Self {
            socket,
            meter,
            deflate: deflate.map(Box::from),
            queue: VecDeque::new(),
            queued_bytes: 0,
            flushing,
            pending_pongs: 0,
            is_closing: false,
        })
    }

    /// The permessage-deflate parameters that were agreed at the handshake.
    pub(crate) fn deflate(&self) -> Option<&str> {
        self.deflate.as_deref()
    }

    /// The next message or control frame that was received already; `Ready(Ok(None))` if there is none. For a frozen
    /// connection (see [`Meter::freeze`]).
    pub(crate) fn poll_received(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Incoming>, ReadError>> {
        if self.pending_pongs >= PENDING_PONGS_MAX {
            ready!(self.poll_pongs(cx))?;
        }
        match self.poll_read(cx) {
            Poll::Pending => Poll::Ready(Ok(None)),
            Poll::Ready(read) => Poll::Ready(read.map(Some)),
        }
    }

    /// Takes the socket out of a frozen connection between two messages. What could not be sent is in
    /// [`Taken::unwritten`], what was received of an incomplete message in [`Taken::unread`]. Nothing is sent by this.
    pub(crate) fn into_taken(mut self) -> Option<Taken> {
        self.meter().wire()?.capture();
        // Writing succeeds at once: the bytes are only collected.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Ok(())) = self.poll_flush(&mut cx, &mut false) else {
            return None;
        };
        let meter = Arc::clone(&self.meter);
        drop(self);
        let mut meter = lock(&meter);
        let mut unread = meter.take_begun();
        let mut taken = meter.wire()?.take()?;
        unread.append(&mut taken.unread);
        Some(Taken { unread, ..taken })
    }

    /// The progress of the message that is being received.
    pub(crate) fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }

    /// Bytes of answers that the library has not accepted yet.
    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether something waits to be written, pongs included.
    pub(crate) fn is_writing(&self) -> bool {
        self.flushing || self.pending_pongs > 0 || !self.queue.is_empty()
    }

    /// Queues a text message; [`Frames::poll_flush`] sends it.
    pub(crate) fn send(&mut self, text: String) {
        self.enqueue(Frame::text(text));
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self) {
        self.enqueue(Frame::ping(Bytes::new()));
    }

    /// Queues a close frame, after which nothing may follow; does nothing if the library has queued one itself.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if !std::mem::replace(&mut self.is_closing, true) {
            self.enqueue(Frame::close(CloseCode::from(code), reason));
        }
    }

    fn enqueue(&mut self, frame: Frame) {
        self.queued_bytes += frame.payload().len();
        self.queue.push_back(frame);
    }

    /// Reads the next message. Also sends pending pongs.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ReadError>> {
        if self.pending_pongs >= PENDING_PONGS_MAX {
            ready!(self.poll_pongs(cx))?;
        }
        let frame = match ready!(self.socket.poll_next_frame(cx)) {
            Ok(frame) => frame,
            Err(error) => {
                self.is_closing = true;
                let error = match error {
                    WebSocketError::FrameTooLarge => self.meter().too_large(),
                    other => read_error(&other),
                };
                return Poll::Ready(Err(error));
            }
        };
        let incoming = match frame.opcode() {
            OpCode::Binary => Incoming::Binary(frame.into_payload()),
            OpCode::Ping => {
                self.pending_pongs += 1;
                Incoming::Ping
            }
            OpCode::Pong => Incoming::Pong,
            OpCode::Close => {
                self.is_closing = true;
                Incoming::Close(frame.close_code().map(u16::from))
            }
            // The library has joined fragments by now.
            OpCode::Text | OpCode::Continuation => Incoming::Text(frame.into_payload()),
        };
        Poll::Ready(Ok(incoming))
    }

    /// Sends the pending pongs.
    fn poll_pongs(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        ready!(self.socket.poll_ready_unpin(cx)).map_err(|error| read_error(&error))?;
        self.pending_pongs = 0;
        Poll::Ready(Ok(()))
    }

    /// Writes what is queued, in one write if it fits. `Ready(Ok(()))` when everything is written, `Pending` when the peer
    /// does not read it; sets `progress` if some of it was written.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<Result<(), ReadError>> {
        if self.pending_pongs > 0 {
            ready!(self.poll_pongs(cx))?;
        }
        while !self.queue.is_empty() {
            ready!(self.socket.poll_ready_unpin(cx)).map_err(|error| read_error(&error))?;
            let Some(frame) = self.queue.pop_front() else {
                break;
            };
            self.queued_bytes -= frame.payload().len();
            self.socket
                .start_send_unpin(frame)
                .map_err(|error| read_error(&error))?;
            self.flushing = true;
            *progress = true;
        }
        if self.flushing {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))
                .map_err(|error| read_error(&error))?;
            self.flushing = false;
            *progress = true;
        }
        if self.queue.capacity() > 16 {
            self.queue = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }
}

fn read_error(error: &WebSocketError) -> ReadError {
    match error {
        WebSocketError::ConnectionClosed => ReadError::Ended,
        other => ReadError::Broken(other.to_string()),
    }
}

/// A TCP connection with the bytes that were read beyond the handshake. When it is dropped before the peer has closed
/// it, it shuts down writing and reads on for a moment: closing a socket with unread bytes would reset it, and the peer
/// would lose the last frame. [`Lingering`] bounds how many sockets do that at a time.
pub(crate) struct Line {
    socket: Option<TcpStream>,
    early: Vec<u8>,
    ended: bool,
    lingering: Arc<Lingering>,
    /// The permit for the connection, once it has one, and that of an unknown charger, if it is one.
    permits: (Option<OwnedSemaphorePermit>, Option<UnknownPermit>),
    /// Follows the frames after the handshake.
    meter: Option<SharedMeter>,
    /// To be sent before anything else: what another process had not sent.
    unwritten: Vec<u8>,
}

impl Line {
    pub(crate) const fn new(socket: TcpStream, lingering: Arc<Lingering>) -> Self {
        Self {
            socket: Some(socket),
            early: Vec::new(),
            ended: false,
            lingering,
            permits: (None, None),
            meter: None,
            unwritten: Vec::new(),
        }
    }

    /// Holds the permits until the connection is dropped.
    pub(crate) fn hold(&mut self, permit: OwnedSemaphorePermit, unknown: Option<UnknownPermit>) {
        self.permits = (Some(permit), unknown);
    }

    /// The connection of another process, whose handshake is done. `permits` as for [`Line::hold`].
    pub(crate) fn resume(
        taken: Taken,
        lingering: Arc<Lingering>,
        permits: (Option<OwnedSemaphorePermit>, Option<UnknownPermit>),
    ) -> Self {
        let mut line = Self::new(taken.socket, lingering);
        line.early = taken.unread;
        line.unwritten = taken.unwritten;
        line.permits = permits;
        line
    }

    /// Sends what another process had not sent.
    fn poll_unwritten(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.unwritten.is_empty() {
            let bytes = std::mem::take(&mut self.unwritten);
            let result = self.socket()?.poll_write(cx, &bytes);
            self.unwritten = bytes;
            match ready!(result) {
                Ok(0) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Ok(count) => drop(self.unwritten.drain(..count)),
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.unwritten = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Collects `bytes` if the connection is given to another process.
    fn capture(&self, bytes: &[u8]) -> bool {
        let Some(meter) = &self.meter else {
            return false;
        };
        let mut meter = lock(meter);
        match meter.wire().and_then(|wire| wire.captured()) {
            Some(captured) => {
                captured.extend_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Sends `text` if the operating system accepts it at once, and closes without lingering. For a peer that has sent
    /// nothing, so that there are no unread bytes.
    pub(crate) fn hang_up(mut self, text: &[u8]) {
        if let Some(socket) = self.socket.take() {
            let _ = socket.try_write(text);
        }
    }

    /// Sends `text` as [`Line::hang_up`] does. Lingers only while less than half of the permits for lingering are used: for
    /// refusals, of which anybody can cause any number.
    pub(crate) fn refuse_at_once(mut self, text: &[u8]) {
        if let Some(socket) = &self.socket {
            let _ = socket.try_write(text);
        }
        self.ended |= self.lingering.is_half_full();
    }

    /// Bytes to be read before all others.
    pub(crate) fn push_back(&mut self, mut bytes: Vec<u8>) {
        bytes.append(&mut self.early);
        self.early = bytes;
    }

    fn socket(&mut self) -> std::io::Result<Pin<&mut TcpStream>> {
        self.socket
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(meter) = self.meter.take()
            && let Some(wire) = lock(&meter).wire()
            && wire.captured().is_some()
            && let Some(socket) = self.socket.take()
        {
            let (early, unwritten) = (&mut self.early, &mut self.unwritten);
            wire.leave(socket, std::mem::take(early), std::mem::take(unwritten));
            return;
        }
        if self.ended {
            return;
        }
        if let (Some(socket), Ok(runtime)) =
            (self.socket.take(), tokio::runtime::Handle::try_current())
        {
            // At the bound the socket is closed at once, and the last frame may be lost.
            if let Some(permit) = self.lingering.acquire() {
                runtime.spawn(linger(socket, permit));
            }
        }
    }
}

/// Bounds the sockets that linger: at most `max`, each with a file handle and 4 KiB for at most a second. Beyond that
/// sockets are closed at once, which is counted.
pub(crate) struct Lingering {
    permits: Arc<Semaphore>,
    max: usize,
    refused: Counter,
}

impl Lingering {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(max)),
            max,
            refused: counter!("wattpost_gateway_linger_refused_total"),
        })
    }

    /// Number of sockets that linger now.
    pub(crate) fn count(&self) -> usize {
        self.max.saturating_sub(self.permits.available_permits())
    }

    fn is_half_full(&self) -> bool {
        self.permits.available_permits() <= self.max / 2
    }

    fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        if permit.is_none() {
            self.refused.increment(1);
        }
        permit
    }
}

async fn linger(mut socket: TcpStream, permit: OwnedSemaphorePermit) {
    let read_on = async {
        socket.shutdown().await?;
        let mut discarded = vec![0; LINGER_BUFFER];
        let mut left = LINGER_BYTES;
        while left > 0 {
            let read = socket.read(&mut discarded).await?;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER, read_on).await;
    // The file handle is closed before another socket may linger.
    drop(socket);
    drop(permit);
}

impl Line {
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..count]);
            if count == self.early.len() {
                self.early = Vec::new();
            } else {
                self.early.drain(..count);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = ready!(self.socket()?.poll_read(cx, buf));
        if result.is_err() || buf.filled().len() == before {
            self.ended = true;
        }
        Poll::Ready(result)
    }
}

impl AsyncRead for Line {
    /// Pending without a waker while the connection's gate is closed (see [`Meter`]): the task that closed it polls again
    /// when it is open.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self
            .meter
            .as_ref()
            .is_some_and(|meter| !lock(meter).may_read())
        {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(self.poll_bytes(cx, buf))?;
        if let Some(meter) = &self.meter {
            lock(meter).take(&buf.filled()[before..], Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.capture(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_unwritten(cx))?;
        let result = ready!(self.socket()?.poll_write(cx, bytes));
        self.ended |= result.is_err();
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.capture(&[]) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_unwritten(cx))?;
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn bytes_that_are_pushed_back_come_before_all_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let _peer = TcpStream::connect(address).await.expect("connects");
        let (socket, _) = listener.accept().await.expect("accepts");
        let mut line = Line::new(socket, Lingering::new(1));
        line.push_back(b"c".to_vec());
        line.push_back(b"ab".to_vec());
        let mut read = [0; 3];
        line.read_exact(&mut read).await.expect("reads");
        assert_eq!(&read, b"abc");
    }

    /// The peer never reads, writes or closes, so every socket lingers for its second.
    #[tokio::test]
    async fn closed_sockets_linger_up_to_a_bound_and_others_are_closed_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let lingering = Lingering::new(4);
        let mut peers = Vec::new();
        let mut lines = Vec::new();
        for _ in 0..50 {
            peers.push(TcpStream::connect(address).await.expect("connects"));
            let (socket, _) = listener.accept().await.expect("accepts");
            lines.push(Line::new(socket, Arc::clone(&lingering)));
        }
        for line in lines {
            drop(line);
            assert!(lingering.count() <= 4, "{}", lingering.count());
        }
        assert_eq!(lingering.count(), 4);
        // Lingering sockets keep their file handle and their permit until their time is over.
        let deadline = tokio::time::Instant::now() + LINGER * 20;
        while lingering.count() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "they still linger");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
