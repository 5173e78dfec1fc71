CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    hash         bytea NOT NULL UNIQUE,                          -- of the secret, which is not stored
    scope        text NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint,
    last_used_at bigint
);

-- Who changed what. The latest 100,000 entries are kept.
CREATE TABLE audit_log (
    no           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           bigint NOT NULL,
    actor_kind   text NOT NULL,
    actor_name   text,
    origin       text NOT NULL,                                  -- address of the client, or name of the machine
    request_id   text,
    action       text NOT NULL,
    subject      text NOT NULL,
    before       text,                                           -- JSON
    after        text                                            -- JSON
);
