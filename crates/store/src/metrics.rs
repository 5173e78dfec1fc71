//! The table of the metrics of this crate: name, kind, unit, meaning and labels of each.

use common::metrics::{Metric, Unit};

/// Every metric of this crate. A test of the binary compares it with the names in the code.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "wattpost_store_conflicts_total",
        Unit::Count,
        "Transactions of PostgreSQL repeated after a conflict",
    ),
    Metric::gauge(
        "wattpost_store_database_bytes",
        Unit::Bytes,
        "Size of the database at the last maintenance round",
    ),
    Metric::counter(
        "wattpost_store_dead_letters_total",
        Unit::Count,
        "Records stored as dead letters",
    ),
    Metric::gauge(
        "wattpost_store_durable",
        Unit::Bool,
        "Whether PostgreSQL keeps what it has committed through a power cut",
    ),
    Metric::gauge(
        "wattpost_store_free_bytes",
        Unit::Bytes,
        "Bytes of the SQLite file that hold no rows and are used again before it grows",
    ),
    Metric::counter(
        "wattpost_store_ids_used_twice_total",
        Unit::Count,
        "Records whose id another record has",
    ),
    Metric::counter(
        "wattpost_store_late_batches_total",
        Unit::Count,
        "Batches that PostgreSQL did not store in time",
    ),
    Metric::counter(
        "wattpost_store_lists_failed_total",
        Unit::Count,
        "Postponed updates of the list of transactions that failed again",
    ),
    Metric::counter(
        "wattpost_store_lists_put_off_total",
        Unit::Count,
        "Transactions whose update in the list was postponed to maintenance",
    ),
    Metric::gauge(
        "wattpost_store_log_bytes",
        Unit::Bytes,
        "Size of SQLite's write-ahead log",
    ),
    Metric::counter(
        "wattpost_store_rows_expired_total",
        Unit::Count,
        "Rows deleted after the retention",
    ),
    Metric::counter(
        "wattpost_store_rows_late_total",
        Unit::Count,
        "Rows found outside the partitions of their day",
    ),
    Metric::gauge(
        "wattpost_store_table_bytes",
        Unit::Bytes,
        "Size of a table with its indexes",
    )
    .labels(&["table"]),
    Metric::gauge(
        "wattpost_store_table_rows",
        Unit::Count,
        "Rows of a table, as PostgreSQL estimates",
    )
    .labels(&["table"]),
    Metric::counter(
        "wattpost_store_unreadable_total",
        Unit::Count,
        "Times that something stored could not be read, and others were read without it",
    ),
];
