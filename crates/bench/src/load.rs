//! The load: chargers that send the next meter value as soon as the last one is answered (closed loop), or at a fixed
//! rate (open loop). In the open loop, latency counts from the time at which a message was due, so that a stall of the
//! server is fully counted.
//!
//! Client and server share the cores of the machine, so the client uses as little CPU as possible: one buffer and two
//! system calls per message. Messages differ in timestamp and values, so that none is treated as a resend.

use anyhow::{Context, Result, bail, ensure};
use common::lock::lock;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for the last answers.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of one cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) answers: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// CPU seconds of the load process.
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
    let mut all_latencies: Vec<Arc<Mutex<Vec<u32>>>> = Vec::new();
    for number in 0..chargers {
        let mut charger = Charger::connect(server, &format!("{prefix}{number:05}")).await?;
        let (measuring, stop) = (Arc::clone(&measuring), Arc::clone(&stop));
        let interval = rate.map(|rate| Duration::from_secs_f64(f64::from(chargers) / rate));
        let offset =
            interval.map(|interval| interval.mul_f64(f64::from(number) / f64::from(chargers)));
        let latencies = Arc::new(Mutex::new(Vec::new()));
        all_latencies.push(Arc::clone(&latencies));
        tasks.push(tokio::spawn(async move {
            let mut due = origin + offset.unwrap_or_default();
            while !stop.load(Ordering::Relaxed) {
                let mut started = Instant::now();
                if let Some(interval) = interval {
                    // A charger that is late sends at once; its latency counts from the due time.
                    tokio::time::sleep_until(due.into()).await;
                    started = due;
                    due += interval;
                }
                charger.exchange().await?;
                if measuring.load(Ordering::Relaxed) {
                    let latency_ns =
                        u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX);
                    lock(&latencies).push(latency_ns);
                }
            }
            anyhow::Ok(())
        }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    measuring.store(true, Ordering::Relaxed);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    measuring.store(false, Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    // An overloaded server may not answer for minutes.
    let deadline = tokio::time::Instant::now() + LAST_ANSWERS_TIMEOUT;
    for mut task in tasks {
        match tokio::time::timeout_at(deadline, &mut task).await {
            Ok(ended) => ended.context("the task of a charger failed")??,
            Err(_) => task.abort(),
        }
    }
    let mut latencies_ns: Vec<u32> = Vec::new();
    for latencies in all_latencies {
        latencies_ns.append(&mut lock(&latencies));
    }
    ensure!(!latencies_ns.is_empty(), "no message was answered");
    latencies_ns.sort_unstable();
    let at = |share: f64| {
        let index = ((latencies_ns.len() - 1) as f64 * share).round() as usize;
        f64::from(latencies_ns[index]) / 1e3
    };
    let measured = Measured {
        answers: latencies_ns.len() as u64,
        seconds,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
        cpu_seconds: crate::process::cpu_seconds(std::process::id())?,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Opens connections, prints a line on stdout, and holds the connections until stdin is closed.
pub(crate) async fn idle(server: SocketAddr, chargers: u32) -> Result<()> {
    let mut held = Vec::new();
    for number in 0..chargers {
        let mut charger = Charger::connect(server, &format!("IDLE-{number:05}")).await?;
        charger.exchange().await?;
        held.push(charger.socket);
    }
    println!("holding {}", held.len());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await
        .context("wait for the end of stdin")??;
    Ok(())
}

/// A charger that sends one message and then answers each call with `Accepted`, until the connection ends.
pub(crate) async fn answer_calls(server: SocketAddr, identity: &str) -> Result<()> {
    let mut charger = Charger::connect(server, identity).await?;
    charger.exchange().await?;
    loop {
        let Some(end) = charger.text_frame_end()? else {
            if charger.socket.read_buf(&mut charger.buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        // The header of a frame from a server has 2 bytes, or 4.
        let header = if charger.buffer[1] < 126 { 2 } else { 4 };
        let call: serde_json::Value = serde_json::from_slice(&charger.buffer[header..end])?;
        charger.buffer.drain(..end);
        let answer = format!(r#"[3,{},{{"status":"Accepted"}}]"#, call[1]);
        let mut frame = vec![0x81, 0x80 | u8::try_from(answer.len())?];
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(answer.as_bytes());
        charger.socket.write_all(&frame).await?;
    }
}

struct Charger {
    socket: TcpStream,
    /// A complete frame: header, zero mask, text. Only digits in it change.
    frame: Vec<u8>,
    sent: u64,
    buffer: Vec<u8>,
}

/// A typical MeterValues message of a 1.6 charger, 300 bytes.
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
                "the server closed the connection during the handshake"
            );
        }
        ensure!(
            head.starts_with(b"HTTP/1.1 101"),
            "the server refused the handshake: {}",
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

    /// Sends the next message and latencies for a text frame.
    async fn exchange(&mut self) -> Result<()> {
        self.sent += 1;
        self.set_number();
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

    /// Writes the number of the message into its id, value and timestamp, so that all messages differ.
    fn set_number(&mut self) {
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

    /// The end of the first text frame in the buffer, if it is complete. Frames of other kinds before it are dropped.
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
                127 => bail!("the server sent a frame of more than 64 KiB"),
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

fn digits(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
