-- Bytes of one message of this charger at most; NULL for the gateway's setting.
ALTER TABLE charger_profiles ADD COLUMN frame_bytes_max bigint CHECK (frame_bytes_max BETWEEN 4096 AND 8388608);
