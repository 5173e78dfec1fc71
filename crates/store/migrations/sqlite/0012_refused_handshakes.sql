-- Handshakes that gateways have refused, for the operator's list. At most 1,000 rows, and 50 of one address.
CREATE TABLE refused_handshakes (
    no          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL UNIQUE,      -- hash of the reason and the identity, or the address
    charger_key TEXT,                      -- identity in lower case; NULL if the path has none
    charger_id  TEXT,
    reason      TEXT NOT NULL,
    status      INTEGER NOT NULL,
    cure        TEXT NOT NULL,
    address     TEXT NOT NULL,
    path        TEXT,
    offered     TEXT,
    gateway     BLOB NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    count       INTEGER NOT NULL
);
CREATE INDEX refused_handshakes_of_charger ON refused_handshakes (charger_key);
CREATE INDEX refused_handshakes_of_address ON refused_handshakes (address, last_at);
