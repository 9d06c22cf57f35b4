//! Booleans, numbers, durations and sizes.

use std::{fmt::Display, time::Duration};

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::{Fault, Kind, as_text, pattern_schema, wrong_type};
use crate::{
    document::{Node, Value},
    units,
};

/// `true` or `false`.
pub(crate) struct Boolean;

impl Kind for Boolean {
    type Value = bool;

    fn read(&self, node: &Node) -> Result<bool, Vec<Fault>> {
        match &node.value {
            Value::Boolean(boolean) => Ok(*boolean),
            Value::Text(text) if node.untyped && text == "true" => Ok(true),
            Value::Text(text) if node.untyped && text == "false" => Ok(false),
            _ => Err(wrong_type(node, "a boolean")),
        }
    }

    fn write(&self, value: &bool) -> Json {
        json!(value)
    }

    fn allowed(&self) -> String {
        "`true` or `false`".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// An integer from `min` to `max`.
pub(crate) struct Count<T> {
    pub(crate) min: T,
    pub(crate) max: T,
}

impl<T: TryFrom<i64> + PartialOrd + Copy + Display + Into<Json>> Kind for Count<T> {
    type Value = T;

    fn read(&self, node: &Node) -> Result<T, Vec<Fault>> {
        let integer = match &node.value {
            Value::Integer(integer) => *integer,
            Value::Text(text) if node.untyped => {
                untyped_integer(text).ok_or_else(|| Fault::all(node, "not an integer"))?
            }
            _ => return Err(wrong_type(node, "an integer")),
        };
        match T::try_from(integer) {
            Ok(count) => in_range(node, count, &self.min, &self.max),
            Err(_) => Err(Fault::all(node, if integer < 0 { TOO_SMALL } else { TOO_LARGE })),
        }
    }

    fn write(&self, value: &T) -> Json {
        (*value).into()
    }

    fn allowed(&self) -> String {
        format!("an integer from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        let (min, max): (Json, Json) = (self.min.into(), self.max.into());
        json!({ "type": "integer", "minimum": min, "maximum": max })
    }
}

/// A number from 0 to 1.
pub(crate) struct Ratio;

impl Kind for Ratio {
    type Value = f64;

    fn read(&self, node: &Node) -> Result<f64, Vec<Fault>> {
        let ratio = match &node.value {
            Value::Float(float) => *float,
            Value::Integer(integer) => *integer as f64,
            Value::Text(text) if node.untyped => {
                text.parse().map_err(|_| Fault::all(node, "not a number"))?
            }
            _ => return Err(wrong_type(node, "a number")),
        };
        if ratio.is_nan() {
            return Err(Fault::all(node, "not a number"));
        }
        in_range(node, ratio, &0.0, &1.0)
    }

    fn write(&self, value: &f64) -> Json {
        json!(value)
    }

    fn allowed(&self) -> String {
        "a number from 0 to 1".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// A duration such as `250ms`.
pub(crate) struct Period {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Kind for Period {
    type Value = Duration;

    fn read(&self, node: &Node) -> Result<Duration, Vec<Fault>> {
        let text = as_text(node, "a string with a duration")?;
        let duration = units::parse_duration(text).map_err(|reason| Fault::all(node, reason))?;
        in_range(node, duration, &self.min, &self.max)
    }

    fn write(&self, value: &Duration) -> Json {
        json!(units::format_duration(*value))
    }

    fn allowed(&self) -> String {
        let (min, max) = (units::format_duration(self.min), units::format_duration(self.max));
        format!("a duration from `\"{min}\"` to `\"{max}\"`")
    }

    fn schema(&self) -> Json {
        pattern_schema("^[0-9]+(ms|s|m|h|d)$")
    }
}

/// A duration of which the text is kept, because people will see it again.
pub(crate) struct WrittenPeriod(pub(crate) Period);

impl Kind for WrittenPeriod {
    type Value = (Duration, String);

    fn read(&self, node: &Node) -> Result<Self::Value, Vec<Fault>> {
        let duration = self.0.read(node)?;
        Ok((duration, as_text(node, "a duration")?.to_owned()))
    }

    fn write(&self, (_, text): &Self::Value) -> Json {
        json!(text)
    }

    fn allowed(&self) -> String {
        self.0.allowed()
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }
}

/// A number of bytes such as `64MiB`.
pub(crate) struct Bytes {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Kind for Bytes {
    type Value = usize;

    fn read(&self, node: &Node) -> Result<usize, Vec<Fault>> {
        let bytes = match &node.value {
            Value::Integer(integer) => u64::try_from(*integer).map_err(|_| Fault::all(node, TOO_SMALL))?,
            _ => {
                let text = as_text(node, "a string with a size, or an integer")?;
                units::parse_bytes(text).map_err(|reason| Fault::all(node, reason))?
            }
        };
        let bytes = in_range(node, bytes, &self.min, &self.max)?;
        usize::try_from(bytes).map_err(|_| Fault::all(node, TOO_LARGE))
    }

    fn write(&self, value: &usize) -> Json {
        json!(units::format_bytes(*value as u64))
    }

    fn allowed(&self) -> String {
        let (min, max) = (units::format_bytes(self.min), units::format_bytes(self.max));
        format!("a size from `\"{min}\"` to `\"{max}\"`, or a number of bytes")
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [
            { "type": "integer", "minimum": self.min, "maximum": self.max },
            pattern_schema("^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)?$"),
        ] })
    }
}

const TOO_SMALL: &str = "too small";
const TOO_LARGE: &str = "too large";

fn in_range<T: PartialOrd>(node: &Node, value: T, min: &T, max: &T) -> Result<T, Vec<Fault>> {
    if value < *min {
        Err(Fault::all(node, TOO_SMALL))
    } else if value > *max {
        Err(Fault::all(node, TOO_LARGE))
    } else {
        Ok(value)
    }
}

/// An integer in TOML's notation, so that `0x10` and `1_000` mean on the command line what they mean in a file.
fn untyped_integer(text: &str) -> Option<i64> {
    let value = DeValue::parse(text.trim()).ok()?;
    let integer = value.get_ref().as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
