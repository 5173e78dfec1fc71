-- Dead letters by charger and action, and those that a person has discarded: without their content, so that their
-- records still count as stored. The columns of older dead letters are filled by the program that migrates.

ALTER TABLE dead_letters ADD COLUMN charger_id TEXT;
ALTER TABLE dead_letters ADD COLUMN charger_key TEXT;    -- identity in lower case
ALTER TABLE dead_letters ADD COLUMN action TEXT;

CREATE TABLE discarded_letters (
    no             INTEGER PRIMARY KEY,                  -- in the order in which they were discarded
    gateway_no     INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    digest         BLOB NOT NULL,                        -- SHA-256 of the record
    size_bytes     INTEGER NOT NULL,
    charger_id     TEXT,
    charger_key    TEXT,
    action         TEXT,
    reason         TEXT NOT NULL,
    at             INTEGER NOT NULL,
    discarded_at   INTEGER NOT NULL,
    discarded_by   TEXT NOT NULL,
    discard_reason TEXT NOT NULL
);
CREATE INDEX discarded_letters_by_record ON discarded_letters (gateway_no, seq);
