-- Sites, and to which site and group a charger belongs (docs/chargers.md).
CREATE TABLE sites (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    address   TEXT,
    time_zone TEXT,                 -- a name of the IANA database
    latitude  REAL,                 -- degrees; both or none
    longitude REAL
) WITHOUT ROWID;
ALTER TABLE charger_profiles ADD COLUMN label TEXT;
ALTER TABLE charger_profiles ADD COLUMN label_key TEXT;     -- the label in lower case
ALTER TABLE charger_profiles ADD COLUMN site TEXT;          -- the id of a site, which exists
ALTER TABLE charger_profiles ADD COLUMN charger_group TEXT;
CREATE INDEX charger_profiles_site ON charger_profiles (site, key) WHERE site IS NOT NULL;
CREATE INDEX charger_profiles_group ON charger_profiles (charger_group, key) WHERE charger_group IS NOT NULL;
