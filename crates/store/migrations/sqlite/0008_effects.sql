-- Effects of commands: what a charger's later messages show.

-- A message is joined with the commands of its charger that have one of its keys; see central::effect.
ALTER TABLE commands ADD COLUMN effect_key TEXT;             -- NULL: nothing follows the command
ALTER TABLE commands ADD COLUMN effect_until INTEGER;        -- later messages are not joined
ALTER TABLE commands ADD COLUMN recheck_at INTEGER;          -- when a report is looked at for missing pages
ALTER TABLE commands ADD COLUMN repeats BLOB;                -- the command that this one asks again for
ALTER TABLE commands ADD COLUMN repeated_by BLOB;            -- the command that asks again for this one
CREATE INDEX commands_by_effect ON commands (charger_key, effect_key, no) WHERE effect_key IS NOT NULL;
CREATE INDEX commands_to_recheck ON commands (recheck_at) WHERE recheck_at IS NOT NULL;

-- What messages show of a command's effect, by its id. A state like those of chargers.
CREATE TABLE command_effects (
    id    BLOB PRIMARY KEY,
    state TEXT NOT NULL
) WITHOUT ROWID;
