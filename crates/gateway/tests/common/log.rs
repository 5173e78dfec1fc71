//! The log lines of this process, at the level that is the default.

use super::until;
use std::io;
use std::sync::{Mutex, Once};
use tracing_subscriber::fmt::MakeWriter;

static LINES: Mutex<String> = Mutex::new(String::new());

struct Capture;

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES
            .lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Capture {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Begins to capture. Call it before the gateway starts.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .compact()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(Capture)
            .init();
    });
}

/// The lines that hold all of these texts.
pub(crate) fn lines(texts: &[&str]) -> Vec<String> {
    let all = LINES.lock().unwrap();
    all.lines()
        .filter(|line| texts.iter().all(|text| line.contains(text)))
        .map(str::to_owned)
        .collect()
}

/// Waits for a line that holds all of these texts.
pub(crate) async fn line(texts: &[&str]) -> String {
    until(&format!("a log line with {texts:?}"), || {
        !lines(texts).is_empty()
    })
    .await;
    lines(texts).remove(0)
}

/// Everything that was logged.
pub(crate) fn all() -> String {
    LINES.lock().unwrap().clone()
}
