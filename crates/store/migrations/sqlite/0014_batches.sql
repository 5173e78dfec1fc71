-- Batches: one command to many chargers. The plan is JSON; the counts are those of the items.

CREATE TABLE batches (
    no           INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order of their requests
    id           BLOB NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    requested_by TEXT NOT NULL,
    plan         TEXT NOT NULL,
    state        INTEGER NOT NULL,          -- 0 running, 1 paused, 2 halted, 3 cancelled, 4 done
    detail       TEXT NOT NULL,
    total        INTEGER NOT NULL,
    pending      INTEGER NOT NULL,
    started      INTEGER NOT NULL,
    succeeded    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    not_started  INTEGER NOT NULL,
    ignored_succeeded INTEGER NOT NULL DEFAULT 0,  -- before it was resumed after a halt: the stop rule ignores them
    ignored_failed    INTEGER NOT NULL DEFAULT 0,
    holder       BLOB,                       -- who drives it, until when
    held_until   INTEGER,
    key          TEXT,           -- the requester's key for safe repeats, for 72 hours
    digest       BLOB
);
CREATE UNIQUE INDEX batches_key ON batches (requested_by, key) WHERE key IS NOT NULL;

-- The chargers of a batch, in the order of their turns.
CREATE TABLE batch_items (
    batch      INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    charger_id TEXT NOT NULL,
    state      INTEGER NOT NULL,            -- 0 pending, 1 started, 2 succeeded, 3 failed, 4 not started
    detail     TEXT NOT NULL,
    command    BLOB,
    PRIMARY KEY (batch, place)
) WITHOUT ROWID;
CREATE INDEX batch_items_by_state ON batch_items (batch, state, place);
