//! The part of a database's record that is used.

use serde::Deserialize;

/// A record of a City or Country database.
///
/// Only what is used, and that as strings and doubles: the reader refuses a record with a number of another
/// width than is asked for, and databases differ in theirs.
#[derive(Debug, Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow, default)]
    country: Country<'a>,
    #[serde(borrow, default)]
    city: City<'a>,
    #[serde(default)]
    location: Location,
}

#[derive(Debug, Default, Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
struct City<'a> {
    #[serde(borrow, default)]
    names: Names<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Record<'_> {
    /// The record as the JSON value of `geo`, without what it lacks; `None` if it lacks everything.
    pub(super) fn render(&self) -> Option<Vec<u8>> {
        let mut out = vec![b'{'];
        push_string(&mut out, "country", self.country.iso_code)?;
        push_string(&mut out, "city", self.city.names.en)?;
        push_degrees(&mut out, "lat", self.location.latitude)?;
        push_degrees(&mut out, "lon", self.location.longitude)?;
        out.push(b'}');
        (out.len() > 2).then_some(out)
    }
}

fn push_string(out: &mut Vec<u8>, name: &str, value: Option<&str>) -> Option<()> {
    match value {
        Some(value) if !value.is_empty() => push(out, name, &value),
        _ => Some(()),
    }
}

/// The shortest digits that mean the same number; databases are known to hold NaN, which JSON does not.
fn push_degrees(out: &mut Vec<u8>, name: &str, value: Option<f64>) -> Option<()> {
    match value {
        Some(value) if value.is_finite() => push(out, name, &value),
        _ => Some(()),
    }
}

fn push(out: &mut Vec<u8>, name: &str, value: &impl serde::Serialize) -> Option<()> {
    if out.len() > 1 {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    serde_json::to_writer(out, value).ok()
}
