-- The latest report of each process of Wattpost, for GET /api/v1/pipeline. `report` is JSON. `reported_at` is in
-- milliseconds since 1970 (UTC), by the database's clock.
CREATE TABLE processes (
    id          uuid PRIMARY KEY,                  -- of a process with a gateway: the gateway's id
    report      text NOT NULL,
    reported_at bigint NOT NULL,
    shown_ms    bigint,                            -- deleted so long after `reported_at`; NULL: never
    all_stored  bigint NOT NULL DEFAULT 0,         -- of a gateway: every record up to here is known to be stored
    is_retired  boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
