//! Families of cells: one metric, one cell per combination of label values, read by an observable instrument.

use std::sync::Arc;

use opentelemetry::{KeyValue, metrics::Meter};

use crate::{Counter, Gauge, names::Spec};

/// The label values of one time series. Made once, at start.
pub(crate) type Attributes = Vec<KeyValue>;

/// One cell per time series, indexed as the labels were given.
#[derive(Debug)]
pub(crate) struct Family<T> {
    series: Arc<[(T, Attributes)]>,
    /// Handed out for an index that does not exist, and never exported: a wrong number here is no reason to
    /// take an actor down.
    spare: T,
}

impl<T: Default> Family<T> {
    pub(crate) fn new(labels: impl IntoIterator<Item = Attributes>) -> Self {
        let series = labels.into_iter().map(|attributes| (T::default(), attributes)).collect();
        Self { series, spare: T::default() }
    }

    pub(crate) fn get(&self, index: usize) -> &T {
        self.series.get(index).map_or(&self.spare, |(cell, _)| cell)
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = &T> {
        self.series.iter().map(|(cell, _)| cell)
    }
}

/// The label set of a metric without labels: a single time series.
pub(crate) const UNLABELLED: [Attributes; 1] = [Vec::new()];

/// One label set per value of the label `key`.
pub(crate) fn by<V: Into<opentelemetry::Value>>(
    key: &'static str,
    values: impl IntoIterator<Item = V>,
) -> impl Iterator<Item = Attributes> {
    values.into_iter().map(move |value| vec![KeyValue::new(key, value)])
}

/// A family of counters, exported from zero on.
pub(crate) fn counters(
    meter: &Meter,
    spec: Spec,
    labels: impl IntoIterator<Item = Attributes>,
) -> Family<Counter> {
    counters_and_spare(meter, spec, labels, usize::MAX)
}

/// A family of counters of which the first `expected` are exported from zero on, the others once they count.
pub(crate) fn counters_and_spare(
    meter: &Meter,
    spec: Spec,
    labels: impl IntoIterator<Item = Attributes>,
    expected: usize,
) -> Family<Counter> {
    let family = Family::<Counter>::new(labels);
    observe_count(meter, spec, &family, expected, Counter::get);
    family
}

/// Exports one number of each cell of a family as a counter, of the first `expected` from zero on, of the others once they
/// count; a family can have several.
pub(crate) fn observe_count<T: Send + Sync + 'static>(
    meter: &Meter,
    spec: Spec,
    family: &Family<T>,
    expected: usize,
    count: impl Fn(&T) -> u64 + Send + Sync + 'static,
) {
    let series = Arc::clone(&family.series);
    meter
        .u64_observable_counter(spec.name)
        .with_unit(spec.unit)
        .with_description(spec.help)
        .with_callback(move |observer| {
            for (index, (cell, attributes)) in series.iter().enumerate() {
                let count = count(cell);
                if index < expected || count > 0 {
                    observer.observe(count, attributes);
                }
            }
        })
        .build();
}

/// A family of gauges; those without a known value are left out.
pub(crate) fn gauges(
    meter: &Meter,
    spec: Spec,
    labels: impl IntoIterator<Item = Attributes>,
) -> Family<Gauge> {
    let family = Family::<Gauge>::new(labels);
    observe(meter, spec, &family, Gauge::get);
    family
}

/// Exports one number of each cell of a family as a gauge; a family can have several.
pub(crate) fn observe<T: Send + Sync + 'static>(
    meter: &Meter,
    spec: Spec,
    family: &Family<T>,
    value: impl Fn(&T) -> Option<f64> + Send + Sync + 'static,
) {
    let series = Arc::clone(&family.series);
    meter
        .f64_observable_gauge(spec.name)
        .with_unit(spec.unit)
        .with_description(spec.help)
        .with_callback(move |observer| {
            for (cell, attributes) in series.iter() {
                if let Some(value) = value(cell) {
                    observer.observe(value, attributes);
                }
            }
        })
        .build();
}
