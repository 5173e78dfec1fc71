-- Tokens: the type of 2.x, the rule for several transactions at once, a note, and the group as it is compared.
ALTER TABLE tokens ADD COLUMN token_type TEXT;
ALTER TABLE tokens ADD COLUMN concurrent TEXT;
ALTER TABLE tokens ADD COLUMN note TEXT;
ALTER TABLE tokens ADD COLUMN group_key TEXT;                    -- group in lower case
UPDATE tokens SET group_key = lower(group_id) WHERE group_id IS NOT NULL;
CREATE INDEX tokens_group ON tokens (group_key, key) WHERE group_key IS NOT NULL;
