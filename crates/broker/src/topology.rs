//! The exchanges and queues that must exist in RabbitMQ, and their names. They are declared at every connection
//! and periodically, so that deleted ones are created again.
//!
//! ```text
//!   publish ──▶ wattpost.records.N ──▶ queue wattpost.records.N
//!                 (exchange)      └──▶ wattpost.records (topic) ──▶ external consumers
//! ```
//! A topic exchange in front of the queues cost RabbitMQ as much as the queues (ADR 0009).

use crate::Config;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use std::time::Duration;

/// Records by topic, for external consumers.
const RECORDS: &str = "wattpost.records";
/// Exchange and queue for records that no binding matched.
pub(crate) const UNROUTABLE: &str = "wattpost.unroutable";
/// Exchange and queue for records that RabbitMQ dead-lettered.
pub(crate) const DEAD: &str = "wattpost.dead";
/// Cluster events, a fanout to all processes.
pub(crate) const CLUSTER_EVENTS: &str = "wattpost.cluster_events";

/// An effectively unlimited delivery limit, for queues whose messages must not be dead-lettered: RabbitMQ 4
/// defaults to 20 deliveries, and RabbitMQ 3 reads a negative number as 0.
const DELIVERIES_WITHOUT_END: i64 = 2_000_000_000;

/// No records are routed to a new queue for this long. RabbitMQ persists the location of the queue's log half a
/// second after the declaration; a node killed before that loses the queue with all confirmed messages (seen on
/// 3.10.8: lost after 300 ms, kept after 600 ms).
const SETTLES_IN: Duration = Duration::from_millis(1_000);

/// The queue of a partition, and the exchange in front of it.
pub(crate) fn of_partition(partition: u16) -> String {
    format!("{RECORDS}.{partition}")
}

fn is_of_partition(queue: &str) -> bool {
    queue.starts_with(RECORDS)
}

/// Declares everything. Existing objects with the same properties stay unchanged.
pub(crate) async fn declare(connection: &Connection, config: &Config) -> lapin::Result<()> {
    let missing = missing_queues(connection, config).await?;
    let channel = &connection.create_channel().await?;
    exchange(channel, UNROUTABLE, ExchangeKind::Fanout, &[]).await?;
    exchange(channel, DEAD, ExchangeKind::Fanout, &[]).await?;
    exchange(channel, CLUSTER_EVENTS, ExchangeKind::Fanout, &[]).await?;
    exchange(channel, RECORDS, ExchangeKind::Topic, &[]).await?;
    let otherwise = [("alternate-exchange", text(UNROUTABLE))];
    for partition in 0..config.partitions {
        let name = of_partition(partition);
        exchange(channel, &name, ExchangeKind::Fanout, &otherwise).await?;
    }

    let forever = AMQPValue::LongLongInt(DELIVERIES_WITHOUT_END);
    queue(channel, DEAD, &[("x-delivery-limit", forever)]).await?;
    queue(channel, UNROUTABLE, &of_records(config)).await?;
    for partition in 0..config.partitions {
        queue(channel, &of_partition(partition), &of_records(config)).await?;
    }
    if !missing.is_empty() {
        // Until then a record must not reach only the external consumers and be confirmed: without a binding it
        // goes to the alternate exchange.
        for queue in missing.iter().filter(|queue| is_of_partition(queue)) {
            unbind_exchange(channel, queue, RECORDS).await?;
        }
        tokio::time::sleep(SETTLES_IN).await;
    }
    bind(channel, DEAD, DEAD, "").await?;
    bind(channel, UNROUTABLE, UNROUTABLE, "").await?;
    for partition in 0..config.partitions {
        let name = of_partition(partition);
        bind(channel, &name, &name, "").await?;
        bind_exchange(channel, &name, RECORDS).await?;
    }
    Ok(())
}

async fn missing_queues(connection: &Connection, config: &Config) -> lapin::Result<Vec<String>> {
    let partitions = (0..config.partitions).map(of_partition);
    let mut missing = Vec::new();
    let mut channel = connection.create_channel().await?;
    for queue in [DEAD.to_owned(), UNROUTABLE.to_owned()]
        .into_iter()
        .chain(partitions)
    {
        match depth(&channel, &queue).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {
                missing.push(queue);
                // A passive declaration of a missing queue closes the channel.
                channel = connection.create_channel().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// RabbitMQ's counts for a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depth {
    /// Ready messages, without those delivered to a consumer.
    pub(crate) messages: u64,
    pub(crate) consumers: u32,
}

/// Declares a queue passively; if it does not exist, the error closes the channel.
pub(crate) async fn depth(channel: &Channel, queue: &str) -> lapin::Result<Depth> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await?;
    Ok(Depth {
        messages: queue.message_count().into(),
        consumers: queue.consumer_count(),
    })
}

/// Whether an error means that the queue does not exist.
pub(crate) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == 404)
}

/// A queue of records. It has a single active consumer, which preserves the order; it refuses records when full,
/// and dead-letters only to the dead-letter queue. Neither loses a record.
fn of_records(config: &Config) -> [(&'static str, AMQPValue); 6] {
    let length = i64::try_from(config.queue_records_max).unwrap_or(i64::MAX);
    [
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-max-length", AMQPValue::LongLongInt(length)),
        ("x-overflow", text("reject-publish")),
        (
            "x-delivery-limit",
            AMQPValue::LongLongInt(config.delivery_limit.into()),
        ),
        ("x-dead-letter-exchange", text(DEAD)),
        ("x-dead-letter-strategy", text("at-least-once")),
    ]
}

async fn bind_exchange(channel: &Channel, from: &str, to: &str) -> lapin::Result<()> {
    let options = ExchangeBindOptions::default();
    channel
        .exchange_bind(
            to.into(),
            from.into(),
            ShortString::default(),
            options,
            FieldTable::default(),
        )
        .await
}

async fn unbind_exchange(channel: &Channel, from: &str, to: &str) -> lapin::Result<()> {
    let options = ExchangeUnbindOptions::default();
    channel
        .exchange_unbind(
            to.into(),
            from.into(),
            ShortString::default(),
            options,
            FieldTable::default(),
        )
        .await
}

async fn exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: &[(&str, AMQPValue)],
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(name.into(), kind, options, table(arguments))
        .await
}

async fn queue(
    channel: &Channel,
    name: &str,
    arguments: &[(&str, AMQPValue)],
) -> lapin::Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = table(arguments);
    arguments.insert("x-queue-type".into(), text("quorum"));
    channel
        .queue_declare(name.into(), options, arguments)
        .await
        .map(|_| ())
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(ShortString::from(*name), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
