-- Local users of the dashboard (docs/dashboard.md).
CREATE TABLE users (
    id                  BLOB PRIMARY KEY,
    name                TEXT NOT NULL UNIQUE,   -- in lower case
    password            TEXT NOT NULL,          -- its Argon2id hash, a PHC string
    scope               TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    disabled_at         INTEGER,
    password_changed_at INTEGER NOT NULL,
    last_sign_in_at     INTEGER
) WITHOUT ROWID;
