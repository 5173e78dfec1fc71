-- Requests of operators to close a charger's connection. Its gateway reads them, and says that it has.
CREATE TABLE disconnect_requests (
    id           BLOB PRIMARY KEY,
    gateway      BLOB NOT NULL,
    charger      TEXT NOT NULL,                 -- identity
    epoch        INTEGER NOT NULL,              -- the connection: a later one stays open
    code         INTEGER NOT NULL,              -- close code of WebSocket
    reason       TEXT NOT NULL,                 -- empty if none was given
    requested_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,              -- from then on the gateway does nothing
    heard_at     INTEGER,                       -- when the gateway read it
    was_held     INTEGER                        -- whether the gateway had the connection
) WITHOUT ROWID;
CREATE INDEX disconnect_requests_waiting ON disconnect_requests (gateway, requested_at) WHERE heard_at IS NULL;
CREATE INDEX disconnect_requests_age ON disconnect_requests (requested_at);
