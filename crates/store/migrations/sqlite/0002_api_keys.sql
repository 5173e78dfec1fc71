CREATE TABLE api_keys (
    id           BLOB PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    hash         BLOB NOT NULL UNIQUE,  -- of the secret, which is not stored
    scope        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) WITHOUT ROWID;

-- Who changed what. The latest 100,000 entries are kept.
CREATE TABLE audit_log (
    no           INTEGER PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    actor_kind   TEXT NOT NULL,
    actor_name   TEXT,
    origin       TEXT NOT NULL,         -- address of the client, or name of the machine
    request_id   TEXT,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    before       TEXT,                  -- JSON
    after        TEXT                   -- JSON
);
