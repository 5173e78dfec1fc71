//! Private RabbitMQ and PostgreSQL servers on spare loopback ports, for tests, drills and benchmarks.
