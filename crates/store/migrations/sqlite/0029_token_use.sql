-- The latest transaction of a token, which the list of tokens shows.
CREATE INDEX transaction_views_by_token ON transaction_views (token_key, began_at) WHERE token_key IS NOT NULL;
