//! The ledger: keeps and shows the state of the network, on SQLite.
