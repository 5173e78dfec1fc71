-- A charger's connections, and the starts of gateways (charger 0), by time: the records `connected` (7), `disconnected` (8)
-- and `gateway_started` (9). An id without its 44 last bits is the gateway's number.
CREATE INDEX messages_connections ON messages (charger_no, epoch, id) WHERE kind IN (7, 8, 9);
