-- The traceparent of the request, 55 characters (W3C Trace Context); NULL if it had none.
ALTER TABLE commands ADD COLUMN traceparent TEXT;
-- Whether the payload is sent without a check against the schema.
ALTER TABLE commands ADD COLUMN skips_check INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit_log ADD COLUMN traceparent TEXT;
