//! The tables: what is in them, and the SQL about them.

use tidegate_config::Postgres;
use tidegate_core::record::Topic;

/// Table of the positions.
const OFFSETS: &str = "tidegate_sink_offsets";
/// Type that an additional column is created with.
const ADDITIONAL_TYPE: &str = "text";

/// Columns of a table, each with its type as the server calls it, and which of them are its primary key.
type Shape = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const TIME: &str = "timestamp with time zone";

const PROCESSED_EVENTS: Shape = (
    &[
        ("partition", "integer"),
        ("offset", "bigint"),
        ("event_time", TIME),
        ("event_type", "text"),
        ("service", "text"),
        ("user_id", "text"),
        ("country", "text"),
        ("city", "text"),
        ("lat", "double precision"),
        ("lon", "double precision"),
        ("event", "jsonb"),
    ],
    &["partition", "offset"],
);

const ALERTS: Shape = (
    &[
        ("id", "text"),
        ("phase", "text"),
        ("rule", "text"),
        ("service", "text"),
        ("message", "text"),
        ("count", "bigint"),
        ("threshold", "bigint"),
        ("window_start", TIME),
        ("window_end", TIME),
        ("first_event_at", TIME),
        ("last_event_at", TIME),
        ("evidence", "jsonb"),
    ],
    &["id", "phase"],
);

const DEAD_LETTERS: Shape = (
    &[
        ("partition", "integer"),
        ("offset", "bigint"),
        ("reason", "text"),
        ("detail", "text"),
        ("source_topic", "text"),
        ("source_partition", "integer"),
        ("source_offset", "bigint"),
        ("time", TIME),
        ("key", "bytea"),
        ("value", "bytea"),
        ("headers", "jsonb"),
    ],
    &["partition", "offset"],
);

const POSITIONS: Shape = (
    &[
        ("sink", "text"),
        ("topic", "text"),
        ("partition", "integer"),
        ("next_offset", "bigint"),
        ("owner", "bigint"),
        ("updated_at", TIME),
    ],
    &["sink", "topic", "partition"],
);

/// A column that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// What it is created with, as the server calls it.
    pub(super) sql_type: &'static str,
    /// The configuration names it; any type is as good.
    pub(super) is_additional: bool,
}

/// A table that is written.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// With its schema, for SQL.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Columns of the primary key.
    pub(super) key: &'static [&'static str],
}

impl Table {
    /// Where the records of a topic go. Additional columns are there for events alone.
    pub(super) fn new(settings: &Postgres, topic: Topic) -> Self {
        let (shape, additional) = match topic {
            Topic::Alerts => (ALERTS, &[][..]),
            Topic::DeadLetters => (DEAD_LETTERS, &[][..]),
            Topic::Raw | Topic::Processed | Topic::State => (PROCESSED_EVENTS, &settings.columns[..]),
        };
        let mut table = Self::of(shape, quote_table(&settings.table));
        let additional = additional.iter().map(|(name, _)| name.clone());
        table.columns.extend(additional.map(|name| Column {
            name,
            sql_type: ADDITIONAL_TYPE,
            is_additional: true,
        }));
        table
    }

    /// The table of the positions, in the same schema.
    pub(super) fn positions(settings: &Postgres) -> Self {
        let schema = settings.table.rsplit_once('.').map(|(schema, _)| schema);
        Self::of(
            POSITIONS,
            schema.map_or_else(|| quote(OFFSETS), |schema| quote_table(&format!("{schema}.{OFFSETS}"))),
        )
    }

    fn of((columns, key): Shape, name: String) -> Self {
        let column = |&(name, sql_type): &(&str, &'static str)| Column {
            name: name.to_owned(),
            sql_type,
            is_additional: false,
        };
        Self { name, columns: columns.iter().map(column).collect(), key }
    }

    /// Names of the columns, for SQL.
    pub(super) fn column_list(&self) -> String {
        list(self.columns.iter().map(|column| column.name.as_str()))
    }

    /// Names of the columns of the primary key, for SQL.
    pub(super) fn key_list(&self) -> String {
        list(self.key.iter().copied())
    }

    pub(super) fn create_sql(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(Column::declaration).collect();
        format!(
            "create table if not exists {} (\n  {},\n  primary key ({})\n)",
            self.name,
            columns.join(",\n  "),
            self.key_list()
        )
    }

    pub(super) fn add_column_sql(&self, column: &Column) -> String {
        format!("alter table {} add column if not exists {}", self.name, column.declaration())
    }

    pub(super) fn add_key_sql(&self) -> String {
        format!("alter table {} add primary key ({})", self.name, self.key_list())
    }
}

impl Column {
    fn declaration(&self) -> String {
        format!("{} {}", quote(&self.name), self.sql_type)
    }
}

/// A name of a table, with its schema or without, as it is written in SQL: upper case letters and the like are kept.
fn quote_table(name: &str) -> String {
    name.split('.').map(quote).collect::<Vec<_>>().join(".")
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(quote).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use tidegate_config::{SecretSource, SslMode};

    use super::*;

    fn settings(table: &str) -> Postgres {
        Postgres {
            url: SecretSource::default(),
            host: String::new(),
            port: 5432,
            database: String::new(),
            user: String::new(),
            password: SecretSource::default(),
            sslmode: SslMode::Prefer,
            ca: None,
            table: table.to_owned(),
            columns: vec![("region".to_owned(), vec!["payload".to_owned(), "region".to_owned()])],
        }
    }

    #[test]
    fn the_tables_are_created_as_documented_with_additional_columns_as_text() {
        let events = Table::new(&settings("processed_events"), Topic::Processed);
        assert_eq!(
            events.create_sql(),
            "create table if not exists \"processed_events\" (\n  \"partition\" integer,\n  \"offset\" bigint,\n  \
             \"event_time\" timestamp with time zone,\n  \"event_type\" text,\n  \"service\" text,\n  \"user_id\" text,\n  \
             \"country\" text,\n  \"city\" text,\n  \"lat\" double precision,\n  \"lon\" double precision,\n  \
             \"event\" jsonb,\n  \"region\" text,\n  primary key (\"partition\", \"offset\")\n)"
        );
        let alerts = Table::new(&settings("alerts"), Topic::Alerts);
        assert!(alerts.columns.iter().all(|column| !column.is_additional));
        assert_eq!(alerts.key_list(), "\"id\", \"phase\"");
    }

    #[test]
    fn a_name_is_taken_as_it_is_and_the_positions_are_in_the_same_schema() {
        let settings = settings("Lake.say \"hi\"");
        assert_eq!(Table::new(&settings, Topic::Processed).name, "\"Lake\".\"say \"\"hi\"\"\"");
        assert_eq!(Table::positions(&settings).name, "\"Lake\".\"tidegate_sink_offsets\"");
    }
}
