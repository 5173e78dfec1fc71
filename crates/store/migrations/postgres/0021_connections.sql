-- A charger's connections, and the starts of gateways (charger 0), by time: the records `connected` (7), `disconnected` (8)
-- and `gateway_started` (9).
CREATE INDEX messages_connections ON messages (charger_no, epoch, gateway_no) WHERE kind IN (7, 8, 9);
