-- What events of dead letters need, and columns that nothing uses.

-- A letter that is removed before the log of events has taken it, as JSON: its event shows it all the same.
ALTER TABLE event_queue ADD COLUMN letter text;

-- Keys of requests for batches are in idempotency_keys.
DROP INDEX batches_key;
ALTER TABLE batches DROP COLUMN key, DROP COLUMN digest;
