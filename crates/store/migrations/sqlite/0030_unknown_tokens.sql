-- How often each charger presented a token that its gateway did not accept as known, by UTC day. Of one charger and day the
-- 50 smallest keys are kept, so a charger cannot make it grow, and any order of messages leaves the same rows.
CREATE TABLE unknown_tokens (
    key        BLOB NOT NULL,              -- hash of the id in lower case
    charger_no INTEGER NOT NULL,
    day        INTEGER NOT NULL,           -- days since 1970
    token_key  TEXT NOT NULL,              -- the id in lower case
    latest     TEXT NOT NULL,              -- the latest message as JSON
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (key, charger_no, day)
) WITHOUT ROWID;
CREATE INDEX unknown_tokens_of_day ON unknown_tokens (charger_no, day, key);
CREATE INDEX unknown_tokens_by_time ON unknown_tokens (last_at, key, charger_no);

-- Unknown tokens that an operator has dismissed: not listed unless a message is later than `last_at`.
CREATE TABLE dismissed_tokens (
    key     BLOB PRIMARY KEY,
    last_at INTEGER NOT NULL
) WITHOUT ROWID;

-- How many events `token.refused` a charger had in the hour that its latest one was in.
CREATE TABLE token_refusals (
    charger_no INTEGER PRIMARY KEY,
    hour       INTEGER NOT NULL,           -- hours since 1970
    count      INTEGER NOT NULL
);
