//! RabbitMQ and PostgreSQL together, shared by several deployments.

use crate::{Postgres, RabbitMq};
use std::path::Path;

const USER: &str = "wattpost";

/// One private RabbitMQ and one private PostgreSQL.
#[derive(Debug)]
pub struct Servers {
    /// RabbitMQ.
    pub rabbit: RabbitMq,
    /// PostgreSQL.
    pub postgres: Postgres,
}

/// A virtual host and a database with the same name.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The name of both.
    pub name: String,
    /// The value of `broker.url`.
    pub broker_url: String,
    /// The value of `database.url`.
    pub database_url: String,
}

impl Servers {
    /// Starts both, with their data below `dir`.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::start`] and [`Postgres::start`].
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            rabbit: RabbitMq::start(&dir.join("rabbitmq"))?,
            postgres: Postgres::start(&dir.join("postgres"))?,
        })
    }

    /// Creates a virtual host and an empty database.
    ///
    /// # Errors
    ///
    /// One of them cannot be created, such as when the name is in use.
    pub fn add_tenant(&self, name: &str) -> anyhow::Result<Tenant> {
        self.rabbit.ctl(&["add_vhost", name])?;
        self.rabbit
            .ctl(&["set_permissions", "-p", name, USER, ".*", ".*", ".*"])?;
        Ok(Tenant {
            name: name.to_owned(),
            broker_url: self.rabbit.url_as(USER, USER, name),
            database_url: self.add_database(name)?,
        })
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn add_database(&self, name: &str) -> anyhow::Result<String> {
        self.postgres
            .superuser_psql(&format!("CREATE DATABASE {name} OWNER {USER}"))?;
        Ok(self.postgres.url_as(USER, USER, name))
    }

    /// Deletes both, with everything in them.
    ///
    /// # Errors
    ///
    /// One of them cannot be deleted.
    pub fn remove_tenant(&self, name: &str) -> anyhow::Result<()> {
        self.rabbit.ctl(&["delete_vhost", name])?;
        self.postgres
            .superuser_psql(&format!("DROP DATABASE {name} WITH (FORCE)"))?;
        Ok(())
    }
}
