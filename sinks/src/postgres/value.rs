//! Values in the binary form of their columns' types.

use std::{borrow::Cow, fmt};

use tidegate_core::{TimestampMs, event::Raw};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_postgres::types::{Kind, Type};

use super::numeric;

/// How much of an offending value a reason shows, in bytes.
const MAX_SHOWN_BYTES: usize = 64;
/// 2000-01-01, from which the server counts, in microseconds since 1970.
const SERVER_EPOCH_US: i64 = 946_684_800_000_000;
/// First byte of binary jsonb.
const JSONB_VERSION: u8 = 1;

/// The types of columns that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Bool,
    /// With or without time zone; without one it is UTC.
    Timestamp,
    Json,
    Jsonb,
    Bytea,
    Numeric,
    Uuid,
}

impl ColumnType {
    /// Their names, for people.
    pub(super) const NAMES: &str = "text, varchar, int2, int4, int8, float4, float8, bool, timestamptz, timestamp, \
                                    jsonb, json, bytea, numeric, uuid, and enumerations";

    /// `None` if columns of this type are not written.
    pub(super) fn of(kind: &Type) -> Option<Self> {
        Some(match *kind {
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Self::Text,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::BOOL => Self::Bool,
            Type::TIMESTAMPTZ | Type::TIMESTAMP => Self::Timestamp,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::BYTEA => Self::Bytea,
            Type::NUMERIC => Self::Numeric,
            Type::UUID => Self::Uuid,
            _ if matches!(kind.kind(), Kind::Enum(_)) || kind.name() == "citext" => Self::Text,
            _ => return None,
        })
    }
}

/// A value for a column.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Time(TimestampMs),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// JSON as it is.
    Json(Cow<'a, str>),
    /// A value out of an event. Where JSON is not asked for, a string is its text, and anything else the text of its JSON.
    Raw(Raw<'a>),
}

impl<'a> Value<'a> {
    /// The text, if there is one.
    pub(super) fn text(text: Option<Cow<'a, str>>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// Appends the value with its length.
    ///
    /// # Errors
    /// If it does not fit the type; in words. What was appended is of no use then.
    pub(super) fn encode(&self, column: ColumnType, out: &mut Vec<u8>) -> Result<(), String> {
        if self.is_null() {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        self.encode_content(column, out)?;
        let length = i32::try_from(out.len() - at - 4).map_err(|_| "too long".to_owned())?;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn is_null(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Raw(raw) => !raw.is_present(),
            _ => false,
        }
    }

    #[inline]
    fn encode_content(&self, column: ColumnType, out: &mut Vec<u8>) -> Result<(), String> {
        match column {
            ColumnType::Text => out.extend_from_slice(self.to_text()?.as_bytes()),
            ColumnType::Int2 => out.extend_from_slice(&self.to_int::<i16>()?.to_be_bytes()),
            ColumnType::Int4 => out.extend_from_slice(&self.to_int::<i32>()?.to_be_bytes()),
            ColumnType::Int8 => out.extend_from_slice(&self.to_int::<i64>()?.to_be_bytes()),
            ColumnType::Float4 => {
                out.extend_from_slice(&(self.to_float(f64::from(f32::MAX))? as f32).to_be_bytes())
            }
            ColumnType::Float8 => out.extend_from_slice(&self.to_float(f64::MAX)?.to_be_bytes()),
            ColumnType::Bool => match &*self.to_text()? {
                "true" => out.push(1),
                "false" => out.push(0),
                text => return Err(no("neither true nor false", text)),
            },
            ColumnType::Timestamp => out.extend_from_slice(&self.to_time()?.to_be_bytes()),
            ColumnType::Json => self.to_json(out),
            ColumnType::Jsonb => {
                out.push(JSONB_VERSION);
                self.to_json(out);
            }
            ColumnType::Bytea => match self {
                Self::Bytes(bytes) => out.extend_from_slice(bytes),
                _ => out.extend_from_slice(self.to_text()?.as_bytes()),
            },
            ColumnType::Numeric => {
                let text = self.to_text()?;
                numeric::encode(&text, out).ok_or_else(|| no("no number", &text))?;
            }
            ColumnType::Uuid => out.extend_from_slice(&uuid(&self.to_text()?)?),
        }
        Ok(())
    }

    fn to_text(&self) -> Result<Cow<'_, str>, String> {
        Ok(match self {
            Self::Null => Cow::Borrowed(""),
            Self::Int(int) => Cow::Owned(int.to_string()),
            Self::Time(TimestampMs(ms)) => Cow::Owned(ms.to_string()),
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
            Self::Raw(raw) => raw.string().unwrap_or(Cow::Borrowed(raw.json())),
            Self::Bytes(bytes) => {
                Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?)
            }
        })
    }

    fn to_int<T: TryFrom<i64>>(&self) -> Result<T, String> {
        let int = match self {
            Self::Int(int) | Self::Time(TimestampMs(int)) => Some(*int),
            _ => self.to_text()?.parse().ok(),
        };
        match int.and_then(|int| T::try_from(int).ok()) {
            Some(int) => Ok(int),
            None => Err(no("no integer of this size", &self.to_text()?)),
        }
    }

    fn to_float(&self, max: f64) -> Result<f64, String> {
        let text = self.to_text()?;
        let float = text.parse().ok().filter(|float: &f64| float.abs() <= max);
        float.ok_or_else(|| no("no number of this size", &text))
    }

    /// Microseconds since the server's epoch.
    fn to_time(&self) -> Result<i64, String> {
        let us = match self {
            Self::Int(ms) | Self::Time(TimestampMs(ms)) => ms.checked_mul(1_000),
            _ => time_us(&self.to_text()?),
        };
        let us = us.and_then(|us| us.checked_sub(SERVER_EPOCH_US));
        match us {
            Some(us) => Ok(us),
            None => {
                Err(no("neither milliseconds since 1970 nor a time as RFC 3339 has it", &self.to_text()?))
            }
        }
    }

    fn to_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Json(json) => out.extend_from_slice(json.as_bytes()),
            Self::Raw(raw) => out.extend_from_slice(raw.json().as_bytes()),
            Self::Int(int) | Self::Time(TimestampMs(int)) => {
                out.extend_from_slice(int.to_string().as_bytes())
            }
            // Text written to memory as JSON cannot fail.
            Self::Text(text) => _ = serde_json::to_writer(out, text),
            Self::Bytes(bytes) => _ = serde_json::to_writer(out, &String::from_utf8_lossy(bytes)),
        }
    }
}

/// Milliseconds since 1970, or RFC 3339.
fn time_us(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse::<i64>() {
        return ms.checked_mul(1_000);
    }
    let ns = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(ns.div_euclid(1_000)).ok()
}

fn uuid(text: &str) -> Result<[u8; 16], String> {
    let digits = text.replace('-', "");
    let uuid = Some(&digits).filter(|digits| digits.len() == 32 && !digits.starts_with('+'));
    let uuid = uuid.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    uuid.map(u128::to_be_bytes).ok_or_else(|| no("no UUID", text))
}

fn no(what: impl fmt::Display, text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)];
    format!("{what}: {shown}{}", if shown.len() < text.len() { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &Value<'_>, column: ColumnType) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        value.encode(column, &mut out)?;
        Ok(out)
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    #[test]
    fn a_value_stands_behind_its_length_and_null_is_a_length_alone() {
        assert_eq!(encoded(&Value::Null, ColumnType::Int8), Ok(vec![0xFF; 4]));
        assert_eq!(encoded(&Value::Int(258), ColumnType::Int4), Ok(vec![0, 0, 0, 4, 0, 0, 1, 2]));
        assert_eq!(encoded(&text("é"), ColumnType::Text), Ok(vec![0, 0, 0, 2, 0xC3, 0xA9]));
        let json = Value::Json(Cow::Borrowed("{}"));
        assert_eq!(encoded(&json, ColumnType::Jsonb), Ok(vec![0, 0, 0, 3, 1, b'{', b'}']));
        assert_eq!(encoded(&text("\""), ColumnType::Json), Ok(b"\0\0\0\x04\"\\\"\"".to_vec()));
    }

    #[test]
    fn a_time_is_milliseconds_or_rfc_3339_and_counts_from_the_year_2000() {
        let second = Ok([&[0, 0, 0, 8][..], &1_000_000_i64.to_be_bytes()].concat());
        for value in [
            Value::Time(TimestampMs(946_684_801_000)),
            Value::Int(946_684_801_000),
            text("946684801000"),
            text("2000-01-01T00:00:01Z"),
            text("2000-01-01T02:00:01.000+02:00"),
        ] {
            assert_eq!(encoded(&value, ColumnType::Timestamp), second, "{value:?}");
        }
    }

    #[test]
    fn what_does_not_fit_its_column_is_refused_with_the_value() {
        for (value, column, reason) in [
            (text("abc"), ColumnType::Int4, "no integer of this size: abc"),
            (Value::Int(40_000), ColumnType::Int2, "no integer of this size: 40000"),
            (text("1e999"), ColumnType::Float8, "no number of this size: 1e999"),
            (text("1e39"), ColumnType::Float4, "no number of this size: 1e39"),
            (text("yes"), ColumnType::Bool, "neither true nor false: yes"),
            (
                Value::Time(TimestampMs(i64::MAX)),
                ColumnType::Timestamp,
                "neither milliseconds since 1970 nor a time as RFC 3339 has it: 9223372036854775807",
            ),
            (text("1-2"), ColumnType::Uuid, "no UUID: 1-2"),
            (Value::Bytes(b"\xff"), ColumnType::Text, "not UTF-8"),
        ] {
            assert_eq!(encoded(&value, column), Err(reason.to_owned()));
        }
    }
}
