-- Local authorization lists: what the operator wishes, how far each charger's list is, and what lists hold.
CREATE TABLE local_list_wishes (
    charger_key TEXT PRIMARY KEY,                   -- '' = all chargers without a wish of their own
    charger_id  TEXT NOT NULL,
    wish        TEXT NOT NULL,                                   -- JSON
    wished_at   INTEGER NOT NULL
);
CREATE TABLE local_lists (
    charger_key TEXT PRIMARY KEY,
    charger_id  TEXT NOT NULL,
    phase       TEXT NOT NULL,
    content     TEXT,                                            -- digest of the list that the charger has
    progress    TEXT NOT NULL,                                   -- JSON
    revision    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL
);
CREATE INDEX local_lists_due ON local_lists (due_at);
CREATE TABLE local_list_contents (
    digest  TEXT PRIMARY KEY,
    entries TEXT NOT NULL,                                       -- JSON
    kept_at INTEGER NOT NULL
);
