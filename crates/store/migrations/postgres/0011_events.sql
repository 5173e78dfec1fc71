-- The log of events (docs/adr/0014-events-are-sequenced.md).

-- What has changed and is not in the log yet: inserted in the transaction of the change, moved to the log by one process
-- at a time. `kind` says what has changed, and which of the other columns have values.
CREATE TABLE event_queue (
    no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       smallint NOT NULL,
    charger_no integer,
    number     bigint,                                           -- of a transaction, an EVSE, a dead letter, …
    connector  bigint,
    id         uuid,                                             -- of a command
    at         bigint NOT NULL                                   -- when it occurred; 0: the object says it
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- The position of the newest event. Whoever moves events to the log holds this row's lock until the commit, so positions
-- become visible in their order.
CREATE TABLE event_head (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position    bigint NOT NULL,
    recorded_at bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO event_head (position, recorded_at) VALUES (0, 0);

CREATE TABLE event_log (
    position    bigint PRIMARY KEY,
    recorded_at bigint NOT NULL,
    type        text NOT NULL,
    occurred_at bigint NOT NULL,
    charger_key text COLLATE "C",                                -- identity in lower case
    charger_id  text,
    subject     text NOT NULL,
    data        text NOT NULL                                    -- JSON
);
CREATE INDEX event_log_by_charger ON event_log (charger_key, position) WHERE charger_key IS NOT NULL;

-- Which events of a session are in the log: 1 started, 2 ended, 4 closed, 8 reconciled; and a hash of what the last one
-- showed. One row per session; also of a command: 16 its effect was seen.
CREATE TABLE event_sessions (
    key    uuid PRIMARY KEY,
    stages smallint NOT NULL,
    shown  bigint NOT NULL
) WITH (fillfactor = 70);
-- The sessions of before this migration have no events of their start and end.
INSERT INTO event_sessions (key, stages, shown)
    SELECT key, bit_or(CASE WHEN kind = 2 THEN 0 ELSE 1 END | CASE WHEN unended AND partner IS NULL THEN 0 ELSE 2 END
        | CASE WHEN closed OR successor IS NOT NULL THEN 4 ELSE 0 END), 0
    FROM transaction_views GROUP BY key;
