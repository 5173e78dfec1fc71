-- Chargers that an operator has removed and that had sent messages; a charger that is added again has no row.
CREATE TABLE removed_chargers (
    key   TEXT PRIMARY KEY,                     -- identity in lower case
    at    INTEGER NOT NULL,
    actor TEXT NOT NULL                         -- JSON: who removed it
) WITHOUT ROWID;
