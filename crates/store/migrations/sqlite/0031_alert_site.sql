-- The site of an alert, by which alerts are listed. Alerts of before have none.
ALTER TABLE alerts ADD COLUMN site TEXT;
CREATE INDEX alerts_by_site ON alerts (site, id) WHERE site IS NOT NULL;
