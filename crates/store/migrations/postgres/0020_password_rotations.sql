-- Changes of a charger's password at the charger: the newest one of each charger.
CREATE TABLE password_rotations (
    key        text COLLATE "C" PRIMARY KEY,    -- identity in lower case
    id         text NOT NULL,
    new_hash   text,                            -- Argon2 hash of the new password; NULL once it has ended
    command    uuid NOT NULL,                   -- the command that carries the password to the charger
    started_at bigint NOT NULL,
    actor      text NOT NULL,                   -- JSON: who requested it
    origin     text NOT NULL,                   -- from where
    outcome    text,                            -- NULL while it is not decided
    ended_at   bigint,
    look_at    bigint                           -- when its command is looked at again
);
CREATE INDEX password_rotations_due ON password_rotations (look_at) WHERE look_at IS NOT NULL;
