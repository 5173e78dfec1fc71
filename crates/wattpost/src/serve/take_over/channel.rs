//! Messages with file handles between two processes of one gateway, over a Unix socket.
//!
//! ```text
//! message: kind (1 byte) | handles (1 byte) | length of the content (4 bytes, big endian) | content
//! ```
//! The handles (`SCM_RIGHTS`) come with the first byte. All calls block, up to the socket's timeouts.

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Handles of one message at most; Linux passes 253.
pub(super) const HANDLES_MAX: usize = 200;
/// Bytes of one message at most: [`HANDLES_MAX`] connections with all that may wait in each.
const CONTENT_MAX: usize = 256 << 20;
const HEAD: usize = 6;
const SPACE: usize = rustix::cmsg_space!(ScmRights(HANDLES_MAX));

/// The kinds of messages. Numbers are never given to another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To the old process: who asks.
    Hello = 1,
    /// To the new process: it may prepare.
    Welcome = 2,
    /// To the new process: why it may not take over.
    Refused = 3,
    /// To the old process: everything is ready except what the old one has.
    Prepared = 4,
    /// To the new process: the state of the gateway, with the listeners.
    Gateway = 5,
    /// To the new process: some connections, with their sockets.
    Connections = 6,
    /// To the old process: only the word to go on is missing.
    Ready = 7,
    /// To the new process: the old one does nothing any more.
    Go = 8,
    /// To the old process: the new one serves.
    Serving = 9,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        const ALL: [Kind; 9] = [
            Kind::Hello,
            Kind::Welcome,
            Kind::Refused,
            Kind::Prepared,
            Kind::Gateway,
            Kind::Connections,
            Kind::Ready,
            Kind::Go,
            Kind::Serving,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A received message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) content: Vec<u8>,
    pub(super) handles: Vec<OwnedFd>,
}

/// Sends one message.
///
/// # Errors
/// When the peer has gone or does not read in time.
pub(super) fn send(
    stream: &UnixStream,
    kind: Kind,
    content: &[u8],
    handles: &[BorrowedFd<'_>],
) -> Result<()> {
    ensure!(handles.len() <= HANDLES_MAX, "too many handles at once");
    let length = u32::try_from(content.len()).context("the message is too long")?;
    let mut head = [0; HEAD];
    head[0] = kind as u8;
    // At most `HANDLES_MAX`.
    head[1] = u8::try_from(handles.len()).unwrap_or(u8::MAX);
    head[2..].copy_from_slice(&length.to_be_bytes());
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !handles.is_empty() {
        ensure!(
            control.push(SendAncillaryMessage::ScmRights(handles)),
            "no room for the handles"
        );
    }
    let sent = loop {
        match sendmsg(
            stream,
            &[IoSlice::new(&head)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result.context("send to the other process")?,
        }
    };
    let mut writer = stream;
    writer
        .write_all(&head[sent..])
        .and_then(|()| writer.write_all(content))
        .context("send to the other process")
}

/// Receives one message; waits until `end` at most.
///
/// # Errors
/// When the peer has gone, sends nothing in time, or sends what is no message.
pub(super) fn receive(stream: &UnixStream, end: Instant) -> Result<Message> {
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "the other process did not answer in time");
        Ok(left)
    };
    let mut head = [0; HEAD];
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        stream.set_read_timeout(Some(left()?))?;
        let mut parts = [IoSliceMut::new(&mut head)];
        match recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            result => break result.context("receive from the other process")?.bytes,
        }
    };
    let mut handles = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            handles.extend(rights);
        }
    }
    ensure!(received > 0, "the other process has closed the connection");
    read_all(stream, &mut head[received..], &left)?;
    let Some(kind) = Kind::of(head[0]) else {
        bail!("the other process sent an unknown message ({})", head[0]);
    };
    ensure!(
        handles.len() == usize::from(head[1]),
        "{} of {} file handles arrived; raise the limit of open files (LimitNOFILE= in the systemd unit)",
        handles.len(),
        head[1]
    );
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
    ensure!(length <= CONTENT_MAX, "a message of {length} bytes");
    let mut content = vec![0; length];
    read_all(stream, &mut content, &left)?;
    Ok(Message {
        kind,
        content,
        handles,
    })
}

fn read_all(
    mut stream: &UnixStream,
    mut bytes: &mut [u8],
    left: &dyn Fn() -> Result<Duration>,
) -> Result<()> {
    while !bytes.is_empty() {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(bytes) {
            Ok(0) => bail!("the other process has closed the connection"),
            Ok(count) => bytes = &mut bytes[count..],
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(error).context("receive from the other process"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom};
    use std::os::fd::AsFd;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_message_arrives_with_its_handles() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut files: Vec<std::fs::File> = Vec::new();
        for n in 0..HANDLES_MAX {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "{n}").unwrap();
            files.push(file);
        }
        let content = vec![7; 3 << 20];
        let received = std::thread::scope(|scope| {
            scope.spawn(|| {
                let handles: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
                send(&here, Kind::Connections, &content, &handles).unwrap();
                send(&here, Kind::Go, b"", &[]).unwrap();
            });
            let first = receive(&there, soon()).unwrap();
            let second = receive(&there, soon()).unwrap();
            assert_eq!((second.kind, second.handles.len()), (Kind::Go, 0));
            first
        });
        assert_eq!(received.kind, Kind::Connections);
        assert_eq!(received.content, content);
        assert_eq!(received.handles.len(), HANDLES_MAX);
        for (n, handle) in received.handles.into_iter().enumerate() {
            let mut file = std::fs::File::from(handle);
            file.seek(SeekFrom::Start(0)).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, n.to_string());
        }
    }

    #[test]
    fn silence_the_end_and_nonsense_are_errors() {
        let said = |end, act: &dyn Fn(UnixStream) -> Option<UnixStream>| {
            let (here, there) = UnixStream::pair().unwrap();
            let _kept = act(here);
            format!("{:#}", receive(&there, end).unwrap_err())
        };
        let moment = Instant::now() + Duration::from_millis(20);
        let silent = said(moment, &Some);
        assert!(silent.contains("did not answer in time"), "{silent}");
        let gone = said(soon(), &|_| None);
        assert!(gone.contains("has closed the connection"), "{gone}");
        let write = |bytes: &'static [u8]| {
            move |mut stream: UnixStream| {
                stream.write_all(bytes).unwrap();
                Some(stream)
            }
        };
        let unknown = said(soon(), &write(&[99, 0, 0, 0, 0, 0]));
        assert!(unknown.contains("unknown message"), "{unknown}");
        let long = said(soon(), &write(&[8, 0, 255, 255, 255, 255]));
        assert!(long.contains("bytes"), "{long}");
        let without = said(soon(), &write(&[5, 1, 0, 0, 0, 0]));
        assert!(without.contains("0 of 1 file handles"), "{without}");
    }
}
