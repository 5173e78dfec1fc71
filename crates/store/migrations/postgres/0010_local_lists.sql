-- Local authorization lists: what the operator wishes, how far each charger's list is, and what lists hold.
CREATE TABLE local_list_wishes (
    charger_key text COLLATE "C" PRIMARY KEY,                   -- '' = all chargers without a wish of their own
    charger_id  text NOT NULL,
    wish        text NOT NULL,                                   -- JSON
    wished_at   bigint NOT NULL
);
CREATE TABLE local_lists (
    charger_key text COLLATE "C" PRIMARY KEY,
    charger_id  text NOT NULL,
    phase       text NOT NULL,
    content     text,                                            -- digest of the list that the charger has
    progress    text NOT NULL,                                   -- JSON
    revision    bigint NOT NULL,
    due_at      bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX local_lists_due ON local_lists (due_at);
CREATE TABLE local_list_contents (
    digest  text COLLATE "C" PRIMARY KEY,
    entries text NOT NULL,                                       -- JSON
    kept_at bigint NOT NULL
);
