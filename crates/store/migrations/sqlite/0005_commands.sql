-- Commands: the rows are their queue. A gateway claims a row just before it sends the command.

CREATE TABLE commands (
    no               INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of their requests
    id               BLOB NOT NULL UNIQUE,               -- UUID
    charger_key      TEXT NOT NULL,                      -- identity in lower case
    charger_id       TEXT NOT NULL,                      -- identity as the request spelled it
    action           TEXT NOT NULL,
    payload          TEXT NOT NULL,
    answer_within_ms INTEGER NOT NULL,
    send_before      INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    requested_by     TEXT NOT NULL,
    waits            INTEGER NOT NULL,
    stage            INTEGER NOT NULL,                   -- 0 queued, 1 claimed, 2 not sent
    settled          INTEGER NOT NULL DEFAULT 0,         -- whether records show a reply, or the end of waiting
    gateway          BLOB,                               -- of the claim, as the next three
    started          INTEGER,
    next_seq         INTEGER,
    claimed_at       INTEGER,
    reason           TEXT,                               -- why it was not sent, as the next two
    detail           TEXT,
    ended_at         INTEGER
);
CREATE INDEX commands_queued ON commands (charger_key, no) WHERE stage = 0;
CREATE INDEX commands_expiring ON commands (send_before) WHERE stage = 0;
CREATE INDEX commands_open ON commands (charger_key, no) WHERE stage = 1 AND NOT settled;
CREATE INDEX commands_by_charger ON commands (charger_key, no);

-- What records say of a command, by its id. A state like those of chargers.
CREATE TABLE command_progress (
    id    BLOB PRIMARY KEY,
    state TEXT NOT NULL
) WITHOUT ROWID;

-- Idempotency keys of requests, kept for 72 hours.
CREATE TABLE command_keys (
    requested_by TEXT NOT NULL,
    key          TEXT NOT NULL,
    digest       BLOB NOT NULL,
    command      BLOB NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (requested_by, key)
) WITHOUT ROWID;
CREATE INDEX command_keys_at ON command_keys (at);
