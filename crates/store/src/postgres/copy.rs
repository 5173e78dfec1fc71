//! Inserts rows by COPY, which costs the server about half the work of INSERT and the client one pass over the
//! rows.
//!
//! COPY has no `ON CONFLICT DO NOTHING`. Nearly every batch consists of new rows only, so COPY is tried first.
//! When a row exists already, the transaction is rolled back to a savepoint and the rows are inserted by INSERT;
//! so are those of the next batches, because repeated deliveries usually come in groups.

use super::error;
use crate::refusal::Refusal;
use sqlx::Executor;
use sqlx::postgres::PgConnection;

/// Fewer rows than this are inserted by INSERT, which takes fewer round trips.
const ROWS_MIN: usize = 32;

/// Number of batches inserted by INSERT after a COPY was rolled back.
const PAUSE_BATCHES: u32 = 8;

/// Rows in the binary format of COPY.
pub(crate) struct CopyRows {
    bytes: Vec<u8>,
}

impl CopyRows {
    /// An empty buffer with a capacity of `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        // Signature, no flags, no extension.
        bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        Self { bytes }
    }

    /// Begins a row with this many columns.
    pub(crate) fn row(&mut self, columns: i16) {
        self.bytes.extend_from_slice(&columns.to_be_bytes());
    }

    /// `smallint`.
    pub(crate) fn int2(&mut self, value: i16) {
        self.field(&value.to_be_bytes());
    }

    /// `integer`.
    pub(crate) fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    /// `bigint`.
    pub(crate) fn int8(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    /// `double precision`, or null.
    pub(crate) fn float8_or_null(&mut self, value: Option<f64>) {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    /// `bigint`, or null.
    pub(crate) fn int8_or_null(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.int8(value),
            None => self.null(),
        }
    }

    /// `text` or `bytea`.
    pub(crate) fn field(&mut self, value: &[u8]) {
        // Values are shorter than 2 GiB, because WebSocket frames are limited to some MiB.
        let len = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// `text` or `bytea`, or null.
    pub(crate) fn field_or_null(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.field(value),
            None => self.null(),
        }
    }

    fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }
}

/// Decides between COPY and INSERT, from the results of earlier batches.
#[derive(Debug, Default)]
pub(crate) struct CopyStrategy {
    pause: u32,
}

impl CopyStrategy {
    /// Whether the next batch should be tried by COPY.
    pub(crate) fn is_copy(&mut self, rows: usize) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        rows >= ROWS_MIN
    }

    /// Copies the rows with `statement`; `None` when one of them exists already, and then none is inserted.
    pub(crate) async fn copy(
        &mut self,
        connection: &mut PgConnection,
        statement: &str,
        mut rows: CopyRows,
    ) -> Result<Option<u64>, Refusal> {
        rows.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        connection
            .execute("SAVEPOINT copied")
            .await
            .map_err(error::refusal)?;
        match send(connection, statement, &rows.bytes).await {
            // The savepoint is not released: that costs a round trip, and the commit releases it.
            Ok(copied) => Ok(Some(copied)),
            Err(failure) if error::code(&failure) == "23505" => {
                self.pause = PAUSE_BATCHES;
                connection
                    .execute("ROLLBACK TO SAVEPOINT copied")
                    .await
                    .map_err(error::refusal)?;
                Ok(None)
            }
            Err(failure) => Err(error::refusal(failure)),
        }
    }
}

async fn send(
    connection: &mut PgConnection,
    statement: &str,
    bytes: &[u8],
) -> Result<u64, sqlx::Error> {
    let mut copy = connection.copy_in_raw(statement).await?;
    copy.send(bytes).await?;
    copy.finish().await
}
