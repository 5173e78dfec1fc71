-- The token in lower case that was accepted for a transaction, so that gateways read the running transactions of a token
-- that may be in one only. Open transactions are listed again, so that they have it.
ALTER TABLE transaction_views ADD COLUMN token_key TEXT;
CREATE INDEX transaction_views_running ON transaction_views (token_key, began_at) WHERE open AND token_key IS NOT NULL;
