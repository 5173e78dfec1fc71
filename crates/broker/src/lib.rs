//! The road: RabbitMQ (AMQP 0.9.1) behind the ports of [`central`].
