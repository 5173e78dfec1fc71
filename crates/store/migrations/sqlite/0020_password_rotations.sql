-- Changes of a charger's password at the charger: the newest one of each charger.
CREATE TABLE password_rotations (
    key        TEXT PRIMARY KEY,                -- identity in lower case
    id         TEXT NOT NULL,
    new_hash   TEXT,                            -- Argon2 hash of the new password; NULL once it has ended
    command    BLOB NOT NULL,                   -- the command that carries the password to the charger
    started_at INTEGER NOT NULL,
    actor      TEXT NOT NULL,                   -- JSON: who requested it
    origin     TEXT NOT NULL,                   -- from where
    outcome    TEXT,                            -- NULL while it is not decided
    ended_at   INTEGER,
    look_at    INTEGER                          -- when its command is looked at again
) WITHOUT ROWID;
CREATE INDEX password_rotations_due ON password_rotations (look_at) WHERE look_at IS NOT NULL;
