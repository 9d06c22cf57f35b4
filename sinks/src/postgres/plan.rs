//! What a sink needs on its server, compared with what is there.

use std::fmt;

use tidegate_config::Postgres;
use tidegate_core::record::Topic;
use tokio_postgres::types::Type;

use super::{
    bounded,
    copy::Writer,
    session::Session,
    table::{Column, Table},
    trouble::Trouble,
};
use crate::Failure;

/// Something that is not as a sink needs it, or as it would be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// There is no such table.
    NoTable {
        /// The table.
        table: String,
    },
    /// A table has no such column.
    NoColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column has another type than it is created with. Values are converted, and those that do not fit are refused.
    OtherType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The type that it is created with.
        usual: String,
    },
    /// A table has another primary key, or none. A record that comes again is not recognised then.
    OtherKey {
        /// The table.
        table: String,
        /// The columns of its primary key; empty if it has none.
        found: String,
        /// The columns that it is created with.
        usual: String,
    },
    /// The sink's user lacks a privilege.
    NotAllowed {
        /// The table.
        table: String,
        /// The privileges.
        privileges: String,
    },
    /// The sink could not write, for a reason in words.
    Unusable(String),
}

impl Finding {
    /// Whether the sink delivers nothing as long as it is so.
    #[must_use]
    pub fn stops_delivery(&self) -> bool {
        !matches!(self, Self::OtherType { .. } | Self::OtherKey { .. })
    }
}

impl Finding {
    /// In words, that it is as it should be now.
    pub(crate) fn mended(&self) -> String {
        match self {
            Self::NoTable { table } => format!("table {table} created"),
            Self::NoColumn { table, column } => format!("column {column} of {table} added"),
            Self::OtherKey { table, usual, .. } => format!("primary key ({usual}) of {table} added"),
            Self::OtherType { .. } | Self::NotAllowed { .. } | Self::Unusable(_) => {
                format!("mended meanwhile: {self}")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable { table } => write!(f, "table {table} is missing"),
            Self::NoColumn { table, column } => write!(f, "column {column} of {table} is missing"),
            Self::OtherType { table, column, found, usual } => {
                write!(
                    f,
                    "column {column} of {table} has the type {found}, not {usual}: values that do not fit are refused"
                )
            }
            Self::OtherKey { table, found, usual } if found.is_empty() => {
                write!(
                    f,
                    "{table} has no primary key, it should be ({usual}): a record that comes again is a second row"
                )
            }
            Self::OtherKey { table, found, usual } => {
                write!(
                    f,
                    "the primary key of {table} is ({found}), not ({usual}): a record that comes again is refused"
                )
            }
            Self::NotAllowed { table, privileges } => {
                write!(
                    f,
                    "the sink's user lacks {privileges} on {table}: grant {privileges} on {table} to it"
                )
            }
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

/// A finding, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is not as it should be.
    pub finding: Finding,
    /// The statement that mends it; `None` if a person has to.
    pub sql: Option<String>,
    /// Whether the statement alters a table that is there.
    pub alters: bool,
}

/// What is missing or differs, with what would mend it.
///
/// # Errors
/// [`Failure`] if the server cannot be asked.
pub async fn plan(settings: &Postgres, sink: &str, topic: Topic) -> Result<Vec<Change>, Failure> {
    bounded(async {
        let session = Session::open(settings, sink).await?;
        changes(&session, settings, topic).await
    })
    .await
}

/// Creates what is missing; with `alter` tables that are there are altered too. Nothing is ever dropped. Returns what was
/// found, and what is left. Altering a large table may take its time: nothing ends it but the server.
///
/// # Errors
/// [`Failure`] if the server cannot be asked, or refuses.
pub async fn apply(
    settings: &Postgres,
    sink: &str,
    topic: Topic,
    alter: bool,
) -> Result<(Vec<Change>, Vec<Change>), Failure> {
    let session = bounded(Session::open(settings, sink)).await?;
    let found = bounded(changes(&session, settings, topic)).await?;
    let mut statements = vec!["set statement_timeout = 0"];
    let wanted = found.iter().filter(|change| alter || !change.alters);
    statements.extend(wanted.filter_map(|change| change.sql.as_deref()));
    for sql in statements {
        session.client.batch_execute(sql).await.map_err(|error| Trouble::from(error).into_failure())?;
    }
    let left = bounded(changes(&session, settings, topic)).await?;
    Ok((found, left))
}

/// Whether the sink can deliver: tables, columns and their types, privileges.
///
/// # Errors
/// [`Failure`] if the server cannot be reached or asked.
pub async fn check(settings: &Postgres, sink: &str, topic: Topic) -> Result<Vec<Finding>, Failure> {
    bounded(async {
        let session = Session::open(settings, sink).await?;
        let changes = changes(&session, settings, topic).await?;
        let mut findings: Vec<Finding> = changes.into_iter().map(|change| change.finding).collect();
        if findings.iter().any(Finding::stops_delivery) {
            return Ok(findings);
        }
        let table = Table::new(settings, topic);
        if let Err(trouble) = Writer::prepare(&session, &table).await {
            findings.push(Finding::Unusable(trouble.into_failure().cause));
        }
        // A row that may be there already is looked for.
        findings.extend(lacking(&session, &table, &["select", "insert"]).await?);
        findings
            .extend(lacking(&session, &Table::positions(settings), &["select", "insert", "update"]).await?);
        Ok(findings)
    })
    .await
}

async fn changes(session: &Session, settings: &Postgres, topic: Topic) -> Result<Vec<Change>, Trouble> {
    let mut changes = table_changes(session, &Table::new(settings, topic)).await?;
    changes.extend(table_changes(session, &Table::positions(settings)).await?);
    Ok(changes)
}

async fn table_changes(session: &Session, table: &Table) -> Result<Vec<Change>, Trouble> {
    let name = &table.name;
    let columns = "select a.attname::text, format_type(a.atttypid, a.atttypmod) from pg_attribute a \
                   where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped";
    let rows = session.client.query_typed(columns, &[(name, Type::TEXT)]).await?;
    if rows.is_empty() {
        let finding = Finding::NoTable { table: name.clone() };
        return Ok(vec![Change { finding, sql: Some(table.create_sql()), alters: false }]);
    }
    let mut there: Vec<(String, String)> = Vec::new();
    for row in rows {
        there.push((row.try_get(0)?, row.try_get(1)?));
    }
    let mut changes: Vec<Change> =
        table.columns.iter().filter_map(|column| column_change(table, column, &there)).collect();
    changes.extend(key_change(session, table).await?);
    Ok(changes)
}

fn column_change(table: &Table, column: &Column, there: &[(String, String)]) -> Option<Change> {
    let Some((_, found)) = there.iter().find(|(name, _)| *name == column.name) else {
        let finding = Finding::NoColumn { table: table.name.clone(), column: column.name.clone() };
        return Some(Change { finding, sql: Some(table.add_column_sql(column)), alters: true });
    };
    if found == column.sql_type || column.is_additional {
        return None;
    }
    let finding = Finding::OtherType {
        table: table.name.clone(),
        column: column.name.clone(),
        found: found.clone(),
        usual: column.sql_type.to_owned(),
    };
    Some(Change { finding, sql: None, alters: true })
}

async fn key_change(session: &Session, table: &Table) -> Result<Option<Change>, Trouble> {
    let key = "select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) \
               where i.indrelid = to_regclass($1) and i.indisprimary order by array_position(i.indkey::int2[], a.attnum)";
    let mut found: Vec<String> = Vec::new();
    for row in session.client.query_typed(key, &[(&table.name, Type::TEXT)]).await? {
        found.push(row.try_get(0)?);
    }
    // Their order makes no difference to what is unique.
    if found.len() == table.key.len()
        && table.key.iter().all(|column| found.iter().any(|other| other == column))
    {
        return Ok(None);
    }
    let sql = found.is_empty().then(|| table.add_key_sql());
    let finding =
        Finding::OtherKey { table: table.name.clone(), found: found.join(", "), usual: table.key.join(", ") };
    Ok(Some(Change { finding, sql, alters: true }))
}

async fn lacking(session: &Session, table: &Table, privileges: &[&str]) -> Result<Option<Finding>, Trouble> {
    let ask = "select has_table_privilege(to_regclass($1), $2)";
    let mut lacking = Vec::new();
    for privilege in privileges {
        let parameters = [
            (&table.name as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT),
            (privilege, Type::TEXT),
        ];
        let row = session.client.query_typed_one(ask, &parameters).await?;
        if !row.try_get::<_, Option<bool>>(0)?.unwrap_or(false) {
            lacking.push(*privilege);
        }
    }
    let finding = Finding::NotAllowed { table: table.name.clone(), privileges: lacking.join(", ") };
    Ok((!lacking.is_empty()).then_some(finding))
}
