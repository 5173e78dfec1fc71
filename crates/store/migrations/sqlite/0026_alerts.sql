-- Alerts, silences, and which process evaluates alerts.

-- One row for each occurrence of an alert.
CREATE TABLE alerts (
    id              BLOB PRIMARY KEY,        -- UUID, version 7
    state           INTEGER NOT NULL,        -- 0 pending, 1 firing, 2 resolved
    severity        INTEGER NOT NULL,        -- 0 page, 1 ticket, 2 info
    name            TEXT NOT NULL,
    charger_key     TEXT,                    -- identity in lower case
    at              INTEGER NOT NULL,        -- when it was resolved, or else when its condition began to hold
    body            TEXT NOT NULL,           -- JSON, without the next column
    acknowledged    TEXT                     -- JSON: who, when, note
) WITHOUT ROWID;
CREATE INDEX alerts_active ON alerts (id) WHERE state <> 2;
CREATE INDEX alerts_by_charger ON alerts (charger_key, id) WHERE charger_key IS NOT NULL;
CREATE INDEX alerts_by_name ON alerts (name, id);
CREATE INDEX alerts_resolved ON alerts (at, id) WHERE state = 2;

CREATE TABLE alert_silences (
    id      BLOB PRIMARY KEY,                -- UUID, version 7
    ends_at INTEGER NOT NULL,
    body    TEXT NOT NULL                    -- JSON
) WITHOUT ROWID;

-- The process that evaluates, until when, and what it remembers besides the alerts.
CREATE TABLE alert_evaluation (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    holder     BLOB,
    held_until INTEGER NOT NULL,
    memory     TEXT NOT NULL                 -- JSON
);
INSERT INTO alert_evaluation (only_row, held_until, memory) VALUES (1, 0, '');
