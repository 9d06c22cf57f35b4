//! PostgreSQL: rows and positions in one transaction, so that each record is a row once.
//!
//! A delivery is one transaction: lock the positions of its partitions and compare them with what is believed
//! (`positions.rs`), move them, binary COPY of the rows, COMMIT. After any error but a refusal the connection is dropped, and
//! the next delivery finds out by the positions whether the last one was committed.
//!
//! A row whose key is there already, as after a redrive of dead letters or the loss of the table of positions, changes
//! nothing: the batch is copied into a temporary table then, and what is new is inserted. So one table is for one sink.

mod alert;
mod copy;
mod letter;
mod numeric;
mod plan;
mod positions;
mod rows;
mod session;
mod table;
mod trouble;
mod url;
mod value;

use std::{future::Future, time::Duration};

use futures_util::future::join;
use tidegate_config::Postgres;
use tidegate_core::{NextOffset, PartitionId, event::FieldPaths, record::Topic};
use tokio::time::timeout;

use self::{
    copy::{Writer, has_changed},
    positions::Positions,
    rows::{RowMaker, Rows},
    session::Session,
    table::Table,
    trouble::Trouble,
};
use crate::{Assigned, Batch, Destination, Failure, Outcome};

pub use plan::{Change, Finding, apply, check, plan};
pub use url::check_url;

/// How long one call takes at most, with connecting.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A table of PostgreSQL as a destination.
#[derive(Debug)]
pub struct PostgresSink {
    settings: Postgres,
    sink: String,
    table: Table,
    rows: RowMaker,
    positions: Positions,
    /// The connection, while no call is at work: what a call that is given up leaves behind is closed.
    connected: Option<Connected>,
    /// Rows of the last batch were there already, so others may be.
    is_repeating: bool,
}

#[derive(Debug)]
struct Connected {
    session: Session,
    writer: Writer,
}

impl PostgresSink {
    /// The destination of the sink of this name; `topic_name` is what the topic is called in Kafka, and `paths` is where the
    /// fields of an event are. Connects at the first call.
    #[must_use]
    pub fn new(settings: &Postgres, sink: &str, topic: Topic, topic_name: &str, paths: &FieldPaths) -> Self {
        let offsets = Table::positions(settings).name;
        Self {
            table: Table::new(settings, topic),
            rows: RowMaker::new(topic, paths, &settings.columns),
            positions: Positions::new(offsets, sink.to_owned(), topic_name.to_owned()),
            settings: settings.clone(),
            sink: sink.to_owned(),
            connected: None,
            is_repeating: false,
        }
    }

    async fn connect(&mut self) -> Result<Connected, Trouble> {
        if let Some(connected) = self.connected.take()
            && !connected.session.client.is_closed()
        {
            return Ok(connected);
        }
        let session = Session::open(&self.settings, &self.sink).await?;
        let writer = Writer::prepare(&session, &self.table).await?;
        Ok(Connected { session, writer })
    }

    async fn try_take_over(
        &mut self,
        assigned: &[Assigned],
    ) -> Result<Vec<(PartitionId, NextOffset)>, Trouble> {
        let connected = self.connect().await?;
        let positions = self.positions.take_over(&connected.session, assigned).await?;
        self.connected = Some(connected);
        Ok(positions)
    }

    async fn try_deliver(&mut self, batch: &Batch, records: &[usize]) -> Result<Outcome, Trouble> {
        let mut partitions: Vec<PartitionId> = records
            .iter()
            .map(|index| batch.record(*index))
            .filter(|record| self.positions.is_wanted(record.partition, record.offset))
            .map(|record| record.partition)
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        if partitions.is_empty() {
            return Ok(Outcome::Delivered);
        }
        let connected = self.connect().await?;
        let mut result = self.transact(&connected, batch, records, &partitions).await;
        if let Err(Trouble::Repeated(_)) = result
            && !self.is_repeating
        {
            connected.session.rollback().await?;
            self.is_repeating = true;
            result = self.transact(&connected, batch, records, &partitions).await;
        }
        if let Err(Trouble::Refused(why) | Trouble::Repeated(why)) = result {
            connected.session.rollback().await?;
            if has_changed(&connected.session, &self.table, &connected.writer).await? {
                return Err(Trouble::Failed(format!("{} was changed meanwhile: {why}", self.table.name)));
            }
            result = Ok(Outcome::Refused(why));
        }
        let outcome = result?;
        self.connected = Some(connected);
        Ok(outcome)
    }

    /// One transaction, from its beginning to its end; after an error it is open.
    async fn transact(
        &mut self,
        Connected { session, writer }: &Connected,
        batch: &Batch,
        records: &[usize],
        partitions: &[PartitionId],
    ) -> Result<Outcome, Trouble> {
        let lost = self.positions.lock(session, partitions).await?;
        if !lost.is_empty() {
            return self.replaced(session, lost).await;
        }
        let is_wanted = |partition, offset| self.positions.is_wanted(partition, offset);
        let Rows { chunks, count, next, refused, seen } =
            self.rows.rows(batch, records, &writer.columns, is_wanted);
        if count == 0 {
            session.rollback().await?;
        } else {
            let write = async {
                match self.is_repeating {
                    false => writer.write(session, chunks).await,
                    true => writer.write_new(session, &self.table, chunks).await,
                }
            };
            // The second is on its way before the first is answered.
            let (moved, written) = join(self.positions.set(session, &next), write).await;
            moved?;
            let there_already = (count as u64).saturating_sub(written?);
            session.client.batch_execute("commit").await?;
            self.positions.moved(&next);
            if self.is_repeating && there_already > 0 {
                let sink = &self.sink;
                tracing::warn!(
                    sink,
                    rows = there_already,
                    "rows were there already and are left as they are"
                );
            }
            self.is_repeating &= there_already > 0;
        }
        if refused.is_empty() {
            return Ok(Outcome::Delivered);
        }
        Ok(Outcome::Judged { refused, again: records[seen..].to_vec(), failure: None })
    }

    /// Gives up the transaction. What is lost is forgotten only when it is going to be said.
    async fn replaced(&mut self, session: &Session, lost: Vec<PartitionId>) -> Result<Outcome, Trouble> {
        session.rollback().await?;
        self.positions.forget(&lost);
        Ok(Outcome::Replaced(lost))
    }

    /// Rows without positions: those that are there already are left as they are.
    async fn try_redeliver(&mut self, batch: &Batch, records: &[usize]) -> Result<Outcome, Trouble> {
        let connected = self.connect().await?;
        let Connected { session, writer } = &connected;
        let Rows { chunks, count, refused, seen, .. } =
            self.rows.rows(batch, records, &writer.columns, |_, _| true);
        let mut outcome = Outcome::Delivered;
        if count > 0 {
            session.client.batch_execute("begin").await?;
            match writer.write_new(session, &self.table, chunks).await {
                Ok(_) => session.client.batch_execute("commit").await?,
                Err(Trouble::Refused(why) | Trouble::Repeated(why)) => {
                    session.rollback().await?;
                    outcome = Outcome::Refused(why);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if outcome == Outcome::Delivered && !refused.is_empty() {
            outcome = Outcome::Judged { refused, again: records[seen..].to_vec(), failure: None };
        }
        self.connected = Some(connected);
        Ok(outcome)
    }

    async fn try_keep(&mut self, wanted: &[(PartitionId, NextOffset)]) -> Result<Outcome, Trouble> {
        let partitions: Vec<PartitionId> =
            self.positions.ahead_of_known(wanted).iter().map(|(partition, _)| *partition).collect();
        if partitions.is_empty() {
            return Ok(Outcome::Delivered);
        }
        let connected = self.connect().await?;
        let session = &connected.session;
        let lost = self.positions.lock(session, &partitions).await?;
        let outcome = if lost.is_empty() {
            let ahead = self.positions.ahead_of_known(wanted);
            self.positions.set(session, &ahead).await?;
            session.client.batch_execute("commit").await?;
            self.positions.moved(&ahead);
            Outcome::Delivered
        } else {
            self.replaced(session, lost).await?
        };
        self.connected = Some(connected);
        Ok(outcome)
    }
}

impl Destination for PostgresSink {
    const KEEPS_POSITIONS: bool = true;

    async fn take_over(&mut self, assigned: &[Assigned]) -> Result<Vec<(PartitionId, NextOffset)>, Failure> {
        bounded(self.try_take_over(assigned)).await
    }

    async fn deliver(&mut self, batch: &Batch, records: &[usize]) -> Outcome {
        bounded(self.try_deliver(batch, records)).await.unwrap_or_else(Outcome::Failed)
    }

    async fn redeliver(&mut self, batch: &Batch, records: &[usize]) -> Outcome {
        bounded(self.try_redeliver(batch, records)).await.unwrap_or_else(Outcome::Failed)
    }

    async fn keep(&mut self, positions: &[(PartitionId, NextOffset)]) -> Outcome {
        bounded(self.try_keep(positions)).await.unwrap_or_else(Outcome::Failed)
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Failure> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(Trouble::into_failure),
        Err(_) => Err(Failure::new(format!("no answer from the server within {CALL_TIMEOUT:?}"))),
    }
}
