//! The store's tests on real databases: one program, so that it starts one PostgreSQL server.
//!
//! Tests that assert bounds of time are in the program `outages`, where nothing else takes the processor.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../common/mod.rs"]
mod common;

mod alerts;
mod api_keys;
mod batches;
mod charger_settings;
mod commands;
mod crash;
mod dead_letters;
mod directory;
mod disconnects;
mod effects;
mod event_log;
mod handshakes;
mod imports;
mod laws;
mod local_lists;
mod maintenance;
mod pages;
mod poison;
mod postgres_maintenance;
mod processes;
mod quirks;
mod reading;
mod records;
mod replay;
mod retention;
mod rotations;
mod sites;
mod size;
mod sqlite_outages;
mod tokens;
mod unknown_tokens;
mod unreadable;
mod upgrade;
mod users;
mod webhooks;
mod writers;
