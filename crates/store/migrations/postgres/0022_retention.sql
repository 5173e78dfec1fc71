-- Transactions are deleted some time after their end.

-- Looks at `rows_max` rows of the list of transactions that began before the retention and come after the place
-- (`after_at`, `after_key`). Deletes the states of which all sessions, and those that they are paired with, have ended and
-- were last heard of longer ago than `retain_days` (0: none), with what belongs to them. Returns the number of deleted
-- states and the place where the next call goes on; NULL at the end. Retention uses the clock of the caller or of the
-- database, whichever is behind.
CREATE FUNCTION wattpost_expire_transactions(
    now_ms bigint, retain_days integer, rows_max integer, after_at bigint, after_key uuid,
    OUT gone bigint, OUT next_at bigint, OUT next_key uuid)
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
    today   constant bigint := least(now_ms / 86400000, floor(extract(epoch FROM now()) / 86400)::bigint);
    horizon constant bigint := (today - retain_days) * 86400000;
    looked  bigint;
    numbers bigint[];
BEGIN
    gone := 0;
    IF retain_days <= 0 THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(1463899220);
    SELECT count(*), array_agg(DISTINCT p.transaction_no), max(p.began_at),
        (array_agg(p.key ORDER BY p.began_at DESC, p.key DESC))[1]
        INTO looked, numbers, next_at, next_key
        FROM (SELECT v.began_at, v.key, v.transaction_no FROM transaction_views v
            WHERE (v.began_at, v.key) > (after_at, after_key) AND v.began_at < horizon
            ORDER BY v.began_at, v.key LIMIT rows_max) p;
    IF looked < rows_max THEN
        next_at := NULL;
        next_key := NULL;
    END IF;
    IF looked = 0 THEN
        RETURN;
    END IF;
    -- These locks serialize the writers of what belongs to a charger; batches take them in this order too.
    PERFORM 1 FROM chargers c WHERE c.no IN (SELECT t.charger_no FROM transactions t WHERE t.no = ANY (numbers))
        ORDER BY c.no FOR UPDATE;
    SELECT array_agg(n.no) INTO numbers FROM unnest(numbers) AS n (no)
        WHERE NOT EXISTS (SELECT 1 FROM transactions_to_list l WHERE l.transaction_no = n.no)
        AND NOT EXISTS (
            SELECT 1 FROM transaction_views v LEFT JOIN transaction_views p ON p.transaction_no = v.partner_no
            WHERE v.transaction_no = n.no AND (v.open OR p.open OR horizon <= greatest(
                v.began_at, v.start_received_at, v.heard_at, v.stopped_at, v.stop_received_at, v.successor_at,
                v.successor_received_at, p.began_at, p.start_received_at, p.heard_at, p.stopped_at, p.stop_received_at)));
    DELETE FROM transaction_closings WHERE key IN (
        SELECT v.key FROM transaction_views v WHERE v.transaction_no = ANY (numbers)
        UNION ALL SELECT a.key FROM transaction_aliases a WHERE a.transaction_no = ANY (numbers));
    DELETE FROM transaction_aliases WHERE transaction_no = ANY (numbers);
    DELETE FROM transaction_views WHERE transaction_no = ANY (numbers);
    DELETE FROM transactions WHERE no = ANY (numbers);
    GET DIAGNOSTICS gone = ROW_COUNT;
END
$$;
CREATE INDEX transaction_aliases_by_transaction ON transaction_aliases (transaction_no);
REVOKE ALL ON FUNCTION wattpost_expire_transactions(bigint, integer, integer, bigint, uuid) FROM PUBLIC;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION wattpost_expire_transactions(bigint, integer, integer, bigint, uuid)
        SET search_path = %I, pg_temp', current_schema());
END $$;
