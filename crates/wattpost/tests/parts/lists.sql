-- Rows of the lists that `crates/store/tests/size.sql` does not fill; what is in braces is replaced.
INSERT INTO sites (id, name) SELECT 'site-' || n, 'Site ' || n FROM generate_series(1, {chargers} - 1) n;
INSERT INTO connectors (charger_no, evse, connector, state, rev)
    SELECT c.no, k.evse, n, k.state, 1
    FROM chargers c, (SELECT * FROM connectors ORDER BY charger_no LIMIT 1) k, generate_series(1, 2) n
    WHERE c.key LIKE 'size-%';
INSERT INTO dead_letters (gateway_no, seq, bytes, reason, at, charger_id, charger_key, action)
    SELECT (SELECT min(no) FROM gateways), 5000000 + n, '\x00', 'it cannot be read', {began} + n,
        'SIZE-' || lpad((1 + n % {chargers})::text, 6, '0'), 'size-' || lpad((1 + n % {chargers})::text, 6, '0'), 'StopTransaction'
    FROM generate_series(1, {rows}) n;
INSERT INTO discarded_letters (gateway_no, seq, digest, size_bytes, charger_id, charger_key, action, reason, at,
        discarded_at, discarded_by, discard_reason)
    SELECT gateway_no, seq + 5000000, '\x00', 1, charger_id, charger_key, action, reason, at, at, 'ops', 'old'
    FROM dead_letters;
INSERT INTO refused_handshakes (key, charger_key, charger_id, reason, status, cure, address, path, gateway, first_at, last_at, count)
    SELECT 'k' || n, 'nobody-' || n, 'NOBODY-' || n, 'unknown_identity', 404, 'add it', '192.0.2.' || n % 250, '/ocpp',
        (SELECT id FROM gateways ORDER BY no LIMIT 1), {began} + n, {began} + n, 1
    FROM generate_series(1, {chargers}) n;
INSERT INTO charger_quirks (charger_no, quirk, count, first_at, last_at)
    SELECT c.no, q, 5, {began}, {began} FROM chargers c, generate_series(0, 4) q ON CONFLICT DO NOTHING;
INSERT INTO local_lists (charger_key, charger_id, phase, progress, revision, due_at)
    SELECT key, id, 'in_sync', '{"phase": "in_sync"}', n, 9000000000000000
    FROM (SELECT key, id, row_number() OVER () AS n FROM chargers) c ON CONFLICT DO NOTHING;
INSERT INTO alerts (id, state, severity, name, charger_key, site, at, body)
    SELECT id::uuid, 2, 1, 'ChargerOffline', lower(charger), 'depot', {began} + n, json_build_object('id', id,
        'name', 'ChargerOffline', 'severity', 'ticket', 'subject', charger, 'charger_id', charger, 'site', 'depot',
        'state', 'resolved', 'summary', charger || ' is offline', 'active_at', {began} + n, 'fired_at', {began} + n,
        'resolved_at', {began} + n)::text
    FROM (SELECT n, lpad(to_hex({began} + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0') AS id,
        'SIZE-' || lpad((1 + n % {chargers})::text, 6, '0') AS charger FROM generate_series(1, {rows}) n) a;
INSERT INTO webhook_attempts (webhook, at, position, recorded_at, type, attempt, delivered, status, duration_ms, answer)
    SELECT w.id, {began} + n, n, {began} + n, 'command.finished', 1, true, 204, 12, ''
    FROM webhooks w, generate_series(1, 10000) n;
INSERT INTO meter_values (charger_no, at, key_hash, evse, connector, transaction_id, energy_wh, power_w, soc_percent, sampled)
    SELECT charger_no, at + n * 1000, key_hash + n, evse, connector, transaction_id, energy_wh + n, power_w, soc_percent, sampled
    FROM (SELECT * FROM meter_values ORDER BY at LIMIT 1) m, generate_series(1, {chargers}) n;
