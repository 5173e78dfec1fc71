-- Webhooks: URLs to which events are sent, and how far each is in the log of events. All events up to the cursor are
-- delivered or not selected.

CREATE TABLE webhooks (
    id              BLOB PRIMARY KEY,
    url             TEXT NOT NULL,
    types           TEXT NOT NULL,           -- a list in JSON; empty for all
    charger_id      TEXT,
    description     TEXT NOT NULL,
    enabled         INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    secrets         TEXT NOT NULL,           -- JSON: a signature needs them in clear text
    cursor_position INTEGER NOT NULL,
    cursor_at       INTEGER NOT NULL,
    retry_position  INTEGER,                 -- the event of which attempts have failed
    retry_at        INTEGER,
    retry_attempts  INTEGER,
    retry_since     INTEGER,
    due_at          INTEGER NOT NULL,
    last_success_at INTEGER,
    last_error_at   INTEGER,
    last_error      TEXT,
    switched_off_at INTEGER,
    switched_off    TEXT,                    -- why
    holder          BLOB,                    -- the lease of who sends, until when
    held_until      INTEGER
) WITHOUT ROWID;

-- The last attempts of each webhook.
CREATE TABLE webhook_attempts (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook     BLOB NOT NULL,
    at          INTEGER NOT NULL,
    position    INTEGER NOT NULL,            -- of the event
    recorded_at INTEGER NOT NULL,
    type        TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    status      INTEGER,
    duration_ms INTEGER NOT NULL,
    answer      TEXT NOT NULL
);
CREATE INDEX webhook_attempts_by_webhook ON webhook_attempts (webhook, no);
