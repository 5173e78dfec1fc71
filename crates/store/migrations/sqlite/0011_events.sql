-- The log of events (docs/adr/0014-events-are-sequenced.md).

-- What has changed and is not in the log yet: inserted in the transaction of the change, moved to the log by one process
-- at a time. `kind` says what has changed, and which of the other columns have values.
CREATE TABLE event_queue (
    no         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       INTEGER NOT NULL,
    charger_no INTEGER,
    number     INTEGER,                 -- of a transaction, an EVSE, a dead letter, …
    connector  INTEGER,
    id         BLOB,                    -- of a command
    at         INTEGER NOT NULL         -- when it occurred; 0: the object says it
);

-- The position of the newest event.
CREATE TABLE event_head (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    position    INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL
);
INSERT INTO event_head (only_row, position, recorded_at) VALUES (1, 0, 0);

CREATE TABLE event_log (
    position    INTEGER PRIMARY KEY,
    recorded_at INTEGER NOT NULL,
    type        TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    charger_key TEXT,                   -- identity in lower case
    charger_id  TEXT,
    subject     TEXT NOT NULL,
    data        TEXT NOT NULL           -- JSON
);
CREATE INDEX event_log_by_charger ON event_log (charger_key, position) WHERE charger_key IS NOT NULL;

-- Which events of a session are in the log: 1 started, 2 ended, 4 closed, 8 reconciled; and a hash of what the last one
-- showed. One row per session; also of a command: 16 its effect was seen.
CREATE TABLE event_sessions (
    key    BLOB PRIMARY KEY,
    stages INTEGER NOT NULL,
    shown  INTEGER NOT NULL
) WITHOUT ROWID;
-- The sessions of before this migration have no events of their start and end.
INSERT INTO event_sessions (key, stages, shown)
    SELECT key, max(CASE WHEN kind = 2 THEN 0 ELSE 1 END) + 2 * max(NOT (unended AND partner IS NULL))
        + 4 * max(closed OR successor IS NOT NULL), 0
    FROM transaction_views GROUP BY key;
