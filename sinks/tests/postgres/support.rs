//! A database of its own for each test, batches, and what a courier does with a destination.

use std::{
    env, process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tidegate_config::{Postgres, Secret, SecretSource, SslMode};
use tidegate_core::{
    NextOffset, PartitionId, TimestampMs, delivery::Undelivered, event::FieldPaths, record::Topic,
};
use tidegate_log::{RecordRef, push_header};
use tidegate_sinks::{Assigned, Batch, Destination, Outcome, postgres::PostgresSink};
use tokio_postgres::{Client, Config, NoTls, config::Host};

pub const P0: PartitionId = PartitionId(0);
pub const P1: PartitionId = PartitionId(1);
pub const NAME: &str = "warehouse";

/// A database, and a session of the administrator in it.
pub struct Database {
    pub admin: Client,
    pub settings: Postgres,
    /// The server, and a database that was there before.
    server: Config,
}

impl Database {
    pub async fn new() -> Self {
        let url = env::var("TIDEGATE_TEST_POSTGRES").expect(
            "TIDEGATE_TEST_POSTGRES is not set: it must be the URL of a PostgreSQL server, with a user that may create databases",
        );
        Self::on(&url).await
    }

    /// A new database of the server at this URL.
    pub async fn on(url: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sink_{}_{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let server: Config = url.parse().unwrap();
        connect(&server).await.batch_execute(&format!("create database {name}")).await.unwrap();
        let Host::Tcp(host) = server.get_hosts()[0].clone() else { panic!("a host and port") };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let password = server.get_password().map(|password| Secret::new(text(password)));
        let settings = Postgres {
            url: SecretSource::default(),
            host,
            port: server.get_ports()[0],
            database: name.clone(),
            user: server.get_user().unwrap().to_owned(),
            password: SecretSource { value: password, file: None },
            sslmode: SslMode::Prefer,
            ca: None,
            table: "processed_events".to_owned(),
            columns: Vec::new(),
        };
        Self { admin: connect(server.clone().dbname(&name)).await, settings, server }
    }

    /// Gives the administrator a new session, as after a restart of the server.
    pub async fn reconnect(&mut self) {
        self.admin = connect(self.server.clone().dbname(&self.settings.database)).await;
    }

    /// With the tables of a topic.
    pub async fn with_tables(topic: Topic) -> Self {
        let mut database = Self::new().await;
        database.settings.table = table(topic).to_owned();
        database.apply(topic).await;
        database
    }

    pub async fn apply(&self, topic: Topic) {
        let (_, left) = tidegate_sinks::postgres::apply(&self.settings, NAME, topic, true).await.unwrap();
        assert_eq!(left, []);
    }

    /// To a table that is there, with types of its own.
    pub async fn apply_all(&self, topic: Topic) {
        let (_, left) = tidegate_sinks::postgres::apply(&self.settings, NAME, topic, true).await.unwrap();
        assert!(!left.iter().any(|change| change.finding.stops_delivery()), "{left:?}");
    }

    pub async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// Rows of a query whose columns are all text, each as one line.
    pub async fn lines(&self, sql: &str) -> Vec<String> {
        let rows = self.admin.query(sql, &[]).await.unwrap();
        let cell =
            |row: &tokio_postgres::Row, at| row.get::<_, Option<String>>(at).unwrap_or("null".to_owned());
        rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect::<Vec<_>>().join("|")).collect()
    }

    /// All there is of events: partition and offset of each.
    pub async fn rows(&self) -> Vec<String> {
        self.lines(
            "select partition::text, \"offset\"::text from processed_events as p order by p.partition, p.\"offset\"",
        )
        .await
    }

    pub async fn position(&self, partition: PartitionId) -> i64 {
        let sql = "select next_offset from tidegate_sink_offsets where sink = $1 and partition = $2";
        self.admin.query_one(sql, &[&NAME, &(partition.0 as i32)]).await.unwrap().get(0)
    }

    pub fn sink(&self, topic: Topic) -> PostgresSink {
        sink(&self.settings, topic)
    }
}

/// What is left of a test that passed is of no use to anybody.
impl Drop for Database {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let (config, sql) =
            (self.server.clone(), format!("drop database if exists {} with (force)", self.settings.database));
        let work = async move { connect(&config).await.batch_execute(&sql).await };
        let run = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map(|runtime| runtime.block_on(work))
        };
        // A server of the test's own may be gone already.
        _ = thread::spawn(run).join();
    }
}

pub fn sink(settings: &Postgres, topic: Topic) -> PostgresSink {
    PostgresSink::new(settings, NAME, topic, "the-topic", &FieldPaths::default())
}

pub fn table(topic: Topic) -> &'static str {
    match topic {
        Topic::Alerts => "alerts",
        Topic::DeadLetters => "dead_letters",
        _ => "processed_events",
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("TIDEGATE_TEST_POSTGRES does not answer");
    tokio::spawn(connection);
    client
}

pub fn from(partition: PartitionId, from: i64) -> Assigned {
    Assigned { partition, from: NextOffset(from), is_committed: true }
}

/// Partition, offset and value of each record.
pub fn batch<V: AsRef<[u8]>>(records: impl IntoIterator<Item = (PartitionId, i64, V)>) -> Batch {
    let mut batch = Batch::default();
    for (partition, offset, value) in records {
        push(&mut batch, partition, offset, Some(value.as_ref()), &[]);
    }
    batch
}

pub fn push(
    batch: &mut Batch,
    partition: PartitionId,
    offset: i64,
    value: Option<&[u8]>,
    headers: &[(&str, &[u8])],
) {
    let record = RecordRef {
        partition,
        offset,
        timestamp: TimestampMs(1_760_000_000_000),
        key: Some(b"user-1"),
        value,
    };
    batch.push(record, &mut |arena| {
        for (name, value) in headers {
            push_header(arena, name.as_bytes(), Some(value));
        }
    });
}

/// Events of one partition.
pub fn events(partition: PartitionId, offsets: std::ops::Range<i64>) -> Batch {
    batch(offsets.map(|offset| (partition, offset, event(offset))))
}

/// About 340 bytes, as they come from the pipeline.
pub fn event(number: i64) -> String {
    let user = number % 50_000;
    format!(
        r#"{{"event_type":"page_view","timestamp":{},"user_id":"user-{user}","session":"9f86d081884c7d65","payload":{{"service_name":"checkout-api","url":"/shop/items/{number}?ref=mail","ip":"81.2.69.160","user_agent":"Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0","price":{}.25}},"geo":{{"country":"GB","city":"London","lat":51.5142,"lon":-0.0931}}}}"#,
        1_760_000_000_000_i64 + number,
        number % 100
    )
}

pub fn all(batch: &Batch) -> Vec<usize> {
    (0..batch.len()).collect()
}

/// Delivers a whole batch as a courier does, and returns what was refused, by its index, with the reason.
///
/// # Panics
/// If it fails, or the sink was replaced.
pub async fn deliver(sink: &mut PostgresSink, batch: &Batch) -> Vec<(usize, String)> {
    let mut undelivered = Undelivered::new(all(batch));
    let mut rejected = Vec::new();
    while let Some(part) = undelivered.next() {
        match sink.deliver(batch, part).await {
            Outcome::Delivered => undelivered.settled(),
            Outcome::Refused(why) => rejected.extend(undelivered.refused().map(|record| (record, why))),
            Outcome::Judged { refused, again, failure: None } => {
                rejected.extend(refused);
                undelivered.again(again);
            }
            other => panic!("{other:?}"),
        }
    }
    rejected
}
