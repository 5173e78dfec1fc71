-- The revision of the directory after the last change of this charger. 0: not changed since this column exists.
ALTER TABLE charger_profiles ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

-- Idempotency keys of requests, with what came of them; kept for 72 hours.
CREATE TABLE idempotency_keys (
    requested_by TEXT NOT NULL,
    key          TEXT NOT NULL,
    digest       BLOB NOT NULL,
    result       TEXT NOT NULL,                      -- JSON; it contains no secret
    at           INTEGER NOT NULL,
    PRIMARY KEY (requested_by, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_at ON idempotency_keys (at);
