-- Many rows on PostgreSQL, made of those of the charger CP-1, which has sent a Heartbeat and begun a transaction. Read by the
-- tests of lists over them; what is in braces is replaced: chargers, rows (of the tables that grow with transactions),
-- messages, began (the time of the first row of each table).
INSERT INTO chargers (key, id, state)
    SELECT 'size-' || lpad(n::text, 6, '0'), 'SIZE-' || lpad(n::text, 6, '0'), c.state
    FROM chargers c, generate_series(2, {chargers}) n WHERE c.key = 'cp-1';
INSERT INTO sites (id, name) VALUES ('depot', 'Depot');
INSERT INTO charger_profiles (key, id, registration, version, label, label_key, site, charger_group)
    SELECT 'size-' || lpad(n::text, 6, '0'), 'SIZE-' || lpad(n::text, 6, '0'), 'accepted', 1, 'Gate', 'gate',
        CASE WHEN n % 100 = 0 THEN 'depot' END, CASE WHEN n % 100 = 1 THEN 'fleet' END
    FROM generate_series(2, {chargers}) n;
INSERT INTO transactions (charger_no, wire_id, state, rev)
    SELECT CASE WHEN n % 2 = 0 THEN {chargers} ELSE 1 + n % {chargers} END, 'w-' || n, t.state, 1
    FROM (SELECT state FROM transactions ORDER BY no LIMIT 1) t, generate_series(1, {rows}) n;
INSERT INTO transaction_views (began_at, key, charger_no, transaction_no, kind, open, hidden, token_key)
    SELECT {began} + no, gen_random_uuid(), charger_no, no, 0, no % 100 = 0, false,
        CASE WHEN no % 2 = 0 THEN 'tag-often' ELSE 'tag-' || no % 1500 END
    FROM transactions WHERE wire_id LIKE 'w-%';
INSERT INTO tokens (key, id, status)
    SELECT 'tag-' || n, 'TAG-' || n, 'Accepted' FROM generate_series(1, 2000) n;
INSERT INTO unknown_tokens (key, charger_no, day, token_key, latest, first_at, last_at, count)
    SELECT md5('tag-' || n)::uuid, 1 + n % {chargers}, 20454, 'tag-' || n,
        json_build_object('id', 'TAG-' || n, 'status', 'Invalid')::text, {began} + n, {began} + n, 1
    FROM generate_series(1, {rows}) n;
INSERT INTO tokens (key, id, status) VALUES ('tag-often', 'TAG-OFTEN', 'Accepted');
INSERT INTO commands (id, charger_key, charger_id, action, payload, answer_within_ms, send_before,
        created_at, requested_by, waits, stage, reason, detail, ended_at)
    SELECT gen_random_uuid(), 'size-' || lpad((1 + n % {chargers})::text, 6, '0'), 'SIZE', 'Reset', '{}',
        30000, 1, 1, 'ops', false, 2, 'expired', '', 1 FROM generate_series(1, {rows}) n;
INSERT INTO messages
    SELECT gateway_no, n, received_at + n, epoch, CASE WHEN n % 2 = 0 THEN {chargers} ELSE 1 + n % {chargers} END,
        kind, version, answer_kind, notes, charger_id, message_id, action, payload, answer, reason, raw
    FROM (SELECT * FROM messages WHERE action = 'Heartbeat' ORDER BY gateway_no, seq LIMIT 1) m,
        generate_series(1000, {messages}) n;
INSERT INTO audit_log (at, actor_kind, actor_name, origin, request_id, action, subject)
    SELECT {began} + n, 'api_key', 'ops', '', '', 'token.put', 'TAG' FROM generate_series(1, {rows}) n;
INSERT INTO command_keys (requested_by, key, digest, command, at)
    SELECT 'ops', n, '', gen_random_uuid(), {began} + n FROM generate_series(1, {rows}) n;
INSERT INTO event_log (position, recorded_at, type, occurred_at, subject, data)
    SELECT n, {began} + n, 'command.finished', {began} + n, '', '{}' FROM generate_series(1, {messages}) n
    ON CONFLICT DO NOTHING;
INSERT INTO event_sessions (key, stages, shown) SELECT key, 3, 0 FROM transaction_views ON CONFLICT DO NOTHING;
UPDATE event_head SET position = {messages}, recorded_at = {began} + {messages};
INSERT INTO message_days (gateway_no, block, day)
    SELECT DISTINCT gateway_no, seq >> 12, received_at / 86400000 FROM messages ON CONFLICT DO NOTHING;
