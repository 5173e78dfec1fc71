-- Requests of operators to close a charger's connection. Its gateway reads them, and says that it has.
CREATE TABLE disconnect_requests (
    id           uuid PRIMARY KEY,
    gateway      uuid NOT NULL,
    charger      text NOT NULL,                 -- identity
    epoch        bigint NOT NULL,               -- the connection: a later one stays open
    code         integer NOT NULL,              -- close code of WebSocket
    reason       text NOT NULL,                 -- empty if none was given
    requested_at bigint NOT NULL,
    expires_at   bigint NOT NULL,               -- from then on the gateway does nothing
    heard_at     bigint,                        -- when the gateway read it
    was_held     boolean                        -- whether the gateway had the connection
);
CREATE INDEX disconnect_requests_waiting ON disconnect_requests (gateway, requested_at) WHERE heard_at IS NULL;
CREATE INDEX disconnect_requests_age ON disconnect_requests (requested_at);
