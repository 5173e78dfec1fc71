-- Sites, and to which site and group a charger belongs (docs/chargers.md).
CREATE TABLE sites (
    id        text COLLATE "C" PRIMARY KEY,
    name      text NOT NULL,
    address   text,
    time_zone text,                             -- a name of the IANA database
    latitude  double precision,                 -- degrees; both or none
    longitude double precision
);
ALTER TABLE charger_profiles ADD COLUMN label text;
ALTER TABLE charger_profiles ADD COLUMN label_key text;         -- the label in lower case
ALTER TABLE charger_profiles ADD COLUMN site text COLLATE "C";  -- the id of a site, which exists
ALTER TABLE charger_profiles ADD COLUMN charger_group text COLLATE "C";
CREATE INDEX charger_profiles_site ON charger_profiles (site, key) WHERE site IS NOT NULL;
CREATE INDEX charger_profiles_group ON charger_profiles (charger_group, key) WHERE charger_group IS NOT NULL;
