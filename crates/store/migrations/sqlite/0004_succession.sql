-- What the sessions of one connector tell about each other (docs/adr/0012-sessions-of-one-connector.md).

-- `unended`: the state has no stop for it, before pairing. `place`, `start_at` to `stop_received_at`: where it is in the
-- order of its connector's sessions, and what its neighbours depend on; `place` is the connector (1.6) or the EVSE (2.x).
-- `successor` is the key of the session that supersedes it. `readings`: the readings that name no transaction and are of
-- its time. `closed`: a person closed it (`transaction_closings`). `open` is the result of all of them.
ALTER TABLE transaction_views ADD COLUMN unended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transaction_views ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transaction_views ADD COLUMN place INTEGER;
ALTER TABLE transaction_views ADD COLUMN start_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN start_received_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN written_start_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN heard_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN stopped_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN stop_received_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN successor BLOB;
ALTER TABLE transaction_views ADD COLUMN successor_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN successor_received_at INTEGER;
ALTER TABLE transaction_views ADD COLUMN readings TEXT;
UPDATE transaction_views SET unended = 1 WHERE kind = 1 OR open;
CREATE INDEX transaction_views_by_place
    ON transaction_views (charger_no, place, start_at, start_received_at, key) WHERE place IS NOT NULL;
CREATE INDEX transaction_views_superseded ON transaction_views (transaction_no) WHERE successor IS NOT NULL;

-- Sessions without a stop that a person closed.
CREATE TABLE transaction_closings (
    key       BLOB PRIMARY KEY,         -- of the session, as it was when it was closed
    ended_at  INTEGER NOT NULL,         -- what the person said
    who       TEXT NOT NULL,
    reason    TEXT NOT NULL,
    noted_at  INTEGER NOT NULL
) WITHOUT ROWID;

-- The EVSE (2.x) or connector (1.6) of a value that names no transaction.
ALTER TABLE meter_values ADD COLUMN unnamed_at INTEGER;
CREATE INDEX meter_values_unnamed ON meter_values (charger_no, unnamed_at, at) WHERE unnamed_at IS NOT NULL;

-- Where such values were ever received: elsewhere none are looked for.
CREATE TABLE unnamed_places (
    charger_no INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    PRIMARY KEY (charger_no, place)
) WITHOUT ROWID;
