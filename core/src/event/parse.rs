//! From bytes to the fields of an event, or to the reason why not.

use std::{borrow::Cow, net::IpAddr};

use super::{
    Event, FieldPath, FieldPaths, GeoSlot, MAX_EVENT_BYTES, MAX_SERVICE_BYTES, Reason, Rejection,
    UNKNOWN_SERVICE, cursor::Malformed, cut, scan::Scan, text::Raw, trie::Node,
};
use crate::TimestampMs;

/// Slots that need no allocation: the default paths take 9.
const INLINE_SLOTS: usize = 16;

/// How much of an offending value a rejection shows, in bytes.
const MAX_SHOWN_BYTES: usize = 64;

/// Reads events; compiled once from the configured paths.
#[derive(Debug, Clone)]
pub struct EventParser {
    root: Node,
    event_type: Field,
    timestamp: Field,
    service: Field,
    ip: Field,
    user_agent: Field,
    user_id: Field,
    /// Slots of what else is asked for.
    extra: Vec<usize>,
}

/// The places of one field in order of preference: slot, and dotted path for messages.
#[derive(Debug, Clone)]
struct Field(Vec<(usize, String)>);

impl Field {
    fn new(root: &Node, paths: &[FieldPath]) -> Self {
        Self(paths.iter().filter_map(|path| Some((root.slot_of(path)?, path.join(".")))).collect())
    }

    /// The values that are present, each with its path.
    fn present<'f, 'a>(&'f self, values: &'f [Raw<'a>]) -> impl Iterator<Item = (Raw<'a>, &'f str)> {
        let places = self.0.iter().map(|(slot, path)| (values[*slot], path.as_str()));
        places.filter(|(raw, _)| raw.is_present())
    }

    /// The strings among the values that are present.
    fn strings<'f, 'a>(&'f self, values: &'f [Raw<'a>]) -> impl Iterator<Item = Cow<'a, str>> {
        self.present(values).filter_map(|(raw, _)| raw.string())
    }
}

impl EventParser {
    /// Compiles the paths.
    #[must_use]
    pub fn new(paths: &FieldPaths) -> Self {
        Self::with_extra(paths, &[])
    }

    /// As [`new`](Self::new), with more values that [`parse_with`](Self::parse_with) hands out.
    #[must_use]
    pub fn with_extra(paths: &FieldPaths, extra: &[FieldPath]) -> Self {
        let FieldPaths { event_type, timestamp, service, ip, user_agent } = paths;
        let user_id = [vec!["user_id".to_owned()]];
        let all = [event_type, timestamp, service, ip, user_agent, &user_id[..], extra];
        let root = Node::root(all.into_iter().flatten().map(Vec::as_slice));
        Self {
            event_type: Field::new(&root, event_type),
            timestamp: Field::new(&root, timestamp),
            service: Field::new(&root, service),
            ip: Field::new(&root, ip),
            user_agent: Field::new(&root, user_agent),
            user_id: Field::new(&root, &user_id),
            extra: extra.iter().filter_map(|path| root.slot_of(path)).collect(),
            root,
        }
    }

    /// Reads one event. Does not allocate unless `value` has escapes in a field, a top-level `geo`, or more
    /// than 64 levels.
    ///
    /// # Errors
    /// [`Rejection`] if it is a dead letter. Checked in the order of size, UTF-8, JSON, object, event type, timestamp,
    /// service.
    pub fn parse<'a>(&self, value: &'a [u8]) -> Result<Event<'a>, Rejection> {
        check_size(value)?;
        self.read(value, |_| {})
    }

    /// As [`parse`](Self::parse), for an event of any size. Puts the values of the extra paths into `extra`, in their order.
    ///
    /// # Errors
    /// [`Rejection`] if it is no event.
    pub fn parse_with<'a>(&self, value: &'a [u8], extra: &mut Vec<Raw<'a>>) -> Result<Event<'a>, Rejection> {
        extra.clear();
        self.read(value, |values| extra.extend(self.extra.iter().map(|slot| values[*slot])))
    }

    #[inline]
    fn read<'a>(&self, value: &'a [u8], take: impl FnOnce(&[Raw<'a>])) -> Result<Event<'a>, Rejection> {
        let text = simdutf8::basic::from_utf8(value).map_err(|_| invalid_utf8(value))?;
        let mut inline = [Raw::default(); INLINE_SLOTS];
        let mut heap = Vec::new();
        let slots = self.root.slots().len();
        let values = inline.get_mut(..slots).unwrap_or_else(|| {
            heap.resize(slots, Raw::default());
            &mut heap
        });
        let Scan { values, geo, is_object, .. } =
            Scan::run(text, &self.root, values).map_err(|malformed| invalid_json(text, malformed))?;
        if !is_object {
            return Err(not_an_object(text));
        }
        take(values);
        Ok(Event {
            event_type: self.event_type(values)?,
            timestamp: self.timestamp(values)?,
            service: self.service(values)?,
            ip: self.ip(values),
            user_agent: self.user_agent.strings(values).next(),
            user_id: self.user_id.strings(values).next(),
            geo: if geo.is_empty() { append_slot(value) } else { GeoSlot::Replace(geo) },
        })
    }

    fn event_type<'a>(&self, values: &[Raw<'a>]) -> Result<Cow<'a, str>, Rejection> {
        let Some((raw, path)) = self.event_type.present(values).next() else {
            let paths: Vec<&str> = self.event_type.0.iter().map(|(_, path)| path.as_str()).collect();
            let detail = format!("no event type at `{}`", paths.join("`, `"));
            return Err(Rejection::new(Reason::MissingEventType, detail));
        };
        raw.string().ok_or_else(|| invalid_field(path, "expected a string", raw.text))
    }

    fn timestamp(&self, values: &[Raw<'_>]) -> Result<Option<TimestampMs>, Rejection> {
        let Some((Raw { text: raw, .. }, path)) = self.timestamp.present(values).next() else {
            return Ok(None);
        };
        // What Rust takes for an i64 and what JSON takes for an integer is the same, as `raw` is valid JSON.
        match raw.parse::<i64>() {
            Ok(ms) if (0..=TimestampMs::MAX.0).contains(&ms) => Ok(Some(TimestampMs(ms))),
            Ok(ms) if ms < 0 => Err(invalid_field(path, "expected a time after 1970", raw)),
            _ if is_integer(raw) => {
                Err(invalid_field(path, "expected milliseconds since 1970, at most the year 9999", raw))
            }
            _ => Err(invalid_field(path, "expected an integer, milliseconds since 1970", raw)),
        }
    }

    fn service<'a>(&self, values: &[Raw<'a>]) -> Result<Cow<'a, str>, Rejection> {
        for (raw, path) in self.service.present(values) {
            let name = raw.string().ok_or_else(|| invalid_field(path, "expected a string", raw.text))?;
            if !name.is_empty() {
                return Ok(match name {
                    Cow::Borrowed(name) => Cow::Borrowed(cut(name, MAX_SERVICE_BYTES)),
                    Cow::Owned(name) => Cow::Owned(cut(&name, MAX_SERVICE_BYTES).to_owned()),
                });
            }
        }
        Ok(Cow::Borrowed(UNKNOWN_SERVICE))
    }

    fn ip(&self, values: &[Raw<'_>]) -> Option<IpAddr> {
        self.ip.strings(values).find_map(|address| address.parse().ok())
    }
}

fn check_size(value: &[u8]) -> Result<(), Rejection> {
    if value.len() > MAX_EVENT_BYTES {
        let detail = format!("{} bytes, at most {MAX_EVENT_BYTES} are taken", value.len());
        return Err(Rejection::new(Reason::TooLarge, detail));
    }
    Ok(())
}

/// The last byte but white space of valid JSON that is an object is its closing brace.
fn append_slot(value: &[u8]) -> GeoSlot {
    GeoSlot::Append { at: value.trim_ascii_end().len() as u32 - 1 }
}

fn is_integer(raw: &str) -> bool {
    raw.strip_prefix('-').unwrap_or(raw).bytes().all(|byte| byte.is_ascii_digit())
}

#[cold]
fn invalid_utf8(value: &[u8]) -> Rejection {
    // The fast validation does not say where.
    let at = std::str::from_utf8(value).map_or_else(|error| error.valid_up_to(), |_| value.len());
    Rejection::new(Reason::InvalidUtf8, format!("not UTF-8 from byte {at} on"))
}

#[cold]
fn invalid_json(text: &str, Malformed { at, expected }: Malformed) -> Rejection {
    let found = text[text.floor_char_boundary(at)..].chars().next();
    let found = found.map_or_else(|| "the end".to_owned(), |found| format!("{found:?}"));
    Rejection::new(Reason::InvalidJson, format!("at byte {at}: expected {expected}, found {found}"))
}

#[cold]
fn not_an_object(text: &str) -> Rejection {
    let detail = format!("expected a JSON object, found {}", shown(text.trim_ascii()));
    Rejection::new(Reason::NotAnObject, detail)
}

#[cold]
fn invalid_field(path: &str, expected: &str, raw: &str) -> Rejection {
    Rejection::new(Reason::InvalidField, format!("{path}: {expected}, found {}", shown(raw)))
}

/// The beginning of a JSON value.
fn shown(raw: &str) -> Cow<'_, str> {
    match raw.as_bytes().first() {
        Some(b'{') => Cow::Borrowed("an object"),
        Some(b'[') => Cow::Borrowed("an array"),
        _ if raw.len() <= MAX_SHOWN_BYTES => Cow::Borrowed(raw),
        _ => Cow::Owned(format!("{}...", cut(raw, MAX_SHOWN_BYTES))),
    }
}
