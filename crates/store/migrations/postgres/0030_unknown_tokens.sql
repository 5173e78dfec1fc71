-- How often each charger presented a token that its gateway did not accept as known, by UTC day. Of one charger and day the
-- 50 smallest keys are kept, so a charger cannot make it grow, and any order of messages leaves the same rows.
CREATE TABLE unknown_tokens (
    key        uuid NOT NULL,                          -- hash of the id in lower case
    charger_no integer NOT NULL,
    day        bigint NOT NULL,                        -- days since 1970
    token_key  text COLLATE "C" NOT NULL,              -- the id in lower case
    latest     text COLLATE "C" NOT NULL,              -- the latest message as JSON
    first_at   bigint NOT NULL,
    last_at    bigint NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (key, charger_no, day)
);
CREATE INDEX unknown_tokens_of_day ON unknown_tokens (charger_no, day, key);
CREATE INDEX unknown_tokens_by_time ON unknown_tokens (last_at, key, charger_no);

-- Unknown tokens that an operator has dismissed: not listed unless a message is later than `last_at`.
CREATE TABLE dismissed_tokens (
    key     uuid PRIMARY KEY,
    last_at bigint NOT NULL
);

-- How many events `token.refused` a charger had in the hour that its latest one was in.
CREATE TABLE token_refusals (
    charger_no integer PRIMARY KEY,
    hour       bigint NOT NULL,                        -- hours since 1970
    count      bigint NOT NULL
);
