//! The addresses of what belongs to an object, in its member `links`.

use central::model::{CommandView, TransactionView};
use central::query::{ChargerDetail, Page};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

/// An object with its links.
#[derive(Debug, Serialize)]
pub(crate) struct Linked<T> {
    #[serde(flatten)]
    object: T,
    links: Links,
}

impl<T> Linked<T> {
    /// The object without its links.
    pub(crate) const fn object(&self) -> &T {
        &self.object
    }
}

/// Addresses in this API of what belongs to an object. One that does not apply is absent.
#[derive(Debug, Default, Serialize, ToSchema)]
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

/// An object that has links.
pub(crate) trait HasLinks {
    /// Its own address, and those of what belongs to it.
    fn links(&self) -> Links;

    /// The object with its links.
    fn linked(self) -> Linked<Self>
    where
        Self: Sized,
    {
        let links = self.links();
        Linked {
            object: self,
            links,
        }
    }
}

impl<T: HasLinks> HasLinks for &T {
    fn links(&self) -> Links {
        (*self).links()
    }
}

/// A page of objects with their links, each as `prepare` has made it.
pub(crate) fn page<T: HasLinks>(page: Page<T>, prepare: impl Fn(&mut T)) -> Page<Linked<T>> {
    let items = page.items.into_iter().map(|mut object| {
        prepare(&mut object);
        object.linked()
    });
    Page {
        items: items.collect(),
        next: page.next,
    }
}

/// The address of a charger.
pub(crate) fn charger(id: &str) -> String {
    let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
    format!("/api/v1/chargers/{id}")
}

impl HasLinks for ChargerDetail {
    fn links(&self) -> Links {
        let id = utf8_percent_encode(&self.charger.charger_id, NON_ALPHANUMERIC);
        Links {
            own: charger(&self.charger.charger_id),
            transactions: Some(format!("/api/v1/transactions?charger={id}")),
            messages: Some(format!("/api/v1/messages?charger={id}")),
            commands: Some(format!("/api/v1/commands?charger={id}")),
            ..Links::default()
        }
    }
}

impl HasLinks for TransactionView {
    fn links(&self) -> Links {
        let own = format!("/api/v1/transactions/{}", self.key);
        Links {
            charger: Some(charger(&self.charger_id)),
            messages: Some(format!("{own}/messages")),
            meter_values: Some(format!("{own}/meter-values")),
            own,
            ..Links::default()
        }
    }
}

impl HasLinks for CommandView {
    fn links(&self) -> Links {
        let own = format!("/api/v1/commands/{}", self.id);
        let transaction = self.effect.transaction;
        Links {
            charger: Some(charger(&self.charger_id)),
            transaction: transaction.map(|key| format!("/api/v1/transactions/{key}")),
            report: self
                .report_messages
                .is_some()
                .then(|| format!("{own}/report")),
            own,
            ..Links::default()
        }
    }
}
