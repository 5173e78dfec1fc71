-- The tables on SQLite. Chargers and gateways have numbers, because every row refers to one.
-- Times are milliseconds since 1970 (UTC). `state` is the JSON of a mergeable state.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

INSERT INTO settings VALUES ('directory_revision', 1);

CREATE TABLE gateways (
    no    INTEGER PRIMARY KEY,          -- from 0, in the order of their first record
    id    BLOB NOT NULL UNIQUE,         -- UUID
    state TEXT
);

CREATE TABLE chargers (
    no    INTEGER PRIMARY KEY,          -- from 1; 0 = no charger
    key   TEXT NOT NULL UNIQUE,         -- identity in lower case
    id    TEXT NOT NULL,                -- identity as it was spelled first
    state TEXT
);

CREATE TABLE connectors (
    charger_no INTEGER NOT NULL,
    evse       INTEGER NOT NULL,
    connector  INTEGER NOT NULL,
    state      TEXT NOT NULL,
    PRIMARY KEY (charger_no, evse, connector)
) WITHOUT ROWID;

CREATE TABLE transactions (
    no         INTEGER PRIMARY KEY,
    charger_no INTEGER NOT NULL,
    wire_id    TEXT NOT NULL,           -- transaction id as on the wire
    state      TEXT NOT NULL,
    UNIQUE (charger_no, wire_id)
);

-- One row per charging session, so that lists can be sorted and filtered without reading states. `kind` is the row's
-- role in pairing: 0 none, 1 a start without a stop, 2 a stop that names no start; `token` (a hash) and `meter_wh`
-- decide which rows fit. `partner` is the other row's key, `partner_no` the number of its state. `open` and `hidden`
-- are the result of pairing.
CREATE TABLE transaction_views (
    began_at       INTEGER NOT NULL,
    key            BLOB NOT NULL,       -- UUID from the natural key
    charger_no     INTEGER NOT NULL,
    transaction_no INTEGER NOT NULL,
    kind           INTEGER NOT NULL,
    open           INTEGER NOT NULL,
    hidden         INTEGER NOT NULL,
    token          INTEGER,
    meter_wh       REAL,
    partner        BLOB,
    partner_no     INTEGER,
    PRIMARY KEY (began_at, key)
) WITHOUT ROWID;
CREATE INDEX transaction_views_by_charger ON transaction_views (charger_no, began_at, key);
CREATE INDEX transaction_views_by_transaction ON transaction_views (transaction_no);
CREATE INDEX transaction_views_by_key ON transaction_views (key);
CREATE INDEX transaction_views_open ON transaction_views (began_at, key) WHERE open;
CREATE INDEX transaction_views_pairing ON transaction_views (charger_no, began_at, kind, key) WHERE kind > 0;

-- Keys that transactions had while their start was missing.
CREATE TABLE transaction_aliases (
    key            BLOB PRIMARY KEY,
    transaction_no INTEGER NOT NULL
) WITHOUT ROWID;

-- Every record; also the inbox. `id` is gateway number << 44 | seq, so that new rows go to the end.
CREATE TABLE messages (
    id          INTEGER PRIMARY KEY,
    charger_no  INTEGER NOT NULL,
    charger_id  TEXT,                   -- only where it is spelled otherwise than in `chargers`
    kind        INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    answer_kind INTEGER NOT NULL,
    notes       INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    message_id  TEXT NOT NULL,
    action      TEXT NOT NULL,
    payload     TEXT NOT NULL,
    answer      TEXT NOT NULL,
    reason      TEXT NOT NULL
);

-- Sorted by charger only within a block of 16,384 rows: new entries are close together, however many chargers there
-- are, and a charger's rows are found with one seek per block.
CREATE INDEX messages_by_charger ON messages (id >> 14, charger_no);

-- A summary of each block of messages, so that filters can skip blocks. `actions` and `kinds` are sets of bits: with a
-- bit that is not set, the block has no such message; with a bit that is set, it may have one.
CREATE TABLE message_blocks (
    block    INTEGER PRIMARY KEY,       -- id >> 14
    rows     INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    actions  INTEGER NOT NULL,
    kinds    INTEGER NOT NULL
);

-- Sorted by spans of five minutes first, so that the current measurements are written close together.
CREATE TABLE meter_values (
    span           INTEGER NOT NULL,    -- at / 300,000, rounded down
    charger_no     INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    key_hash       INTEGER NOT NULL,
    evse           INTEGER,
    connector      INTEGER,
    transaction_id TEXT,
    energy_wh      REAL,
    power_w        REAL,
    soc_percent    REAL,
    sampled        TEXT NOT NULL,
    PRIMARY KEY (span, charger_no, at, key_hash)
) WITHOUT ROWID;

CREATE TABLE events (
    charger_no INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    key_hash   INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT,
    value      TEXT,
    evse       INTEGER,
    connector  INTEGER,
    data       TEXT NOT NULL,
    PRIMARY KEY (charger_no, at, key_hash)
) WITHOUT ROWID;

CREATE TABLE dead_letters (
    no         INTEGER PRIMARY KEY,
    gateway_no INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    bytes      BLOB NOT NULL,
    reason     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    UNIQUE (gateway_no, seq)
);

-- States that could not be read when a change was to be merged into them, and further dead letters with one id.
CREATE TABLE set_aside (
    no     INTEGER PRIMARY KEY,
    what   TEXT NOT NULL,
    state  BLOB NOT NULL,
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL
);

CREATE TABLE charger_profiles (
    key           TEXT PRIMARY KEY,     -- identity in lower case
    id            TEXT NOT NULL,
    registration  TEXT NOT NULL,
    password_hash TEXT,
    check_mode    TEXT
) WITHOUT ROWID;

CREATE TABLE tokens (
    key        TEXT PRIMARY KEY,        -- id in lower case
    id         TEXT NOT NULL,
    status     TEXT NOT NULL,
    expires_at INTEGER,
    group_id   TEXT
) WITHOUT ROWID;
