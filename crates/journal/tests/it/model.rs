//! Random schedules of appends, waits, forgetting, closing, kills and power cuts, compared with a list.

use crate::common::{self, record, small, try_read_after, try_read_all};
use journal::sim::{SimDisk, Tear};
use journal::{Journal, OpenError, Options, ReadError};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        count: u8,
        length: u16,
    },
    Wait,
    Forget {
        percent: u8,
    },
    Read,
    Close,
    Kill,
    /// The power is cut this many disk operations from now.
    CutPowerSoon {
        steps: u8,
    },
    PowerCut {
        tear: Tear,
        seed: u64,
        larger: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let tear = prop_oneof![
        Just(Tear::LoseAll),
        Just(Tear::KeepAll),
        Just(Tear::Prefix),
        Just(Tear::Sectors),
    ];
    prop_oneof![
        8 => (1..20_u8, 0..6_000_u16).prop_map(|(count, length)| Step::Append { count, length }),
        4 => Just(Step::Wait),
        4 => (0..=100_u8).prop_map(|percent| Step::Forget { percent }),
        2 => Just(Step::Read),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => (0..40_u8).prop_map(|steps| Step::CutPowerSoon { steps }),
        2 => (tear, any::<u64>(), any::<bool>())
            .prop_map(|(tear, seed, larger)| Step::PowerCut { tear, seed, larger }),
    ]
}

struct Model {
    disk: SimDisk,
    journal: Journal,
    life: u64,
    /// The appended records; record `seq` is at `seq - 1`.
    taken: Vec<Vec<u8>>,
    forgotten: u64,
    /// The cursor on disk is at least this.
    forgotten_durably: u64,
}

impl Model {
    fn new() -> Self {
        let disk = SimDisk::new(9);
        let (journal, _) = common::open(&disk);
        Self {
            disk,
            journal,
            life: 0,
            taken: Vec::new(),
            forgotten: 0,
            forgotten_durably: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append { count, length } => {
                for _ in 0..count {
                    let seq = self.taken.len() as u64 + 1;
                    let bytes = record(self.life, seq, usize::from(length));
                    // When the append fails (full, or no power), the record is not in the journal.
                    if let Ok(given) = self.journal.append(&bytes, None) {
                        assert_eq!(given, seq);
                        self.taken.push(bytes);
                    }
                }
            }
            Step::Wait => {
                let _ = self.journal.wait_durable(self.taken.len() as u64);
            }
            Step::Forget { percent } => {
                let durable = self.journal.durable_seq();
                let open = durable - self.forgotten;
                let upto = self.forgotten + open * u64::from(percent) / 100;
                if self.journal.forget_upto(upto).is_ok() {
                    self.forgotten = upto;
                }
            }
            Step::Read => {
                if self.journal.poisoned().is_none() {
                    self.compare(self.journal.durable_seq());
                }
            }
            Step::Close => {
                if self.journal.clone().close().is_ok() {
                    self.forgotten_durably = self.forgotten;
                    let durable = self.journal.durable_seq();
                    assert_eq!(durable, self.taken.len() as u64);
                    self.reopen(self.disk.clone(), small(), durable);
                }
            }
            Step::Kill => {
                let durable = self.journal.durable_seq();
                self.reopen(self.disk.after_kill(), small(), durable);
            }
            Step::CutPowerSoon { steps } => self.disk.cut_power_after(u64::from(steps)),
            Step::PowerCut { tear, seed, larger } => {
                let durable = self.journal.durable_seq();
                let mut options = small();
                if larger {
                    options = Options {
                        bytes_max: 1 << 20,
                        segment_bytes: 128 << 10,
                        retain_bytes: 100_000,
                        ..options
                    };
                }
                self.reopen(self.disk.after_power_cut(tear, seed), options, durable);
            }
        }
    }

    fn reopen(&mut self, disk: SimDisk, options: Options, durable_before: u64) {
        self.life += 1;
        let mut disk = disk;
        let (journal, recovery) = loop {
            match Journal::open_on(disk.clone(), options) {
                Ok(opened) => break opened,
                // The power was cut while it was opened.
                Err(OpenError::Io { .. }) => {
                    disk = disk.after_power_cut(Tear::Sectors, self.life);
                }
                Err(error) => panic!("a journal without damage opens: {error}"),
            }
        };
        let durable = recovery.durable_seq;
        assert!(durable >= durable_before, "{durable} < {durable_before}");
        assert!(
            durable <= self.taken.len() as u64,
            "more records than were appended"
        );
        assert!(recovery.cursor >= self.forgotten_durably);
        assert!(recovery.cursor <= self.forgotten);
        assert!(recovery.oldest_seq <= recovery.cursor + 1);
        self.taken.truncate(durable as usize);
        self.forgotten = recovery.cursor;
        self.forgotten_durably = recovery.cursor;
        self.journal = journal;
        self.disk = disk;
        self.compare(durable);
    }

    fn compare(&self, durable: u64) {
        let all = try_read_all(&self.journal);
        let open = try_read_after(&self.journal, self.forgotten);
        for records in [&all, &open] {
            match records {
                Ok(records) => self.compare_records(records),
                // The power has just been cut.
                Err(ReadError::Io { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
        let open = open.map_or(0, |records| records.len() as u64);
        assert!(open >= durable - self.forgotten);
    }

    fn compare_records(&self, records: &[(u64, Vec<u8>)]) {
        let first = records.first().map_or(0, |(seq, _)| *seq);
        for (nth, (seq, bytes)) in records.iter().enumerate() {
            assert_eq!(*seq, first + nth as u64);
            assert!(*bytes == self.taken[*seq as usize - 1], "record {seq}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_behaves_like_a_durable_list_under_random_schedules(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        let durable = model.journal.durable_seq();
        model.reopen(model.disk.after_power_cut(Tear::Sectors, 1), small(), durable);
    }
}
