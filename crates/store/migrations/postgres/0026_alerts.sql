-- Alerts, silences, and which process evaluates alerts.

-- One row for each occurrence of an alert.
CREATE TABLE alerts (
    id              uuid PRIMARY KEY,        -- version 7
    state           smallint NOT NULL,       -- 0 pending, 1 firing, 2 resolved
    severity        smallint NOT NULL,       -- 0 page, 1 ticket, 2 info
    name            text NOT NULL,
    charger_key     text,                    -- identity in lower case
    at              bigint NOT NULL,         -- when it was resolved, or else when its condition began to hold
    body            text NOT NULL,           -- JSON, without the next column
    acknowledged    text                     -- JSON: who, when, note
) WITH (fillfactor = 70);
CREATE INDEX alerts_active ON alerts (id) WHERE state <> 2;
CREATE INDEX alerts_by_charger ON alerts (charger_key, id) WHERE charger_key IS NOT NULL;
CREATE INDEX alerts_by_name ON alerts (name, id);
CREATE INDEX alerts_resolved ON alerts (at, id) WHERE state = 2;

CREATE TABLE alert_silences (
    id      uuid PRIMARY KEY,                -- version 7
    ends_at bigint NOT NULL,
    body    text NOT NULL                    -- JSON
);

-- The process that evaluates, until when, and what it remembers besides the alerts.
CREATE TABLE alert_evaluation (
    only_row   smallint PRIMARY KEY CHECK (only_row = 1),
    holder     uuid,
    held_until bigint NOT NULL,
    memory     text NOT NULL                 -- JSON
) WITH (fillfactor = 50);
INSERT INTO alert_evaluation (only_row, held_until, memory) VALUES (1, 0, '');
