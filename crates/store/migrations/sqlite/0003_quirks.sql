-- How often each charger needed each tolerance; `quirk` is the number of the quirk. At most one row for each quirk that
-- there is, so a charger cannot make it grow.
CREATE TABLE charger_quirks (
    charger_no INTEGER NOT NULL,
    quirk      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    first_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    PRIMARY KEY (charger_no, quirk)
) WITHOUT ROWID;
