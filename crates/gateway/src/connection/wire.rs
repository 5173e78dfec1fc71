//! Takes the TCP connection out from below the WebSocket library, which does not give it back. From the moment of
//! [`Wire::capture`] on, what the library writes is collected instead of sent, so that no byte of it is lost; and when
//! the library is dropped, its [`Line`](crate::connection::frames::Line) leaves the socket here.

use tokio::net::TcpStream;

/// What a connection and its line share while it is given to another process.
#[derive(Default)]
pub(crate) struct Wire {
    /// What the library has written since the capture; `None` before it.
    captured: Option<Vec<u8>>,
    taken: Option<Taken>,
}

/// A socket with what was not handed to the peer or to the library.
pub(crate) struct Taken {
    pub(crate) socket: TcpStream,
    /// Read from the socket, but not by the library.
    pub(crate) unread: Vec<u8>,
    /// To be sent before anything else.
    pub(crate) unwritten: Vec<u8>,
}

impl Wire {
    /// From now on, nothing is sent.
    pub(crate) fn capture(&mut self) {
        self.captured.get_or_insert_default();
    }

    /// Where bytes go instead of to the socket.
    pub(crate) const fn captured(&mut self) -> Option<&mut Vec<u8>> {
        self.captured.as_mut()
    }

    /// The library was dropped. `unwritten` are bytes that come before the captured ones.
    pub(crate) fn leave(&mut self, socket: TcpStream, unread: Vec<u8>, mut unwritten: Vec<u8>) {
        unwritten.append(&mut self.captured.take().unwrap_or_default());
        self.taken = Some(Taken {
            socket,
            unread,
            unwritten,
        });
    }

    /// What the line has left.
    pub(crate) const fn take(&mut self) -> Option<Taken> {
        self.taken.take()
    }
}
