//! The load: chargers that send the next meter value as soon as the last one is answered (a closed
//! loop), or at a rate that does not ask how the server is (an open one). There an answer's wait counts
//! from when its message was due, so that a server that stalls cannot hide it.
//!
//! The client is as small as a client can be (one buffer, two system calls a message), so that on a
//! machine where both ends share the cores it disturbs what is measured as little as possible. Every
//! message differs from every other in its timestamp and values, so none is taken for a resend.

use anyhow::{Context, Result, bail, ensure};
use common::lock::lock;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one cell of the table measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) answers: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// CPU seconds of the load itself.
    pub(crate) cpu_seconds: f64,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

pub(crate) async fn run(
    server: SocketAddr,
    chargers: u32,
    seconds: f64,
    prefix: &str,
    rate: Option<f64>,
) -> Result<()> {
    let origin = Instant::now() + Duration::from_millis(100);
    let measuring = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    let mut waits_of_all: Vec<Arc<Mutex<Vec<u32>>>> = Vec::new();
    for number in 0..chargers {
        let mut charger = Charger::connect(server, &format!("{prefix}{number:05}")).await?;
        let (measuring, stop) = (Arc::clone(&measuring), Arc::clone(&stop));
        let pause = rate.map(|rate| Duration::from_secs_f64(f64::from(chargers) / rate));
        let offset = pause.map(|pause| pause.mul_f64(f64::from(number) / f64::from(chargers)));
        let waits = Arc::new(Mutex::new(Vec::new()));
        waits_of_all.push(Arc::clone(&waits));
        tasks.push(tokio::spawn(async move {
            let mut due = origin + offset.unwrap_or_default();
            while !stop.load(Ordering::Relaxed) {
                let mut begun = Instant::now();
                if let Some(pause) = pause {
                    // One that is behind sends at once, and its wait counts from when it was due.
                    tokio::time::sleep_until(due.into()).await;
                    begun = due;
                    due += pause;
                }
                charger.exchange().await?;
                if measuring.load(Ordering::Relaxed) {
                    let wait_ns = u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX);
                    lock(&waits).push(wait_ns);
                }
            }
            anyhow::Ok(())
        }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    measuring.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    measuring.store(false, Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    // A server may be so far behind that it answers nobody any more for minutes.
    let patience = tokio::time::Instant::now() + PATIENCE;
    for mut task in tasks {
        match tokio::time::timeout_at(patience, &mut task).await {
            Ok(ended) => ended.context("a charger's task")??,
            Err(_) => task.abort(),
        }
    }
    let mut waits_ns: Vec<u32> = Vec::new();
    for waits in waits_of_all {
        waits_ns.append(&mut lock(&waits));
    }
    ensure!(!waits_ns.is_empty(), "no message was answered");
    waits_ns.sort_unstable();
    let at = |share: f64| {
        let place = ((waits_ns.len() - 1) as f64 * share).round() as usize;
        f64::from(waits_ns[place]) / 1e3
    };
    let measured = Measured {
        answers: waits_ns.len() as u64,
        seconds,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
        cpu_seconds: crate::process::cpu_seconds(std::process::id())?,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Opens connections, says so on stdout, and holds them until stdin closes.
pub(crate) async fn idle(server: SocketAddr, chargers: u32) -> Result<()> {
    let mut held = Vec::new();
    for number in 0..chargers {
        let mut charger = Charger::connect(server, &format!("IDLE-{number:05}")).await?;
        charger.exchange().await?;
        // The client's own memory does not matter, its buffers are dropped all the same.
        held.push(charger.socket);
    }
    println!("holding {}", held.len());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await
        .context("wait for the end of stdin")??;
    Ok(())
}

struct Charger {
    socket: TcpStream,
    /// A whole frame: header, mask of zeros, text. Only digits in it change.
    frame: Vec<u8>,
    sent: u64,
    buffer: Vec<u8>,
}

/// 300 bytes, as a 1.6 charger sends them every minute.
const TEXT: &str = concat!(
    r#"[2,"0000000000","MeterValues",{"connectorId":1,"transactionId":4711,"meterValue":[{"#,
    r#""timestamp":"2026-01-01T00:00:00.000Z","sampledValue":["#,
    r#"{"value":"0000000000","measurand":"Energy.Active.Import.Register","unit":"Wh"},"#,
    r#"{"value":"11040","measurand":"Power.Active.Import","unit":"W"},"#,
    r#"{"value":"57","measurand":"SoC","unit":"Percent"}]}]}]"#
);

impl Charger {
    async fn connect(server: SocketAddr, identity: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(server).await.context("connect")?;
        socket.set_nodelay(true)?;
        let request = format!(
            "GET /ocpp/{identity} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(
                socket.read_buf(&mut head).await? > 0,
                "the server closed during the handshake"
            );
        }
        ensure!(
            head.starts_with(b"HTTP/1.1 101"),
            "the server refused: {}",
            String::from_utf8_lossy(&head)
        );
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&u16::try_from(TEXT.len())?.to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(TEXT.as_bytes());
        Ok(Self {
            socket,
            frame,
            sent: 0,
            buffer: Vec::with_capacity(1024),
        })
    }

    /// Sends the next message and waits for one text frame.
    async fn exchange(&mut self) -> Result<()> {
        self.sent += 1;
        self.number();
        self.socket.write_all(&self.frame).await?;
        loop {
            if let Some(end) = self.text_frame_end()? {
                self.buffer.drain(..end);
                return Ok(());
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }

    /// Makes this message differ from every other of this charger.
    fn number(&mut self) {
        const HEADER: usize = 8;
        let id = HEADER + 4;
        let time = HEADER + TEXT.find("T00:00").unwrap_or(0) + 1;
        let value = HEADER + TEXT.find(r#""value":"0000000000"#).unwrap_or(0) + 9;
        digits(&mut self.frame[id..id + 10], self.sent);
        digits(&mut self.frame[value..value + 10], self.sent);
        let ms = self.sent;
        digits(&mut self.frame[time..time + 2], ms / 3_600_000 % 24);
        digits(&mut self.frame[time + 3..time + 5], ms / 60_000 % 60);
        digits(&mut self.frame[time + 6..time + 8], ms / 1_000 % 60);
        digits(&mut self.frame[time + 9..time + 12], ms % 1_000);
    }

    /// Where the first text frame in the buffer ends, if it is whole; answers pings on the way out.
    fn text_frame_end(&mut self) -> Result<Option<usize>> {
        loop {
            let [first, second, ..] = self.buffer[..] else {
                return Ok(None);
            };
            let (header, len) = match second & 0x7f {
                126 => match self.buffer.get(2..4) {
                    Some(bytes) => (4, usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))),
                    None => return Ok(None),
                },
                127 => bail!("a frame of more than 64 KiB"),
                short => (2, usize::from(short)),
            };
            if self.buffer.len() < header + len {
                return Ok(None);
            }
            match first & 0x0f {
                1 => return Ok(Some(header + len)),
                8 => bail!("the server closed the connection"),
                _ => {
                    self.buffer.drain(..header + len);
                }
            }
        }
    }
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
