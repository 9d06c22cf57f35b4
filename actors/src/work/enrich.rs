//! A worker of the enrich pool: looks up geo data and writes the output of a piece.

use std::{sync::Arc, time::Instant};

use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidegate_core::{
    geo::{GeoCache, NULL_FRAGMENT},
    tally::Tally,
};
use tidegate_telemetry::{Metrics, Place, Stage, Traces};

use super::{
    geo_source::{GeoSource, GeoVersion},
    jobs::{Filtered, Verdict},
    outputs::Outputs,
    ticket::Processed,
};
use crate::traced::EventTraces;

/// Room for the geo data of a record, so that an output arena seldom grows.
const GEO_BYTES: usize = 80;

/// The worker.
pub struct EnrichWorker;

/// To an enrich worker, from a filter worker.
pub struct EnrichMsg(pub(crate) Box<Filtered>);

/// What an enrich worker works with.
pub struct EnrichArgs {
    /// What outputs have to keep to.
    pub outputs: Outputs,
    /// Where the geo database comes from.
    pub geo: GeoSource,
    /// Metrics.
    pub metrics: Metrics,
    /// Where spans are made.
    pub traces: Traces,
}

/// State of an enrich worker.
pub struct EnrichState {
    args: EnrichArgs,
    version: GeoVersion,
    cache: GeoCache,
}

impl Actor for EnrichWorker {
    type Msg = EnrichMsg;
    type State = EnrichState;
    type Arguments = EnrichArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<EnrichMsg>,
        args: EnrichArgs,
    ) -> Result<EnrichState, ActorProcessingErr> {
        let (version, database) = args.geo.current();
        Ok(EnrichState { version, cache: GeoCache::new(database), args })
    }

    async fn handle(
        &self,
        _myself: ActorRef<EnrichMsg>,
        EnrichMsg(filtered): EnrichMsg,
        state: &mut EnrichState,
    ) -> Result<(), ActorProcessingErr> {
        let started = Instant::now();
        state.refresh_database();
        let records = filtered.job.ticket.piece().records().len();
        state.enrich(*filtered);
        state.args.metrics.stage(Stage::Enrich).add_busy(started.elapsed(), records);
        Ok(())
    }
}

impl EnrichState {
    fn refresh_database(&mut self) {
        if self.args.geo.version() != self.version {
            let (version, database) = self.args.geo.current();
            self.version = version;
            self.cache = GeoCache::new(database);
        }
    }

    fn enrich(&mut self, filtered: Filtered) {
        let Filtered { mut job, verdicts, rejections, counted, tally, highest } = filtered;
        job.ticket.take_in_hand();
        fail_point!("enrich");
        let batch = Arc::clone(&job.batch);
        let records = &batch.records[job.ticket.piece().records()];
        let span = job.trace.child("enrich");
        let mut builder = self.args.outputs.builder(&batch, tally);
        let mut traces = EventTraces::new(&self.args.traces, &job.trace);
        builder.reserve(records.len(), records.iter().map(|record| record.size_bytes() + GEO_BYTES).sum());

        for (record, verdict) in records.iter().zip(&verdicts) {
            match verdict {
                Verdict::Tombstone | Verdict::Bot => {}
                Verdict::Reject(index) => {
                    let rejection = &rejections[*index as usize];
                    builder.dead_letter(record, rejection.reason, &rejection.detail);
                }
                Verdict::Forward { ip, geo } => {
                    fail_point!("enrich_poison", poisoned(&batch, record), |_| panic!("poisonous record"));
                    let fragment = ip.map_or(NULL_FRAGMENT, |ip| self.cache.fragment(ip));
                    let headers = builder.forward(record, geo, fragment);
                    if let (Some(traces), Some(headers)) = (&mut traces, headers) {
                        let place = Place { partition: batch.partition.0, offset: record.offset };
                        traces.hand_on(headers, place);
                    }
                }
            }
        }
        let (output, tally): (_, Tally) = builder.finish();
        drop(span);
        job.ticket.settle(Processed { output, counted, tally, highest });
    }
}

#[cfg(feature = "failpoints")]
fn poisoned(batch: &tidegate_log::RecordBatch, record: &tidegate_log::RecordMeta) -> bool {
    let value = record.value.map_or(&[][..], |span| span.of(&batch.arena));
    memchr::memmem::find(value, b"__poison_enrich__").is_some()
}
