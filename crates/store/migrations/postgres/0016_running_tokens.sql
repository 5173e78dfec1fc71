-- The token in lower case that was accepted for a transaction, so that gateways read the running transactions of a token
-- that may be in one only. Open transactions are listed again, so that they have it.
ALTER TABLE transaction_views ADD COLUMN token_key text COLLATE "C";
CREATE INDEX transaction_views_running ON transaction_views (token_key, began_at) WHERE open AND token_key IS NOT NULL;
INSERT INTO transactions_to_list (transaction_no)
    SELECT DISTINCT transaction_no FROM transaction_views WHERE open ON CONFLICT (transaction_no) DO NOTHING;
