//! The reference: a WebSocket echo server on the library of the gateway.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use sha1::{Digest, Sha1};
use std::io::Write;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use yawc::{OpCode, Options, Role, WebSocket};

pub(crate) async fn run(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.context("bind")?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (socket, _) = listener.accept().await.context("accept")?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Some(socket) = upgrade(socket).await {
                // In a new task, as in the gateway, so that the memory of the handshake is freed.
                tokio::spawn(echo(socket));
            }
        });
    }
}

async fn echo(mut socket: WebSocket<TcpStream>) {
    while let Some(frame) = socket.next().await {
        if frame.opcode() == OpCode::Text && socket.send(frame).await.is_err() {
            return;
        }
    }
}

async fn upgrade(mut socket: TcpStream) -> Option<WebSocket<TcpStream>> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8192 || socket.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?
        .1
        .trim();
    let mut sha = Sha1::new();
    sha.update(key);
    sha.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(sha.finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).await.ok()?;
    let options = Options::default()
        .without_compression()
        .with_read_buffer_capacity(4096)
        .with_write_buffer_capacity(1024);
    WebSocket::from_stream(socket, Role::Server, options).ok()
}
