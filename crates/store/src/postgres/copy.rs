//! Rows by COPY: half the work of INSERT for the server, and one run over memory for us.
//!
//! COPY knows no "do nothing if it is there". But nearly every batch is new as a whole, so it is tried, and taken
//! back to a savepoint when a row was there after all; then the rows go in by INSERT, and so do those of the next
//! batches, because what is delivered again seldom comes alone.

use super::error;
use crate::refusal::Refusal;
use sqlx::Executor;
use sqlx::postgres::PgConnection;

/// Fewer rows than this go in by INSERT, which takes fewer round trips.
const ROWS_MIN: usize = 32;

/// Batches that go in by INSERT after a COPY that was taken back.
const PAUSE_BATCHES: u32 = 8;

/// Rows in the binary format of COPY.
pub(crate) struct CopyRows {
    bytes: Vec<u8>,
}

impl CopyRows {
    /// No rows yet; about `capacity` bytes will come.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        // Signature, no flags, no extension.
        bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        Self { bytes }
    }

    /// Begins a row of so many columns.
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
        // What is longer than 2 GiB cannot come over a socket whose frames are bounded in MiB.
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

/// Whether COPY is worth a try.
#[derive(Debug, Default)]
pub(crate) struct Habit {
    pause: u32,
}

impl Habit {
    /// Whether the next batch should be tried by COPY.
    pub(crate) fn is_copy(&mut self, rows: usize) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        rows >= ROWS_MIN
    }

    /// Takes in rows with `statement`; `None` when one of them is there already, and nothing was taken in.
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
            // The savepoint stays: to release it is a round trip, and the commit does so too.
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
