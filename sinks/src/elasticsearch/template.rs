//! The index template: how the fields of documents are to be indexed.
//!
//! Known fields have the type that fits them. Any other text is a keyword: it can be searched for as a whole, counted
//! and grouped by, and costs a fraction of full text. Text that looks like a date stays text, so that what the first event
//! has does not decide what later ones may have.

use serde_json::{Map, Value, json};
use tidegate_core::{
    event::{FieldPath, FieldPaths},
    record::Topic,
};

/// Before the templates that come with servers (100), and those that most people write without a thought of order.
const PRIORITY: u64 = 200;
/// Text longer than this is kept, and not indexed: a keyword of more than 32,766 bytes would be refused.
const KEYWORD_CHARS: u64 = 1024;

/// The template for documents of a topic in the indices that match `pattern`.
pub(super) fn template(topic: Topic, pattern: &str, paths: &FieldPaths) -> Value {
    let properties = match topic {
        Topic::Alerts => of_alerts(),
        Topic::DeadLetters => of_dead_letters(),
        Topic::Raw | Topic::Processed | Topic::State => of_events(paths),
    };
    json!({
        "index_patterns": [pattern],
        "priority": PRIORITY,
        "template": {"mappings": {
            "date_detection": false,
            "dynamic_templates": [{"text": {"match_mapping_type": "string", "mapping": keyword()}}],
            "properties": properties,
        }},
    })
}

fn keyword() -> Value {
    json!({"type": "keyword", "ignore_above": KEYWORD_CHARS})
}

fn date() -> Value {
    json!({"type": "date"})
}

/// Milliseconds since the epoch.
fn date_ms() -> Value {
    json!({"type": "date", "format": "epoch_millis", "ignore_malformed": true})
}

fn of_events(paths: &FieldPaths) -> Value {
    let FieldPaths { event_type, timestamp, service, ip, user_agent } = paths;
    let address = json!({"type": "ip", "ignore_malformed": true});
    let user_id = [vec!["user_id".to_owned()]];
    let geo = json!({"properties": {
        "country": keyword(), "city": keyword(), "lat": {"type": "double"}, "lon": {"type": "double"},
        "location": {"type": "geo_point"},
    }});
    let mut properties = Map::from_iter([("@timestamp".to_owned(), date()), ("geo".to_owned(), geo)]);
    let of_type = [
        (event_type.as_slice(), keyword()),
        (timestamp, date_ms()),
        (service, keyword()),
        (&user_id, keyword()),
        (ip, address),
        (user_agent, keyword()),
    ];
    for (paths, mapping) in of_type {
        paths.iter().for_each(|path| put(&mut properties, path, &mapping));
    }
    properties.into()
}

/// Gives the field at a path its mapping, unless one that leads to it, or it itself, has another.
fn put(properties: &mut Map<String, Value>, path: &FieldPath, mapping: &Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut object = properties;
    for name in parents {
        let parent = object.entry(name.as_str()).or_insert_with(|| json!({"properties": {}}));
        let Some(Value::Object(inner)) = parent.get_mut("properties") else { return };
        object = inner;
    }
    object.entry(last.as_str()).or_insert_with(|| mapping.clone());
}

fn of_alerts() -> Value {
    let long = json!({"type": "long"});
    json!({
        "@timestamp": date(), "id": keyword(), "rule": keyword(), "phase": keyword(), "service": keyword(),
        "message": {"type": "text"}, "count": long, "threshold": {"type": "double"}, "value": {"type": "double"},
        "window_start": date_ms(), "window_end": date_ms(), "first_event_at": date_ms(), "last_event_at": date_ms(),
        "severity": keyword(),
        "evidence": {"properties": {
            "topic": keyword(), "partition": long, "offset": long, "user_id": keyword(), "timestamp": date_ms(),
        }},
    })
}

fn of_dead_letters() -> Value {
    let long = json!({"type": "long"});
    let binary = json!({"type": "binary"});
    json!({
        "@timestamp": date(), "reason": keyword(), "detail": {"type": "text"}, "sink": keyword(), "size": long,
        "sha256": keyword(), "key": keyword(), "key_base64": binary, "value": {"type": "text"}, "value_base64": binary,
        "source": {"properties": {
            "topic": keyword(), "partition": long, "offset": long, "timestamp": date_ms(),
        }},
        "headers": {"properties": {
            "name": keyword(), "name_base64": binary, "value": keyword(), "value_base64": binary,
        }},
    })
}

/// What of `wanted` is not so in `real`, as dotted paths. What `real` has besides is its owner's business.
pub(super) fn differences(wanted: &Value, real: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(wanted, Some(real), String::new(), &mut found);
    found
}

fn compare(wanted: &Value, real: Option<&Value>, path: String, found: &mut Vec<String>) {
    match (wanted, real) {
        (Value::Object(wanted), Some(Value::Object(real))) => {
            for (name, value) in wanted {
                let dot = if path.is_empty() { "" } else { "." };
                compare(value, real.get(name), format!("{path}{dot}{name}"), found);
            }
        }
        // Servers give numbers and truth values back as they like, as text too.
        (wanted, Some(real)) if text(wanted) == text(real) => {}
        _ => found.push(path),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `real` with what is wanted put into it, and all else as it is.
pub(super) fn merged(wanted: &Value, mut real: Value) -> Value {
    match (wanted, &mut real) {
        (Value::Object(wanted), Value::Object(inner)) => {
            for (name, value) in wanted {
                let old = inner.remove(name).unwrap_or(Value::Null);
                inner.insert(name.clone(), merged(value, old));
            }
            real
        }
        _ => wanted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(dotted: &[&str]) -> Vec<FieldPath> {
        dotted.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn an_events_fields_are_mapped_where_the_configuration_says_that_they_are() {
        let paths = FieldPaths {
            timestamp: paths(&["meta.at", "timestamp"]),
            ip: paths(&["user_agent.ip", "client.ip"]),
            user_agent: paths(&["user_agent"]),
            ..FieldPaths::default()
        };
        let template = template(Topic::Processed, "log-*", &paths);
        let of = |path: &str| template["template"]["mappings"]["properties"].pointer(path).cloned();
        assert_eq!(of("/meta/properties/at"), Some(date_ms()));
        assert_eq!(of("/client/properties/ip/type"), Some("ip".into()));
        assert_eq!(of("/payload/properties/service_name"), Some(keyword()));
        // The field is an object already: it cannot be text too.
        assert_eq!(of("/user_agent/properties/ip/type"), Some("ip".into()));
        assert_eq!(of("/geo/properties/location/type"), Some("geo_point".into()));
    }

    #[test]
    fn what_the_owner_of_a_template_added_is_no_difference_and_stays() {
        let wanted = json!({"priority": 200, "template": {"mappings": {"a": {"b": true}, "c": [1]}}});
        let real = json!({
            "priority": "200", "composed_of": [],
            "template": {"settings": {"shards": 3}, "mappings": {"a": {"b": "true", "own": 1}, "c": [1]}},
        });
        assert_eq!(differences(&wanted, &real), Vec::<String>::new());
        let other = json!({"priority": 1, "template": {"settings": {"shards": 3}, "mappings": {"a": 5}}});
        let expected = ["priority", "template.mappings.a", "template.mappings.c"];
        assert_eq!(differences(&wanted, &other), expected);
        let altered = merged(&wanted, other);
        assert_eq!(differences(&wanted, &altered), Vec::<String>::new());
        assert_eq!(altered["template"]["settings"]["shards"], 3);
    }
}
