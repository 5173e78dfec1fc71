-- The latest report of each process of Wattpost, for GET /api/v1/pipeline. `report` is JSON. `reported_at` is in
-- milliseconds since 1970 (UTC), by the database's clock.
CREATE TABLE processes (
    id          BLOB PRIMARY KEY,                  -- of a process with a gateway: the gateway's id
    report      TEXT NOT NULL,
    reported_at INTEGER NOT NULL,
    shown_ms    INTEGER,                           -- deleted so long after `reported_at`; NULL: never
    all_stored  INTEGER NOT NULL DEFAULT 0,        -- of a gateway: every record up to here is known to be stored
    is_retired  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
