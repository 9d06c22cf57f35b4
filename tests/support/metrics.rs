//! Reading the Prometheus text format.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug, Default)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads an exposition; label values must not hold commas, quotes or braces.
    pub fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
                .map(sample)
                .collect(),
        )
    }

    /// The sum over all samples of `name` that have all of these labels; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.matching(name, labels).sum::<f64>() as u64
    }

    /// The value of a gauge; `None` if there is no such sample.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.matching(name, &[]).next()
    }

    /// All values of a label of `name`, each once.
    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let samples = self.0.iter().filter(|sample| sample.name == name);
        samples.filter_map(|sample| sample.labels.get(label).map(String::as_str)).collect()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
        let fits = move |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|have| have == value))
        };
        self.0.iter().filter(fits).map(|sample| sample.value)
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once('=').unwrap_or_else(|| panic!("bad label in {line:?}"));
        (key.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value }
}
