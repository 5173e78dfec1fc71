-- The revision of the directory after the last change of this charger. 0: not changed since this column exists.
ALTER TABLE charger_profiles ADD COLUMN version bigint NOT NULL DEFAULT 0;

-- Idempotency keys of requests, with what came of them; kept for 72 hours.
CREATE TABLE idempotency_keys (
    requested_by text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,
    digest       bytea NOT NULL,
    result       text NOT NULL,                      -- JSON; it contains no secret
    at           bigint NOT NULL,
    PRIMARY KEY (requested_by, key)
);
CREATE INDEX idempotency_keys_at ON idempotency_keys (at);
