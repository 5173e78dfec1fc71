//! The numbers that the conditions inside Wattpost and the queries of Prometheus have in common, so that the two never differ.
//!
//! `limit!` gives one as a literal, for the text of a query; the constants have the same values.

/// A number of the catalogue as a literal.
macro_rules! limit {
    // 14.4 and 6 times the share of 0.1 % that may be late.
    (burn) => {
        0.0144
    };
    (burn_slow) => {
        0.006
    };
    (burn_after_s) => {
        900
    };
    (dead_letters) => {
        100
    };
    (journal_share) => {
        0.5
    };
    (journal_share_soon) => {
        0.1
    };
    (journal_full_in_s) => {
        14_400
    };
    (journal_old_s) => {
        60
    };
    (journal_very_old_s) => {
        600
    };
    (sync_bucket) => {
        "0.025"
    };
    (sync_share) => {
        0.01
    };
    (syncs) => {
        10
    };
    (disk_share_page) => {
        0.05
    };
    (disk_share) => {
        0.15
    };
    (disk_share_soon) => {
        0.5
    };
    (disk_full_in_s) => {
        86_400
    };
    (queue_share) => {
        0.5
    };
    (queue_records) => {
        10_000
    };
    (maintenance_s) => {
        86_400
    };
    (events) => {
        10_000
    };
    (restarts) => {
        3
    };
    (directory_age_s) => {
        300
    };
    (fleet_drop_percent) => {
        20
    };
    (fleet_min) => {
        20
    };
    (storm_share) => {
        0.1
    };
    (wrong_passwords) => {
        0.2
    };
}

/// The share of late messages, or of errors, that uses up the month's allowance (0.1 %) in two days.
pub(super) const BURN: f64 = limit!(burn);
/// Such a share is not judged from less time, in milliseconds: in the first minutes, a pause of seconds is a large share.
pub(super) const BURN_AFTER_MS: i64 = limit!(burn_after_s) * 1_000;
/// The short window of such a share, in milliseconds.
pub(super) const BURN_SHORT_MS: i64 = 5 * 60_000;
/// More dead letters within 15 minutes are a page.
pub(super) const DEAD_LETTERS: usize = limit!(dead_letters);
/// A journal is filling if it is so full,
pub(super) const JOURNAL_SHARE: f64 = limit!(journal_share);
/// or so full, and will be full within [`JOURNAL_FULL_IN_S`].
pub(super) const JOURNAL_SHARE_SOON: f64 = limit!(journal_share_soon);
/// In seconds.
pub(super) const JOURNAL_FULL_IN_S: i32 = limit!(journal_full_in_s);
/// Seconds for which a message may wait in a journal, for a ticket.
pub(super) const JOURNAL_OLD_S: i32 = limit!(journal_old_s);
/// The same for a page.
pub(super) const JOURNAL_VERY_OLD_S: i32 = limit!(journal_very_old_s);
/// The bucket of syncs that are fast enough, in seconds.
pub(super) const SYNC_BUCKET: &str = limit!(sync_bucket);
/// The share of slower syncs.
pub(super) const SYNC_SHARE: f64 = limit!(sync_share);
/// Fewer syncs within 5 minutes are not judged.
pub(super) const SYNCS: i32 = limit!(syncs);
/// The free share of a disk, for a page.
pub(super) const DISK_SHARE_PAGE: f64 = limit!(disk_share_page);
/// The same for a ticket.
pub(super) const DISK_SHARE: f64 = limit!(disk_share);
/// The same for a disk that will be full within [`DISK_FULL_IN_S`].
pub(super) const DISK_SHARE_SOON: f64 = limit!(disk_share_soon);
/// In seconds.
pub(super) const DISK_FULL_IN_S: i32 = limit!(disk_full_in_s);
/// The share of the bound of RabbitMQ's queues.
pub(super) const QUEUE_SHARE: f64 = limit!(queue_share);
/// Records in RabbitMQ from which a growth of half an hour counts.
pub(super) const QUEUE_RECORDS: i32 = limit!(queue_records);
/// Seconds without a successful maintenance.
pub(super) const MAINTENANCE_S: i32 = limit!(maintenance_s);
/// Changes that are not in the log of events.
pub(super) const EVENTS: i32 = limit!(events);
/// Restarts of a process, unless the setting `restarts` says otherwise.
pub(super) const RESTARTS: u32 = limit!(restarts);
/// The seconds within which they are, unless the setting `restarts_within_s` says otherwise.
pub(super) const RESTARTS_WITHIN_S: u32 = 900;
/// The age of what a gateway knows of chargers and tokens, in seconds.
pub(super) const DIRECTORY_AGE_S: i32 = limit!(directory_age_s);
/// Percent of the fleet that are gone, unless the setting says otherwise.
pub(super) const FLEET_DROP_PERCENT: u32 = limit!(fleet_drop_percent);
/// The smallest fleet that is judged, unless the setting says otherwise.
pub(super) const FLEET_MIN: u32 = limit!(fleet_min);
/// The share of handshakes that are put off.
pub(super) const STORM_SHARE: f64 = limit!(storm_share);
/// Wrong passwords a second.
pub(super) const WRONG_PASSWORDS: f64 = limit!(wrong_passwords);

/// The query for a share of late ones of a histogram that uses up its allowance too fast: over a long window, because one
/// slow message is none, and over a short one, so that it ends soon after its cause.
macro_rules! late {
    ($metric:literal, $le:literal, $share:expr, $long:literal, $short:literal) => {
        concat!(
            "1 - sum(rate(",
            $metric,
            "_bucket{le=\"",
            $le,
            "\"}[",
            $long,
            "])) / sum(rate(",
            $metric,
            "_count[",
            $long,
            "])) > ",
            $share,
            "\nand 1 - sum(rate(",
            $metric,
            "_bucket{le=\"",
            $le,
            "\"}[",
            $short,
            "])) / sum(rate(",
            $metric,
            "_count[",
            $short,
            "])) > ",
            $share,
        )
    };
}

/// The part of a query that makes it yield nothing while no process has run for so many seconds.
macro_rules! after {
    ($seconds:expr) => {
        concat!(
            "and time() - min(wattpost_process_start_time_seconds) > ",
            $seconds
        )
    };
}
