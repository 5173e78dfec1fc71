//! The schemas of the answers, for the OpenAPI document. They describe what the views of `central` serialise to, so that
//! `central` needs to know nothing of HTTP; a test validates every answer of the tests against them.

#![allow(dead_code, reason = "these types are only described, never built")]

mod access;
mod alerts;
mod answers;
mod batches;
mod chargers;
mod commands;
mod dead_letters;
mod events;
mod import;
mod messages;
mod pipeline;
mod sites;
mod tokens;
mod transactions;
mod webhooks;

pub(crate) use access::*;
pub(crate) use alerts::*;
pub(crate) use answers::*;
pub(crate) use batches::*;
pub(crate) use chargers::*;
pub(crate) use commands::*;
pub(crate) use dead_letters::*;
pub(crate) use events::*;
pub(crate) use import::*;
pub(crate) use messages::*;
pub(crate) use pipeline::*;
pub(crate) use sites::*;
pub(crate) use tokens::*;
pub(crate) use transactions::*;
pub(crate) use webhooks::*;
