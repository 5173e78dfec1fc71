-- The rights that a running Wattpost needs, and no others. Run it as the owner of the tables after each
-- `wattpost migrate`:
--
--   psql "$OWNER_URL" -v role=wattpost_app -f grants.sql
--
-- Only the owner creates, changes and drops tables: functions that run with the owner's rights create partitions and
-- delete old rows.
GRANT SELECT ON wattpost_schema TO :"role";
GRANT SELECT, UPDATE ON settings TO :"role";
GRANT SELECT, INSERT, UPDATE ON gateways, chargers, connectors, transactions, charger_quirks TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON transaction_views TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON unknown_tokens, dismissed_tokens, token_refusals TO :"role";
GRANT SELECT, INSERT ON transaction_aliases, transaction_closings, unnamed_places TO :"role";
GRANT SELECT, INSERT, DELETE ON transactions_to_list TO :"role";
-- Stored messages are never changed; the retention deletes them with the owner's rights.
GRANT SELECT, INSERT ON messages, message_days, meter_values, events, set_aside TO :"role";
GRANT SELECT ON messages_outside, meter_values_outside TO :"role";
GRANT SELECT, INSERT, DELETE ON dead_letters TO :"role";
GRANT SELECT, INSERT ON discarded_letters TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON sites, charger_profiles, removed_chargers, password_rotations, tokens, api_keys, users TO :"role";
GRANT SELECT, INSERT, DELETE ON audit_log TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON local_list_wishes, local_lists, local_list_contents TO :"role";
GRANT SELECT, INSERT, UPDATE ON commands, command_progress, command_effects TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON command_keys, idempotency_keys, processes, refused_handshakes, disconnect_requests TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON event_queue TO :"role";
GRANT SELECT, INSERT, DELETE ON event_log TO :"role";
GRANT SELECT, UPDATE ON event_head TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON event_sessions TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON batches, batch_items, webhooks TO :"role";
GRANT SELECT, INSERT, DELETE ON webhook_attempts TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON alerts, alert_silences TO :"role";
GRANT SELECT, UPDATE ON alert_evaluation TO :"role";
GRANT EXECUTE ON FUNCTION
    wattpost_move(text, text, bigint, bigint),
    wattpost_maintain(bigint, integer, boolean),
    wattpost_expire(bigint, integer, integer),
    wattpost_expire_commands(bigint, integer, integer),
    wattpost_expire_discarded(bigint, integer, integer),
    wattpost_expire_transactions(bigint, integer, integer, bigint, uuid) TO :"role";
