-- Effects of commands: what a charger's later messages show.

-- A message is joined with the commands of its charger that have one of its keys; see central::effect.
ALTER TABLE commands ADD COLUMN effect_key text COLLATE "C";     -- NULL: nothing follows the command
ALTER TABLE commands ADD COLUMN effect_until bigint;             -- later messages are not joined
ALTER TABLE commands ADD COLUMN recheck_at bigint;               -- when a report is looked at for missing pages
ALTER TABLE commands ADD COLUMN repeats uuid;                    -- the command that this one asks again for
ALTER TABLE commands ADD COLUMN repeated_by uuid;                -- the command that asks again for this one
CREATE INDEX commands_by_effect ON commands (charger_key, effect_key, no) WHERE effect_key IS NOT NULL;
CREATE INDEX commands_to_recheck ON commands (recheck_at) WHERE recheck_at IS NOT NULL;

-- What messages show of a command's effect, by its id. A state like those of chargers.
CREATE TABLE command_effects (
    id        uuid PRIMARY KEY,
    state     text NOT NULL,
    rev       bigint NOT NULL,
    stored_on integer NOT NULL DEFAULT floor(extract(epoch FROM now()) / 86400)::integer
) WITH (fillfactor = 70);
CREATE INDEX command_effects_stored_on ON command_effects (stored_on);

-- As before, and effects.
CREATE OR REPLACE FUNCTION wattpost_expire_commands(now_ms bigint, retain_days integer, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
    today   constant bigint := least(now_ms / 86400000, floor(extract(epoch FROM now()) / 86400)::bigint);
    horizon constant bigint := today - retain_days;
    gone    bigint;
    all_gone bigint := 0;
BEGIN
    IF retain_days <= 0 THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(1463899220);
    DELETE FROM commands WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM commands WHERE stored_on < horizon AND stage <> 0 LIMIT rows_max));
    GET DIAGNOSTICS gone = ROW_COUNT;
    all_gone := all_gone + gone;
    DELETE FROM command_progress WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM command_progress p WHERE p.stored_on < horizon
            AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.id = p.id) LIMIT rows_max));
    GET DIAGNOSTICS gone = ROW_COUNT;
    all_gone := all_gone + gone;
    DELETE FROM command_effects WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM command_effects e WHERE e.stored_on < horizon
            AND NOT EXISTS (SELECT 1 FROM commands c WHERE c.id = e.id) LIMIT rows_max));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN all_gone + gone;
END
$$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION wattpost_expire_commands(bigint, integer, integer) SET search_path = %I, pg_temp',
        current_schema());
END $$;
