-- How often each charger needed each tolerance; `quirk` is the number of the quirk. At most one row for each quirk that
-- there is, so a charger cannot make it grow.
CREATE TABLE charger_quirks (
    charger_no integer NOT NULL,
    quirk      smallint NOT NULL,
    count      bigint NOT NULL,
    first_at   bigint NOT NULL,
    last_at    bigint NOT NULL,
    PRIMARY KEY (charger_no, quirk)
);
