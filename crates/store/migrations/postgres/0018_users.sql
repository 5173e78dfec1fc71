-- Local users of the dashboard (docs/dashboard.md).
CREATE TABLE users (
    id                  uuid PRIMARY KEY,
    name                text COLLATE "C" NOT NULL UNIQUE,        -- in lower case
    password            text NOT NULL,                           -- its Argon2id hash, a PHC string
    scope               text NOT NULL,
    created_at          bigint NOT NULL,
    disabled_at         bigint,
    password_changed_at bigint NOT NULL,
    last_sign_in_at     bigint
);
