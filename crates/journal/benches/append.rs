//! Measures the journal on this machine's disk: durable appends per second with 1, 64 and 1,024 producers that
//! each wait for their record, and the time to open a journal of 1,000,000 records and read its last 64 MiB.
//!
//! `cargo bench -p journal --bench append [-- DIR]`; DIR defaults to a temporary directory. For comparison the
//! same run measures a bare write and fdatasync on a preallocated file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark stops at an unexpected result"
)]

use journal::{Journal, Options};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

const RECORD: [u8; 512] = [b'r'; 512];
const MEASURE: Duration = Duration::from_secs(3);
/// Threads that run the producers, like those of a server's runtime.
const THREADS: usize = 2;

fn main() {
    // `cargo test --benches` passes `--test`; then nothing is measured.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let temporary = tempfile::tempdir().unwrap();
    let dir = given.map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    println!(
        "512-byte records, {} s per row, {}",
        MEASURE.as_secs(),
        dir.display()
    );
    println!(
        "{:<28} {:>10} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "", "records/s", "syncs/s", "rec/sync", "p50 us", "p99 us", "waits"
    );
    bare(&dir);
    for producers in [1, 64, 1024] {
        append(&dir.join(format!("journal-{producers}")), producers);
    }
    reopen(&dir.join("journal-million"));
}

/// The lower bound: one thread, one record per sync.
fn bare(dir: &Path) {
    let file = File::create_new(dir.join("bare")).unwrap();
    let zeros = vec![0; 1 << 20];
    for at in 0..64 {
        file.write_all_at(&zeros, at << 20).unwrap();
    }
    file.sync_all().unwrap();
    let mut latencies = Vec::new();
    let began = Instant::now();
    let mut at = 0;
    while began.elapsed() < MEASURE {
        let one = Instant::now();
        file.write_all_at(&RECORD, at).unwrap();
        file.sync_data().unwrap();
        latencies.push(one.elapsed());
        at = (at + 536) % (63 << 20);
    }
    let count = latencies.len() as u64;
    row(
        "bare write + fdatasync",
        count,
        count,
        &mut latencies,
        0,
        began.elapsed(),
    );
    std::fs::remove_file(dir.join("bare")).unwrap();
}

fn append(dir: &Path, producers: usize) {
    let options = Options {
        bytes_max: 4 << 30,
        retain_bytes: 0,
        ..Options::default()
    };
    let (journal, _) = Journal::open(dir, options).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let forgetting = thread::spawn({
        let (journal, stop) = (journal.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                // Like a forwarder that keeps up.
                let _ = journal.forget_upto(journal.durable_seq());
                thread::park_timeout(Duration::from_millis(20));
            }
        }
    });
    let before = journal.status();
    let began = Instant::now();
    let threads = producers.min(THREADS);
    let running: Vec<_> = (0..threads)
        .map(|nth| {
            let mine = producers / threads + usize::from(nth < producers % threads);
            let (journal, stop) = (journal.clone(), stop.clone());
            thread::spawn(move || produce(&journal, mine, &stop))
        })
        .collect();
    thread::park_timeout(MEASURE);
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<Duration> = Vec::new();
    for thread in running {
        latencies.extend(thread.join().unwrap());
    }
    let took = began.elapsed();
    let after = journal.status();
    let name = format!("{producers} producers");
    let records = after.synced_records - before.synced_records;
    let syncs = after.syncs - before.syncs;
    row(
        &name,
        records,
        syncs,
        &mut latencies,
        after.segment_waits,
        took,
    );
    forgetting.join().unwrap();
    journal.close().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

/// Runs `count` producers on one thread. Each appends a record, waits until it is woken, and repeats: like
/// tasks, without the cost of a runtime.
fn produce(journal: &Journal, count: usize, stop: &AtomicBool) -> Vec<Duration> {
    let ready = Arc::new(Ready::default());
    let wakers: Vec<Waker> = (0..count)
        .map(|task| {
            Waker::from(Arc::new(Task {
                task,
                ready: ready.clone(),
            }))
        })
        .collect();
    let mut began = vec![Instant::now(); count];
    let mut latencies = Vec::new();
    let mut due: VecDeque<usize> = (0..count).collect();
    let mut woken = 0_u64;
    loop {
        for task in due.drain(..) {
            if stop.load(Ordering::Relaxed) {
                continue;
            }
            began[task] = Instant::now();
            journal.append(&RECORD, Some(&wakers[task])).unwrap();
        }
        if stop.load(Ordering::Relaxed) {
            return latencies;
        }
        ready.take(&mut due);
        for task in &due {
            // One in seven is enough for percentiles.
            woken += 1;
            if woken.is_multiple_of(7) {
                latencies.push(began[*task].elapsed());
            }
        }
    }
}

#[derive(Default)]
struct Ready {
    tasks: Mutex<VecDeque<usize>>,
    changed: Condvar,
}

impl Ready {
    fn take(&self, due: &mut VecDeque<usize>) {
        let mut tasks = self.tasks.lock().unwrap();
        while tasks.is_empty() {
            tasks = self.changed.wait(tasks).unwrap();
        }
        std::mem::swap(&mut *tasks, due);
    }
}

struct Task {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut tasks = self.ready.tasks.lock().unwrap();
        let was_empty = tasks.is_empty();
        tasks.push_back(self.task);
        drop(tasks);
        if was_empty {
            self.ready.changed.notify_one();
        }
    }
}

fn row(
    name: &str,
    records: u64,
    syncs: u64,
    latencies: &mut [Duration],
    waits: u64,
    took: Duration,
) {
    latencies.sort_unstable();
    let percentile = |hundredths: usize| {
        let at = latencies.len() * hundredths / 100;
        latencies
            .get(at.min(latencies.len().saturating_sub(1)))
            .map_or(0, Duration::as_micros)
    };
    let per_second = |count: u64| count as f64 / took.as_secs_f64();
    println!(
        "{name:<28} {:>10.0} {:>9.0} {:>9.1} {:>9} {:>9} {waits:>7}",
        per_second(records),
        per_second(syncs),
        records as f64 / syncs.max(1) as f64,
        percentile(50),
        percentile(99),
    );
}

fn reopen(dir: &Path) {
    const RECORDS: u64 = 1_000_000;
    let options = Options {
        bytes_max: 2 << 30,
        ..Options::default()
    };
    let (journal, _) = Journal::open(dir, options).unwrap();
    for seq in 1..=RECORDS {
        while journal.append(&RECORD, None).is_err() {
            thread::park_timeout(Duration::from_millis(1));
        }
        if seq % 10_000 == 0 {
            journal.wait_durable(seq).unwrap();
        }
    }
    while journal.status().zeroing_backlog_bytes > 0 {
        thread::park_timeout(Duration::from_millis(1));
    }
    // Not closed: the start has to verify what a killed process leaves.
    std::mem::forget(journal);
    let copy = dir.with_extension("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    std::fs::remove_dir_all(dir).unwrap();
    for end in ["after kill -9", "after a clean end"] {
        let began = Instant::now();
        let (journal, recovery) = Journal::open(&copy, options).unwrap();
        let opened = began.elapsed();
        assert_eq!(recovery.durable_seq, RECORDS);
        let mut bytes = 0;
        let mut reader = journal.reader(RECORDS - (64 << 20) / 536);
        while reader
            .read(1_000, 1 << 20, |_, record| bytes += record.len())
            .unwrap()
            > 0
        {}
        let visited = began.elapsed();
        let mut count = 0;
        let mut reader = journal.reader(0);
        while reader.read(1_000, 1 << 20, |_, _| count += 1).unwrap() > 0 {}
        assert_eq!(count, RECORDS);
        println!(
            "reopen 1,000,000 records {end}: {opened:.1?} ({} segments checked, {} trusted); \
             with the last 64 MiB visited: {visited:.1?}; every record read and checked: {:.1?}",
            recovery.segments_checked,
            recovery.segments_trusted,
            began.elapsed() - visited,
        );
        journal.close().unwrap();
    }
    std::fs::remove_dir_all(&copy).unwrap();
}
