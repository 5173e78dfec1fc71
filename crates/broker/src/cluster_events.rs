//! Cluster events between processes: a fanout exchange, and an exclusive queue for each subscriber that is
//! deleted with its connection. Nothing durable depends on events, so they are not confirmed, repeated or
//! awaited.

use crate::link::{BrokerShared, LinkState, Session, unavailable};
use crate::topology::CLUSTER_EVENTS;
use central::ports::{ClusterEvent, Unavailable};
use common::lock::lock;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use uuid::Uuid;

type OnEvent = Box<dyn Fn(ClusterEvent) + Send + Sync>;

/// Publishes and receives cluster events.
pub(crate) struct ClusterEventChannel {
    /// The app id of our messages, by which a process ignores its own events.
    app_id: String,
    listeners: Mutex<Vec<Arc<OnEvent>>>,
    first_listener: Notify,
    /// The channel to publish on, while connected.
    channel: Mutex<Option<Channel>>,
}

impl ClusterEventChannel {
    pub(crate) fn new() -> Self {
        Self {
            app_id: Uuid::new_v4().to_string(),
            listeners: Mutex::default(),
            first_listener: Notify::new(),
            channel: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self, handle: OnEvent) {
        self.listeners().push(Arc::new(handle));
        self.first_listener.notify_one();
    }

    /// Passes the event to the client library, which sends it in the background.
    pub(crate) fn publish(&self, state: &LinkState, event: &ClusterEvent) {
        if !matches!(state, LinkState::Up(_)) {
            return;
        }
        let channel = self.channel().clone();
        let (Some(channel), Ok(message)) = (channel, serde_json::to_vec(event)) else {
            return;
        };
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_app_id(self.app_id.as_str().into());
        let options = BasicPublishOptions::default();
        // One poll is enough to queue the frames.
        let _ = channel
            .basic_publish(
                CLUSTER_EVENTS.into(),
                "".into(),
                options,
                &message,
                properties,
            )
            .now_or_never();
    }

    fn handle(&self, delivery: &Delivery) {
        let from = delivery.properties.app_id();
        if from
            .as_ref()
            .is_some_and(|from| from.as_str() == self.app_id)
        {
            return;
        }
        let Ok(event) = serde_json::from_slice::<ClusterEvent>(&delivery.data) else {
            tracing::debug!("ignored an unknown cluster event");
            return;
        };
        let listeners = self.listeners().clone();
        for handle in listeners {
            handle(event.clone());
        }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Arc<OnEvent>>> {
        lock(&self.listeners)
    }

    fn channel(&self) -> std::sync::MutexGuard<'_, Option<Channel>> {
        lock(&self.channel)
    }
}

/// Publishes one event on a channel of its own. The channel is closed after it: its answer shows that RabbitMQ has read the
/// event.
pub(crate) async fn send_once(session: &Session, event: &ClusterEvent) -> Result<(), Unavailable> {
    let failed = |error: lapin::Error| unavailable(error.to_string());
    let message = serde_json::to_vec(event).map_err(|error| unavailable(error.to_string()))?;
    let channel = session.raw.connection.create_channel().await;
    let channel = channel.map_err(failed)?;
    let properties = BasicProperties::default().with_content_type("application/json".into());
    let options = BasicPublishOptions::default();
    let exchange = CLUSTER_EVENTS.into();
    let published = channel.basic_publish(exchange, "".into(), options, &message, properties);
    published.await.map_err(failed)?;
    let closed = channel.close(200, "OK".into()).await;
    closed.map_err(failed)
}

/// Publishes and consumes events on this connection until it fails.
pub(crate) async fn run(shared: Arc<BrokerShared>, session: Arc<Session>) {
    let events = &shared.cluster_events;
    if let Err(error) = run_channel(events, &session).await {
        session.fail(format!("cluster events failed: {error}"));
    }
    *events.channel() = None;
}

async fn run_channel(events: &ClusterEventChannel, session: &Session) -> lapin::Result<()> {
    let channel = session.raw.connection.create_channel().await?;
    *events.channel() = Some(channel.clone());
    while events.listeners().is_empty() {
        events.first_listener.notified().await;
    }
    let queue = channel
        .queue_declare(
            "".into(),
            QueueDeclareOptions {
                exclusive: true,
                auto_delete: true,
                ..QueueDeclareOptions::default()
            },
            FieldTable::default(),
        )
        .await?;
    channel
        .queue_bind(
            queue.name().clone(),
            CLUSTER_EVENTS.into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let mut deliveries = channel
        .basic_consume(
            queue.name().clone(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    while let Some(delivery) = deliveries.next().await {
        events.handle(&delivery?);
    }
    Err(lapin::ErrorKind::InvalidChannelState(
        lapin::ChannelState::Closed,
        "the queue of cluster events was deleted",
    )
    .into())
}
