//! Cluster events between processes: a fanout exchange, and a queue of its own for whoever listens, gone with its
//! connection. Nothing durable depends on it, so nothing here is confirmed, repeated or waited for.

use crate::link::{Session, Shared, State};
use crate::topology::ANNOUNCEMENTS;
use central::ports::ClusterEvent;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use uuid::Uuid;

type Hear = Box<dyn Fn(ClusterEvent) + Send + Sync>;

/// What a broker says and hears.
pub(crate) struct Announcer {
    /// Marks what we say, so that we do not hear ourselves.
    ourselves: String,
    listeners: Mutex<Vec<Arc<Hear>>>,
    first_listener: Notify,
    /// Where to say it, while connected.
    channel: Mutex<Option<Channel>>,
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Self {
            ourselves: Uuid::new_v4().to_string(),
            listeners: Mutex::default(),
            first_listener: Notify::new(),
            channel: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self, hear: Hear) {
        self.listeners().push(Arc::new(hear));
        self.first_listener.notify_one();
    }

    /// Hands the news to the library, which sends it in its own time.
    pub(crate) fn publish(&self, state: &State, news: &ClusterEvent) {
        if !matches!(state, State::Up(_)) {
            return;
        }
        let channel = self.channel().clone();
        let (Some(channel), Ok(message)) = (channel, serde_json::to_vec(news)) else {
            return;
        };
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_app_id(self.ourselves.as_str().into());
        let options = BasicPublishOptions::default();
        // One poll is all that it takes to put it in line.
        let _ = channel
            .basic_publish(
                ANNOUNCEMENTS.into(),
                "".into(),
                options,
                &message,
                properties,
            )
            .now_or_never();
    }

    fn hear(&self, delivery: &Delivery) {
        let from = delivery.properties.app_id();
        if from
            .as_ref()
            .is_some_and(|from| from.as_str() == self.ourselves)
        {
            return;
        }
        let Ok(news) = serde_json::from_slice::<ClusterEvent>(&delivery.data) else {
            tracing::debug!("news of a sort that is not known here");
            return;
        };
        let listeners = self.listeners().clone();
        for hear in listeners {
            hear(news.clone());
        }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Hear>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self) -> std::sync::MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Speaks and listens on this connection until it is given up.
pub(crate) async fn run(shared: Arc<Shared>, session: Arc<Session>) {
    let announcer = &shared.announcer;
    if let Err(error) = converse(announcer, &session).await {
        session.fail(format!("no news can be exchanged: {error}"));
    }
    *announcer.channel() = None;
}

async fn converse(announcer: &Announcer, session: &Session) -> lapin::Result<()> {
    let channel = session.wire.connection.create_channel().await?;
    *announcer.channel() = Some(channel.clone());
    while announcer.listeners().is_empty() {
        announcer.first_listener.notified().await;
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
            ANNOUNCEMENTS.into(),
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
    let mut news = channel
        .basic_consume(
            queue.name().clone(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    while let Some(delivery) = news.next().await {
        announcer.hear(&delivery?);
    }
    Err(lapin::ErrorKind::InvalidChannelState(
        lapin::ChannelState::Closed,
        "the queue of news has gone",
    )
    .into())
}
