//! The schemas of the answers, for the OpenAPI document. They describe what the views of `central` serialise to, so that
//! `central` needs to know nothing of HTTP; a test validates every answer of the tests against them.

#![allow(dead_code, reason = "these types are only described, never built")]

use serde::Serialize;
use utoipa::ToSchema;

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

/// Addresses in this API of what belongs to an object. One that does not apply is absent.
#[derive(Serialize, ToSchema)]
pub(crate) struct Links {
    /// The object itself.
    #[serde(rename = "self")]
    #[schema(example = "/api/v1/chargers/CP%2D17")]
    own: String,
    /// Of a transaction or a command: its charger.
    #[serde(skip_serializing_if = "Option::is_none")]
    charger: Option<String>,
    /// Of a command: the transaction that it started or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    /// Of a charger: its transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    transactions: Option<String>,
    /// Of a charger or a transaction: its messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<String>,
    /// Of a transaction: what was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    meter_values: Option<String>,
    /// Of a charger: the commands to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<String>,
    /// Of a command that asks for a report: its pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<String>,
}
