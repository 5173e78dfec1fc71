//! A transaction id for OCPP 1.6 that needs nobody to be asked: see `docs/adr/0002-transaction-ids.md`.
