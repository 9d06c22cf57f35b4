//! How fast rows are delivered.

#![allow(clippy::print_stdout, reason = "for the person who measures")]

use std::time::Instant;

use tidegate_core::record::Topic;
use tidegate_sinks::{Destination, Outcome};

use crate::support::{Database, P0, all, events, from};

const BATCH: i64 = 2_000;
const BATCHES: i64 = 100;

/// Run by `cargo test --release -p tidegate-sinks --test postgres -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn rows_per_second() {
    let database = Database::with_tables(Topic::Processed).await;
    let mut sink = database.sink(Topic::Processed);
    sink.take_over(&[from(P0, 0)]).await.unwrap();
    let batches: Vec<_> = (0..BATCHES).map(|at| events(P0, at * BATCH..(at + 1) * BATCH)).collect();
    let began = Instant::now();
    for batch in &batches {
        assert_eq!(sink.deliver(batch, &all(batch)).await, Outcome::Delivered);
    }
    let rate = (BATCH * BATCHES) as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} rows/s in batches of {BATCH}");
    assert_eq!(database.position(P0).await, BATCH * BATCHES);
}
