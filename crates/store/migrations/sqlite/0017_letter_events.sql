-- What events of dead letters need, and columns that nothing uses.

-- A letter that is removed before the log of events has taken it, as JSON: its event shows it all the same.
ALTER TABLE event_queue ADD COLUMN letter TEXT;

-- The number of a removed letter is not given to another one: the queue of events names letters by their numbers.
CREATE TABLE numbered_letters (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway_no  INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    bytes       BLOB NOT NULL,
    reason      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    charger_id  TEXT,
    charger_key TEXT,                        -- identity in lower case
    action      TEXT,
    UNIQUE (gateway_no, seq)
);
INSERT INTO numbered_letters (no, gateway_no, seq, bytes, reason, at, charger_id, charger_key, action)
    SELECT no, gateway_no, seq, bytes, reason, at, charger_id, charger_key, action FROM dead_letters ORDER BY no;
DROP TABLE dead_letters;
ALTER TABLE numbered_letters RENAME TO dead_letters;
-- Numbers that the queue still names were given already.
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'dead_letters', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'dead_letters');
UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT max(number) FROM event_queue WHERE kind = 8), 0))
    WHERE name = 'dead_letters';

-- Keys of requests for batches are in idempotency_keys.
DROP INDEX batches_key;
ALTER TABLE batches DROP COLUMN key;
ALTER TABLE batches DROP COLUMN digest;
