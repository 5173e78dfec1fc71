-- The traceparent of the request, 55 characters (W3C Trace Context); NULL if it had none.
ALTER TABLE commands ADD COLUMN traceparent text;
-- Whether the payload is sent without a check against the schema.
ALTER TABLE commands ADD COLUMN skips_check boolean NOT NULL DEFAULT false;
ALTER TABLE audit_log ADD COLUMN traceparent text;
