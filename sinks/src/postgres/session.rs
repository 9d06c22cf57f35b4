//! A connection to the server.

use tidegate_config::{Postgres, SslMode};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{trouble::Trouble, url::Target};
use crate::tls;

/// What every session asks of the server. A session whose client is gone or stands still must not hold its locks for ever;
/// positions are compared and set with what is committed, whatever the server's default is.
const SESSION: &str = "set default_transaction_isolation = 'read committed'; \
                       set lock_timeout = '5s'; \
                       set statement_timeout = '45s'; \
                       set idle_in_transaction_session_timeout = '30s'; \
                       set tcp_keepalives_idle = 30; \
                       set tcp_keepalives_interval = 10; \
                       set tcp_keepalives_count = 3; \
                       set tcp_user_timeout = '30s'; \
                       set client_min_messages = 'error'";

/// A connection; dropped, it is closed at once, whatever it was doing.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Connects for a sink, whose name the server's administrator sees in `pg_stat_activity`.
    pub(super) async fn open(settings: &Postgres, sink: &str) -> Result<Self, Trouble> {
        let mut target = Target::read(settings).map_err(Trouble::Failed)?;
        if target.config.get_application_name().is_none() {
            target.config.application_name(format!("tidegate sink {sink}"));
        }
        let session = if target.sslmode == SslMode::Disable {
            Self::connect(&target, NoTls).await?
        } else {
            let tls = tls::client(target.verify()).map_err(Trouble::Failed)?;
            Self::connect(&target, MakeRustlsConnect::new(tls)).await?
        };
        session.client.batch_execute(SESSION).await?;
        Ok(session)
    }

    async fn connect<T>(target: &Target, tls: T) -> Result<Self, Trouble>
    where
        T: MakeTlsConnect<tokio_postgres::Socket, Stream: Send + 'static>,
    {
        let (client, connection) = target.config.connect(tls).await?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told as well.
            _ = connection.await;
        });
        Ok(Self { client, task })
    }

    /// Gives up the transaction.
    pub(super) async fn rollback(&self) -> Result<(), Trouble> {
        Ok(self.client.batch_execute("rollback").await?)
    }
}
