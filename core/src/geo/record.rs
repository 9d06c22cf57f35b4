//! The part of a database's record that is used.

use std::fmt;

use maxminddb::LookupResult;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Where the records of a database have what is used. A database is read in one layout only, so that a damaged tree
/// that points into the middle of a record finds nothing there that looks like another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Layout {
    /// MaxMind, DB-IP: `country.iso_code`, `city.names.en`, `location.latitude`, `location.longitude`.
    #[default]
    Nested,
    /// IPinfo, ip-location-db: see [`Flat`].
    Flat,
}

/// What a record says.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Place<'a> {
    country: Option<&'a str>,
    city: Option<&'a str>,
    lat: Option<f64>,
    lon: Option<f64>,
}

impl<'a> Place<'a> {
    /// Reads the record that a lookup found; `None` if there is none, or not in this layout.
    pub(super) fn of(found: &LookupResult<'a, Vec<u8>>, layout: Layout) -> Option<Self> {
        match layout {
            Layout::Nested => found.decode::<Nested<'a>>().ok()?.map(Nested::place),
            Layout::Flat => found.decode::<Flat<'a>>().ok()?.map(Flat::place),
        }
    }

    /// The place as the JSON value of `geo`, without what it lacks; `None` if it lacks everything.
    pub(super) fn render(&self) -> Option<Vec<u8>> {
        let mut out = vec![b'{'];
        push(&mut out, "country", self.country)?;
        push(&mut out, "city", self.city)?;
        push(&mut out, "lat", self.lat)?;
        push(&mut out, "lon", self.lon)?;
        out.push(b'}');
        (out.len() > 2).then_some(out)
    }

    /// Whether it has `country`, `city`, `lat`, `lon`.
    pub(super) fn fields(&self) -> [bool; 4] {
        [self.country.is_some(), self.city.is_some(), self.lat.is_some(), self.lon.is_some()]
    }
}

/// A record of [`Layout::Nested`].
#[derive(Debug, Deserialize)]
struct Nested<'a> {
    #[serde(borrow, default)]
    country: Country<'a>,
    #[serde(borrow, default)]
    city: City<'a>,
    #[serde(borrow, default)]
    location: Location<'a>,
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
#[serde(default)]
struct Location<'a> {
    #[serde(borrow)]
    latitude: Value<'a>,
    #[serde(borrow)]
    longitude: Value<'a>,
}

impl<'a> Nested<'a> {
    fn place(self) -> Place<'a> {
        let filled = |text: &&str| !text.is_empty();
        Place {
            country: self.country.iso_code.filter(filled),
            city: self.city.names.en.filter(filled),
            lat: self.location.latitude.degrees(),
            lon: self.location.longitude.degrees(),
        }
    }
}

/// A record of [`Layout::Flat`], each field at every place where a maker has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flat<'a> {
    #[serde(borrow)]
    country_code: Value<'a>,
    /// A code in some databases of IPinfo, a name in others.
    #[serde(borrow)]
    country: Value<'a>,
    #[serde(borrow)]
    city: Value<'a>,
    #[serde(borrow)]
    latitude: Value<'a>,
    #[serde(borrow)]
    longitude: Value<'a>,
    #[serde(borrow)]
    lat: Value<'a>,
    #[serde(borrow)]
    lng: Value<'a>,
    #[serde(borrow)]
    lon: Value<'a>,
    /// Latitude and longitude with a comma between.
    #[serde(borrow)]
    loc: Value<'a>,
}

impl<'a> Flat<'a> {
    fn place(self) -> Place<'a> {
        let code = |value: &Value<'a>| value.text().filter(|text| is_code(text));
        let pair = self.loc.text().and_then(|text| text.split_once(','));
        let of_names = |names: &[&Value<'_>]| names.iter().find_map(|value| value.degrees());
        Place {
            country: code(&self.country_code).or_else(|| code(&self.country)),
            city: self.city.text(),
            lat: of_names(&[&self.latitude, &self.lat]).or_else(|| pair.and_then(|pair| degrees(pair.0))),
            lon: of_names(&[&self.longitude, &self.lng, &self.lon])
                .or_else(|| pair.and_then(|pair| degrees(pair.1))),
        }
    }
}

/// ISO 3166-1 alpha-2, and neither a name nor a sign for nothing.
fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Databases are known to hold NaN, which JSON does not.
fn degrees(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|degrees: &f64| degrees.is_finite())
}

/// A text, or a number of any width, which differ between databases; what is something else is as good as not there.
#[derive(Debug, Default)]
enum Value<'a> {
    #[default]
    Nothing,
    Text(&'a str),
    Number(f64),
}

impl<'a> Value<'a> {
    fn text(&self) -> Option<&'a str> {
        match self {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn degrees(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number).filter(|number| number.is_finite()),
            Value::Text(text) => degrees(text),
            Value::Nothing => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_f32<E>(self, number: f32) -> Result<Self::Value, E> {
        // By its shortest digits, since 51.5142 as a single is 51.5141983... as a double.
        Ok(number.to_string().parse().map_or(Value::Nothing, Value::Number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nothing)
    }
}

fn push<T: serde::Serialize>(out: &mut Vec<u8>, name: &str, value: Option<T>) -> Option<()> {
    let Some(value) = value else { return Some(()) };
    if out.len() > 1 {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    serde_json::to_writer(out, &value).ok()
}
