//! What must exist in RabbitMQ, and under which names; declared at every connection and again from time
//! to time, so that what somebody deletes comes back.
//!
//! ```text
//!   publish ──▶ wattpost.records.N ──▶ queue wattpost.records.N
//!                 (exchange)      └──▶ wattpost.records (topic) ──▶ queues of strangers
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

/// Records by topic, for strangers.
const RECORDS: &str = "wattpost.records";
/// Exchange and queue for records that no binding took.
pub(crate) const UNROUTABLE: &str = "wattpost.unroutable";
/// Exchange and queue for records that RabbitMQ gave up.
pub(crate) const DEAD: &str = "wattpost.dead";
/// News between processes, to everybody.
pub(crate) const ANNOUNCEMENTS: &str = "wattpost.announcements";
/// Commands to chargers, by topic.
pub(crate) const COMMANDS: &str = "wattpost.commands";

/// "Never", for queues whose messages must not be given up: RabbitMQ 4 would do so after 20 deliveries
/// when nothing is said, and RabbitMQ 3 reads a negative number as 0.
const DELIVERIES_WITHOUT_END: i64 = 2_000_000_000;

/// A new queue gets nothing for so long: RabbitMQ notes where its log is half a second later, and one that
/// is killed before that has lost the queue with all that it confirmed (seen on 3.10.8: lost after 300 ms,
/// kept after 600 ms).
const SETTLES_IN: Duration = Duration::from_millis(1_000);

/// The queue of a partition, and the exchange in front of it.
pub(crate) fn of_partition(partition: u16) -> String {
    format!("{RECORDS}.{partition}")
}

fn is_of_partition(queue: &str) -> bool {
    queue.starts_with(RECORDS)
}

/// Declares everything. What exists already with the same properties stays as it is.
pub(crate) async fn declare(connection: &Connection, config: &Config) -> lapin::Result<()> {
    let missing = missing_queues(connection, config).await?;
    let channel = &connection.create_channel().await?;
    exchange(channel, UNROUTABLE, ExchangeKind::Fanout, &[]).await?;
    exchange(channel, DEAD, ExchangeKind::Fanout, &[]).await?;
    exchange(channel, ANNOUNCEMENTS, ExchangeKind::Fanout, &[]).await?;
    exchange(channel, COMMANDS, ExchangeKind::Topic, &[]).await?;
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
        // Meanwhile a record must not pass by it to strangers alone and be confirmed: where nothing is bound
        // it goes to the unroutable.
        for queue in missing.iter().filter(|queue| is_of_partition(queue)) {
            cut_off(channel, queue, RECORDS).await?;
        }
        tokio::time::sleep(SETTLES_IN).await;
    }
    bind(channel, DEAD, DEAD, "").await?;
    bind(channel, UNROUTABLE, UNROUTABLE, "").await?;
    for partition in 0..config.partitions {
        let name = of_partition(partition);
        bind(channel, &name, &name, "").await?;
        pass_on(channel, &name, RECORDS).await?;
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
                // Asking for one that is not there ends the channel.
                channel = connection.create_channel().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// What RabbitMQ says of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Depth {
    /// Messages that wait, without those that are with a consumer.
    pub(crate) messages: u64,
    pub(crate) consumers: u32,
}

/// Asks for a queue without making it; an error closes the channel when there is none.
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

/// Whether an error says that there is no such queue.
pub(crate) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == 404)
}

/// A queue of records: one consumer at a time, so that order holds; refused when full, and given up
/// only into the dead, both without loss.
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

async fn pass_on(channel: &Channel, from: &str, to: &str) -> lapin::Result<()> {
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

async fn cut_off(channel: &Channel, from: &str, to: &str) -> lapin::Result<()> {
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
