//! PostgreSQL as another application uses it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tokio::runtime;
use tokio_postgres::{Client, NoTls};

use super::{server, wait::now_ms};

/// A database of a test's own. Every call is a connection of its own, so the server may come and go.
pub struct Database {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    name: String,
    server: String,
}

impl Database {
    /// An empty one on the tests' server.
    pub fn create() -> Self {
        Self::create_at(&server::address("postgres"))
    }

    /// An empty one on a server that is up.
    pub fn create_at(server: &str) -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{}_{number}", now_ms(), std::process::id());
        execute(server, &format!("create database {name}")).unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{base}/{name}"), name, server: server.to_owned() }
    }

    /// Runs statements.
    pub fn execute(&self, statements: &str) {
        execute(&self.url, statements).unwrap();
    }

    /// What a query finds: each row an object by the names of its columns.
    pub fn rows(&self, query: &str) -> Vec<Value> {
        let as_json = format!("select row_to_json(found)::text from ({query}) found");
        let rows = on(&self.url, async |client| client.query(&as_json, &[]).await).unwrap();
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of the test's own may be gone already.
        let _ = execute(&self.server, &format!("drop database {} with (force)", self.name));
    }
}

fn execute(url: &str, statements: &str) -> Result<(), tokio_postgres::Error> {
    on(url, async |client| client.batch_execute(statements).await)
}

fn on<T>(
    url: &str,
    work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, tokio_postgres::Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        work(&client).await
    })
}
