//! Writing rows: binary COPY into the table, or by way of a temporary table where rows may be there already.

use std::{io::Cursor, pin::pin};

use futures_util::SinkExt;
use tokio_postgres::{Statement, ToStatement, error::SqlState};

use super::{session::Session, table::Table, trouble::Trouble, value::ColumnType};

/// What is prepared on a session to write a table.
#[derive(Debug)]
pub(super) struct Writer {
    /// Names of the columns, and their types as the server has them.
    pub(super) columns: Vec<(String, ColumnType)>,
    copy: Statement,
}

impl Writer {
    pub(super) async fn prepare(session: &Session, table: &Table) -> Result<Self, Trouble> {
        let columns = columns(session, table).await?;
        let copy = format!("copy {} ({}) from stdin (format binary)", table.name, table.column_list());
        Ok(Self { columns, copy: session.client.prepare(&copy).await? })
    }

    /// Writes rows.
    pub(super) async fn write(&self, session: &Session, chunks: Vec<Vec<u8>>) -> Result<u64, Trouble> {
        copy(session, &self.copy, chunks).await
    }

    /// Writes the rows whose keys are not there yet, and returns how many they are.
    pub(super) async fn write_new(
        &self,
        session: &Session,
        table: &Table,
        chunks: Vec<Vec<u8>>,
    ) -> Result<u64, Trouble> {
        let (name, columns) = (&table.name, table.column_list());
        let create = format!(
            "create temporary table tidegate_batch on commit drop as select {columns} from {name} with no data"
        );
        session.client.batch_execute(&create).await?;
        let into = format!("copy pg_temp.tidegate_batch ({columns}) from stdin (format binary)");
        copy(session, into.as_str(), chunks).await?;
        let insert = format!(
            "insert into {name} ({columns}) select {columns} from pg_temp.tidegate_batch \
             on conflict ({}) do nothing",
            table.key_list()
        );
        session.client.execute_typed(&insert, &[]).await.map_err(|error| match error.code() {
            Some(&SqlState::INVALID_COLUMN_REFERENCE) => Trouble::Repeated(format!(
                "a row like it is there already, and {name} has no primary key ({})",
                table.key_list()
            )),
            _ => error.into(),
        })
    }
}

async fn columns(session: &Session, table: &Table) -> Result<Vec<(String, ColumnType)>, Trouble> {
    let select = format!("select {} from {} limit 0", table.column_list(), table.name);
    let statement = session.client.prepare(&select).await?;
    let columns = statement.columns().iter().map(|column| {
        ColumnType::of(column.type_()).map(|kind| (column.name().to_owned(), kind)).ok_or_else(|| {
            Trouble::Failed(format!(
                "column {} of {} has the type {}; types that are written: {}",
                column.name(),
                table.name,
                column.type_(),
                ColumnType::NAMES
            ))
        })
    });
    columns.collect()
}

/// Whether the table's columns are not what they were when the writer was prepared: then the server may have refused rows
/// that were made for other types.
pub(super) async fn has_changed(session: &Session, table: &Table, writer: &Writer) -> Result<bool, Trouble> {
    Ok(columns(session, table).await? != writer.columns)
}

async fn copy<T>(session: &Session, statement: &T, chunks: Vec<Vec<u8>>) -> Result<u64, Trouble>
where
    T: ?Sized + ToStatement,
{
    let mut sink = pin!(session.client.copy_in(statement).await?);
    for chunk in chunks {
        sink.feed(Cursor::new(chunk)).await?;
    }
    Ok(sink.finish().await?)
}
