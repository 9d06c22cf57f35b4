//! For any event: the output is the input with `geo` set, and no other byte is another.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;
use tidegate_core::{
    event::{EventParser, FieldPaths, Reason},
    splice::splice_geo,
};

/// JSON as it is spelled: strings and numbers are raw, keys may repeat.
#[derive(Debug, Clone)]
enum Json {
    Raw(String),
    Array(Vec<Json>),
    Object(Vec<Member>),
}

/// One member of an object and the white space around its parts.
#[derive(Debug, Clone)]
struct Member {
    space: [&'static str; 4],
    key: String,
    value: Json,
}

fn render(json: &Json, out: &mut String) {
    match json {
        Json::Raw(raw) => out.push_str(raw),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { " ," });
                render(item, out);
            }
            out.push(']');
        }
        Json::Object(members) => render_object(members, None, out),
    }
}

/// Renders an object; with `geo` as it is to come out of the splice.
fn render_object(members: &[Member], geo: Option<&str>, out: &mut String) {
    out.push('{');
    let mut has_geo = false;
    for (i, member) in members.iter().enumerate() {
        let [before_key, after_key, before_value, after_value] = member.space;
        let comma = if i == 0 { "" } else { "," };
        for part in [comma, before_key, &member.key, after_key, ":", before_value] {
            out.push_str(part);
        }
        match geo {
            Some(geo) if means_geo(&member.key) => {
                has_geo = true;
                out.push_str(geo);
            }
            _ => render(&member.value, out),
        }
        out.push_str(after_value);
    }
    if let Some(geo) = geo.filter(|_| !has_geo) {
        let comma = if members.is_empty() { "" } else { "," };
        for part in [comma, "\"geo\":", geo] {
            out.push_str(part);
        }
    }
    out.push('}');
}

fn means_geo(raw_key: &str) -> bool {
    serde_json::from_str::<String>(raw_key).is_ok_and(|key| key == "geo")
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("\n\t"), 1 => Just("\r\n ")]
}

fn string() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        8 => any::<char>().prop_map(|c| match c {
            '"' | '\\' | '\0'..='\x1f' => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        }),
        2 => any::<u16>().prop_map(|unit| format!("\\u{unit:04X}")),
        1 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "{", "}", ",", ":"]).prop_map(String::from),
    ];
    prop::collection::vec(character, 0..8).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn key() -> impl Strategy<Value = String> {
    let known = vec![
        r#""geo""#,
        r#""g\u0065o""#,
        r#""\u0067\u0065\u006f""#,
        r#""Geo""#,
        r#""payload""#,
        r#""p\u0061yload""#,
        r#""ip""#,
        r#""user_agent""#,
        r#""user_id""#,
        r#""\ud800""#,
        r#""""#,
    ];
    prop_oneof![2 => prop::sample::select(known).prop_map(String::from), 1 => string()]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?",
    ]
}

fn member(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Member> {
    ([space(), space(), space(), space()], key(), value).prop_map(|(space, key, value)| Member {
        space,
        key,
        value,
    })
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false"]).prop_map(String::from),
        number(),
        string(),
        (1_usize..2000).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
    ];
    leaf.prop_map(Json::Raw).prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec(member(inner), 0..6).prop_map(Json::Object),
        ]
    })
}

/// The members of an event: any, and among them a type.
fn event() -> impl Strategy<Value = Vec<Member>> {
    (prop::collection::vec(member(json()), 0..8), any::<prop::sample::Index>(), string()).prop_map(
        |(mut members, at, event_type)| {
            let key = String::from("\"event_type\"");
            let member = Member { space: ["", " ", "", ""], key, value: Json::Raw(event_type) };
            members.insert(at.index(members.len() + 1), member);
            members
        },
    )
}

/// What could be mistaken for JSON: its tokens in any order, and some that are none.
fn nearly_json() -> impl Strategy<Value = String> {
    let tokens = vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"event_type\":\"a\"",
        "\"payload\":",
        "\"geo\":",
        "{}",
        "[]",
        "\\",
        "\\u00",
        "\\n",
        "\\x",
        "\n",
        "\u{1}",
        "\u{7f}",
        "é",
        "\u{feff}",
        " ",
        "0",
        "-",
        "1",
        ".",
        "e",
        "+",
        "1.5e-7",
        "true",
        "nul",
        "null",
        "false",
        "/",
    ];
    let soup = prop::collection::vec(prop::sample::select(tokens), 0..12).prop_map(|tokens| tokens.concat());
    prop_oneof![soup.clone(), soup.prop_map(|soup| format!("{{\"event_type\":\"a\",\"x\":{soup}}}"))]
}

/// Whether the parser takes for JSON exactly what an independent one does.
fn check_verdict(value: &[u8]) -> Result<(), TestCaseError> {
    let Ok(text) = std::str::from_utf8(value) else { return Ok(()) };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let refused = parser().parse(value).is_err_and(|rejection| rejection.reason == Reason::InvalidJson);
    prop_assert_eq!(refused, !is_json, "{}", text);
    Ok(())
}

fn parser() -> EventParser {
    EventParser::new(&FieldPaths::default())
}

proptest! {
    #[test]
    fn the_output_is_the_input_with_geo_and_no_other_byte_is_another(
        members in event(),
        around in [space(), space()],
        geo in prop::sample::select(vec!["null", r#"{"country":"GB","lat":51.5142}"#]),
    ) {
        let (mut input, mut expected) = (around[0].to_owned(), around[0].to_owned());
        render_object(&members, None, &mut input);
        render_object(&members, Some(geo), &mut expected);
        input.push_str(around[1]);
        expected.push_str(around[1]);

        let parser = parser();
        let event = parser.parse(input.as_bytes()).map_err(|r| TestCaseError::fail(format!("{r:?}")))?;
        let mut output = Vec::new();
        splice_geo(input.as_bytes(), &event.geo, geo.as_bytes(), &mut output);
        prop_assert_eq!(std::str::from_utf8(&output).unwrap(), &expected);

        // An independent parser agrees wherever it takes such JSON at all (numbers, surrogates, depth)
        if let Ok(Value::Object(mut object)) = serde_json::from_str(&input) {
            object.insert("geo".into(), serde_json::from_str(geo).unwrap());
            prop_assert_eq!(serde_json::from_slice::<Value>(&output).unwrap(), Value::Object(object));
        }
    }

    #[test]
    fn what_is_json_and_what_is_not_is_told_as_by_an_independent_parser(text in nearly_json()) {
        check_verdict(text.as_bytes())?;
    }

    #[test]
    fn any_bytes_are_an_event_or_a_rejection(value in prop::collection::vec(any::<u8>(), 0..200)) {
        check_verdict(&value)?;
    }

    #[test]
    fn an_event_with_any_byte_changed_is_an_event_or_a_rejection(
        members in event(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![prop::sample::select(b"{}[]\",:\\ 0e\x00\x80".to_vec()), any::<u8>()],
        cut in any::<bool>(),
    ) {
        let mut input = String::new();
        render_object(&members, None, &mut input);
        let mut input = input.into_bytes();
        let at = at.index(input.len());
        input[at] = byte;
        if cut {
            input.truncate(at + 1);
        }
        check_verdict(&input)?;
        if let Ok(event) = parser().parse(&input) {
            let mut output = Vec::new();
            splice_geo(&input, &event.geo, b"null", &mut output);
            prop_assert!(parser().parse(&output).is_ok());
        }
    }
}
