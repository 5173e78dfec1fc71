-- The day since 1970 on which a row was stored, so that the retention also bounds rows whose time is a charger's wrong
-- clock. 0: before this column existed.
ALTER TABLE meter_values ADD COLUMN stored_on INTEGER NOT NULL DEFAULT 0;
-- Values of the distant future are deleted by the day on which they were stored alone.
UPDATE meter_values SET stored_on = unixepoch() / 86400 WHERE span > unixepoch() / 300 + 2304;
ALTER TABLE events ADD COLUMN stored_on INTEGER NOT NULL DEFAULT 0;
UPDATE events SET stored_on = unixepoch() / 86400;
CREATE INDEX events_stored_on ON events (stored_on);
CREATE INDEX transaction_aliases_by_transaction ON transaction_aliases (transaction_no);
