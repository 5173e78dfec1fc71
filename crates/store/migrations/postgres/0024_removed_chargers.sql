-- Chargers that an operator has removed and that had sent messages; a charger that is added again has no row.
CREATE TABLE removed_chargers (
    key   text COLLATE "C" PRIMARY KEY,         -- identity in lower case
    at    bigint NOT NULL,
    actor text NOT NULL                         -- JSON: who removed it
);
