//! The rules for reading an event and for setting its `geo`.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use tidegate_core::{
    TimestampMs,
    event::{Event, EventParser, FieldPaths, MAX_DETAIL_BYTES, MAX_EVENT_BYTES, Reason},
    splice::splice_geo,
};

fn parser() -> EventParser {
    EventParser::new(&FieldPaths::default())
}

fn parse(json: &str) -> Event<'_> {
    let start = &json[..json.floor_char_boundary(200)];
    parser().parse(json.as_bytes()).unwrap_or_else(|rejection| panic!("{start}: {rejection:?}"))
}

/// An event with `members` behind its type.
fn with(members: &str) -> String {
    format!(r#"{{"event_type":"click",{members}}}"#)
}

fn reason(value: &[u8]) -> Reason {
    parser().parse(value).unwrap_err().reason
}

fn spliced(value: &str, fragment: &str) -> String {
    let mut out = b"before".to_vec();
    splice_geo(value.as_bytes(), &parse(value).geo, fragment.as_bytes(), &mut out);
    String::from_utf8(out.split_off("before".len())).unwrap()
}

#[test]
fn all_fields_of_an_event_are_found() {
    let event = r#"{"user_id":"user-42","event_type":"error","timestamp":1760000041200,"payload":
        {"service_name":"checkout","ip":"81.2.69.160","user_agent":"Mozilla/5.0","n":1}}"#;
    let event = parse(event);
    assert_eq!(event.event_type, "error");
    assert_eq!(event.timestamp, Some(TimestampMs(1_760_000_041_200)));
    assert_eq!(event.service, "checkout");
    assert_eq!(event.ip, Some("81.2.69.160".parse::<IpAddr>().unwrap()));
    assert_eq!(event.user_agent.as_deref(), Some("Mozilla/5.0"));
    assert_eq!(event.user_id.as_deref(), Some("user-42"));
}

#[test]
fn an_event_with_nothing_but_its_type_is_enough() {
    let event = parse(r#"{"event_type":""}"#);
    assert_eq!(event.event_type, "");
    assert_eq!((event.timestamp, event.ip, event.user_agent, event.user_id), (None, None, None, None));
    assert_eq!(event.service, "unknown");
}

#[test]
fn the_first_path_that_is_present_gives_the_service() {
    for (members, service) in [
        (r#""service_name":"a","payload":{"service_name":"b"}"#, "a"),
        (r#""payload":{"service_name":"b"},"service_name":"a""#, "a"),
        (r#""service_name":null,"payload":{"service_name":"b"}"#, "b"),
        (r#""service_name":"","payload":{"service_name":"b"}"#, "b"),
        (r#""service_name":"","payload":{"service_name":""}"#, "unknown"),
        (r#""payload":{"payload":{"service_name":"b"}}"#, "unknown"),
        // A path that runs into something else than an object is absent.
        (r#""payload":[{"service_name":"b"}]"#, "unknown"),
        (r#""payload":"service_name""#, "unknown"),
        (r#""payload":null"#, "unknown"),
        (r#""payload.service_name":"b""#, "unknown"),
        // A wrong type behind the first that is present is not looked at.
        (r#""service_name":"a","payload":{"service_name":7}"#, "a"),
        (r#""service_name" :	"\u0061\"" "#, "a\""),
        (r#""\u0073ervice_name":"escaped key""#, "escaped key"),
        (r#""service_name":"a\ud800b""#, "a\u{fffd}b"),
    ] {
        assert_eq!(parse(&with(members)).service, service, "{members}");
    }
}

#[test]
fn a_long_service_is_cut_between_characters() {
    let long = format!("x{}", "é".repeat(200));
    let event = with(&format!(r#""service_name":"{long}""#));
    let service = parse(&event).service.into_owned();
    assert_eq!((service.len(), long.starts_with(&service)), (255, true));
    let escaped = with(&format!(r#""service_name":"\u0078{}""#, "é".repeat(200)));
    assert_eq!(parse(&escaped).service, service);
    let fits = with(&format!(r#""service_name":"{}""#, "y".repeat(256)));
    assert_eq!(parse(&fits).service.len(), 256);
}

#[test]
fn of_a_duplicate_key_the_last_one_wins_at_every_level() {
    for (members, service) in [
        (r#""service_name":"a","service_name":"b""#, "b"),
        (r#""service_name":7,"service_name":"b""#, "b"),
        (r#""service_name":"a","service_n\u0061me":null"#, "unknown"),
        (r#""payload":{"service_name":"a","service_name":"b"}"#, "b"),
        (r#""payload":{"service_name":"a"},"payload":{}"#, "unknown"),
        (r#""payload":{"service_name":"a"},"payload":1"#, "unknown"),
        (r#""payload":1,"payload":{"service_name":"b"}"#, "b"),
    ] {
        assert_eq!(parse(&with(members)).service, service, "{members}");
    }
    assert_eq!(reason(br#"{"event_type":"a","event_type":null}"#), Reason::MissingEventType);
}

#[test]
fn an_address_that_is_none_counts_as_absent_and_the_next_path_is_tried() {
    for (members, ip) in [
        (r#""ip":"1.2.3.4""#, Some("1.2.3.4")),
        (r#""ip":"2001:DB8::1""#, Some("2001:db8::1")),
        (r#""ip":"\u0031.2.3.4""#, Some("1.2.3.4")),
        (r#""ip":"fe80::1%eth0","payload":{"ip":"1.2.3.4"}"#, Some("1.2.3.4")),
        (r#""ip":16909060,"payload":{"ip":"1.2.3.4"}"#, Some("1.2.3.4")),
        (r#""ip":["5.6.7.8"],"payload":{"ip":"1.2.3.4"}"#, Some("1.2.3.4")),
        (r#""ip":" 1.2.3.4","payload":{"ip":"1.2.3.04"}"#, None),
        (r#""ip":"","payload":{"ip":null}"#, None),
        (r#""ip":"1.2.3.4:80""#, None),
    ] {
        assert_eq!(parse(&with(members)).ip, ip.map(|ip| ip.parse().unwrap()), "{members}");
    }
}

#[test]
fn a_user_agent_or_user_id_of_another_type_counts_as_absent() {
    for (members, user_agent, user_id) in [
        (r#""user_agent":"a","user_id":"u""#, Some("a"), Some("u")),
        (r#""user_agent":1,"payload":{"user_agent":"b","user_id":"v"}"#, Some("b"), None),
        (r#""user_agent":null,"user_id":42"#, None, None),
        (r#""user_agent":{"a":1},"user_id":"","user_id":"\n""#, None, Some("\n")),
    ] {
        let event = with(members);
        let event = parse(&event);
        assert_eq!(
            (event.user_agent.as_deref(), event.user_id.as_deref()),
            (user_agent, user_id),
            "{members}"
        );
    }
}

#[test]
fn a_timestamp_is_a_json_integer_from_the_epoch_to_the_year_9999() {
    for (raw, expected) in [
        ("0", Ok(Some(0))),
        ("-0", Ok(Some(0))),
        ("null", Ok(None)),
        ("253402300799999", Ok(Some(253_402_300_799_999))),
        ("253402300800000", Err("milliseconds since 1970, at most the year 9999, found 253402300800000")),
        ("99999999999999999999", Err("at most the year 9999")),
        ("-1", Err("expected a time after 1970, found -1")),
        ("1.0", Err("expected an integer")),
        ("1e12", Err("expected an integer")),
        ("\"1760000041200\"", Err("expected an integer, milliseconds since 1970, found \"1760000041200\"")),
        ("true", Err("expected an integer")),
        ("{\"$date\":1}", Err("found an object")),
        ("[1]", Err("found an array")),
    ] {
        let value = with(&format!("\"timestamp\":{raw}"));
        match (parser().parse(value.as_bytes()), expected) {
            (Ok(event), Ok(ms)) => assert_eq!(event.timestamp, ms.map(TimestampMs), "{raw}"),
            (Err(rejection), Err(detail)) => {
                assert_eq!(rejection.reason, Reason::InvalidField, "{raw}");
                assert!(rejection.detail.starts_with("timestamp: "), "{rejection:?}");
                assert!(rejection.detail.contains(detail), "{rejection:?}");
            }
            (got, _) => panic!("{raw}: {got:?}"),
        }
    }
}

#[test]
fn what_cannot_be_processed_is_refused_with_its_reason() {
    for (value, reason_expected) in [
        (&b"\xff"[..], Reason::InvalidUtf8),
        (b"{\"event_type\":\"\xc3\x28\"}", Reason::InvalidUtf8),
        (b"{\"event_type\":\"\xed\xa0\x80\"}", Reason::InvalidUtf8),
        (b"", Reason::InvalidJson),
        (b" ", Reason::InvalidJson),
        (b"\xef\xbb\xbf{\"event_type\":\"a\"}", Reason::InvalidJson),
        (b"\x0c{\"event_type\":\"a\"}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\"}\x0c", Reason::InvalidJson),
        (b"{\"event_type\":\"a\"} x", Reason::InvalidJson),
        (b"{\"event_type\":\"a\"}{}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\"", Reason::InvalidJson),
        (b"{\"event_type\":\"a\x01\"}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"k\x01\":1}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"\\x\":1}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"x\":tru}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"x\":01}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"payload\"::{}}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"payload\" {}}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"payload\":{\"ip\":}}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"geo\":}", Reason::InvalidJson),
        (b"{\"event_type\":\"a\",\"payload\":", Reason::InvalidJson),
        (b"{1:2}", Reason::InvalidJson),
        (b"[1,2", Reason::InvalidJson),
        (b"nul", Reason::InvalidJson),
        (b"NaN", Reason::InvalidJson),
        (b"[{\"event_type\":\"a\"}]", Reason::NotAnObject),
        (b" null ", Reason::NotAnObject),
        (b"\"text\\ud800\"", Reason::NotAnObject),
        (b"1e999", Reason::NotAnObject),
        (b"{}", Reason::MissingEventType),
        (b"{\"event_type\":null}", Reason::MissingEventType),
        (b"{\"payload\":{\"event_type\":\"a\"}}", Reason::MissingEventType),
        (b"{\"event_type\":7}", Reason::InvalidField),
        (b"{\"event_type\":{\"a\":1}}", Reason::InvalidField),
        (b"{\"event_type\":\"a\",\"service_name\":false}", Reason::InvalidField),
        (b"{\"event_type\":\"a\",\"payload\":{\"service_name\":[]}}", Reason::InvalidField),
    ] {
        assert_eq!(reason(value), reason_expected, "{}", value.escape_ascii());
    }
}

#[test]
fn checks_run_from_the_size_to_the_service() {
    // Each value breaks its own rule and all that are checked after it.
    let too_large = [&b"\xff"[..], &vec![b' '; MAX_EVENT_BYTES]].concat();
    assert_eq!(reason(&too_large), Reason::TooLarge);
    assert_eq!(reason(b"[\xff"), Reason::InvalidUtf8);
    assert_eq!(reason(b"[1"), Reason::InvalidJson);
    assert_eq!(reason(b"[1]"), Reason::NotAnObject);
    assert_eq!(reason(br#"{"timestamp":-1,"service_name":1} x"#), Reason::InvalidJson);
    assert_eq!(reason(br#"{"timestamp":-1,"service_name":1}"#), Reason::MissingEventType);
    let both = parser().parse(br#"{"event_type":"a","service_name":1,"timestamp":-1}"#).unwrap_err();
    assert!(both.detail.starts_with("timestamp"), "{both:?}");
}

#[test]
fn an_event_may_have_one_mebibyte_and_no_byte_more() {
    let padded = |len: usize| {
        let empty = with(r#""x":"""#).len();
        with(&format!(r#""x":"{}""#, "y".repeat(len - empty)))
    };
    assert!(parser().parse(padded(MAX_EVENT_BYTES).as_bytes()).is_ok());
    assert_eq!(reason(padded(MAX_EVENT_BYTES + 1).as_bytes()), Reason::TooLarge);
}

#[test]
fn details_say_what_and_where_and_are_never_long() {
    let detail = |value: &[u8]| parser().parse(value).unwrap_err().detail;
    assert_eq!(detail(b"{\"a\":\xff}"), "not UTF-8 from byte 5 on");
    assert_eq!(detail(b"{}"), "no event type at `event_type`");
    assert_eq!(
        detail(br#"{"event_type":"a","payload":{"service_name":7}}"#),
        "payload.service_name: expected a string, found 7"
    );
    assert_eq!(detail(b"{\"a\":1,}"), "at byte 7: expected a key, found '}'");
    assert_eq!(
        detail(b"{\"a\":\"\n\"}"),
        "at byte 6: expected no bare control character in a string, found '\\n'"
    );
    assert_eq!(detail("{\"a\":1é".as_bytes()), "at byte 6: expected `,` or `}`, found 'é'");
    assert_eq!(detail(b"[\"text"), "at byte 6: expected the end of the string, found the end");
    let long = FieldPaths { event_type: vec![vec!["é".repeat(700)]], ..FieldPaths::default() };
    let detail = EventParser::new(&long).parse(b"{}").unwrap_err().detail;
    assert!(detail.len() <= MAX_DETAIL_BYTES && detail.len() > MAX_DETAIL_BYTES - 4);
}

#[test]
fn unknown_fields_of_any_kind_pass_through_unchanged() {
    for members in [
        r#""x":"\ud800","\udfff":"\ud83d\ude00\u0000""#,
        r#""x":123456789012345678901234567890.5e+99999,"y":-0.0,"z":1E400"#,
        r#""payload":{"x":1e999,"\ud800":[1,{"y":null}]}"#,
        r#""payload":1e999,"payload":"\ud800""#,
        r#""x" : [ ] , "y":{ } ,"x":{"geo":1}"#,
        r#""payload":{"geo":{"country":"XX"}}"#,
    ] {
        let value = with(members);
        let expected = format!(r#"{},"geo":null}}"#, value.strip_suffix('}').unwrap());
        assert_eq!(spliced(&value, "null"), expected);
    }
    for (open, close, depth) in [("[", "]", 100_000), (r#"{"a":"#, "}", 80_000), (r#"[{"a":"#, "}]", 50_000)]
    {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let value = with(&format!(r#""x":{deep},"payload":{{"y":{deep}}},"service_name":"s""#));
        assert_eq!(parse(&value).service, "s");
    }
}

#[test]
fn every_bracket_is_closed_by_its_own_kind_at_any_depth() {
    for depth in [1, 2, 63, 64, 65, 66, 127, 128, 129, 200] {
        let is_object = |level: usize| level.is_multiple_of(3) || level.is_multiple_of(7);
        let open: String = (0..depth).map(|level| if is_object(level) { r#"{"a":"# } else { "[" }).collect();
        let close = (0..depth).rev().map(|level| if is_object(level) { b'}' } else { b']' });
        let value = [with(r#""x":"#).trim_end_matches('}').as_bytes(), open.as_bytes(), b"0"].concat();
        let inner_end = value.len();
        let value: Vec<u8> = value.into_iter().chain(close).chain(*b"}").collect();
        assert!(parser().parse(&value).is_ok(), "{depth}");
        for at in inner_end..value.len() {
            let mut wrong = value.clone();
            wrong[at] = if wrong[at] == b'}' { b']' } else { b'}' };
            assert_eq!(reason(&wrong), Reason::InvalidJson, "{depth} {at}");
        }
    }
}

#[test]
fn geo_is_appended_as_the_last_key() {
    for (value, expected) in [
        (r#"{"event_type":"a"}"#, r#"{"event_type":"a","geo":{"country":"GB"}}"#),
        (
            "\n{ \"event_type\":\"a\"\n}\r\n\t ",
            "\n{ \"event_type\":\"a\"\n,\"geo\":{\"country\":\"GB\"}}\r\n\t ",
        ),
        (r#"{"event_type":"a","Geo":1}"#, r#"{"event_type":"a","Geo":1,"geo":{"country":"GB"}}"#),
    ] {
        assert_eq!(spliced(value, r#"{"country":"GB"}"#), expected);
    }
}

#[test]
fn geo_of_the_input_is_replaced_in_place_however_it_is_spelled() {
    for (value, expected) in [
        (r#"{"geo":1,"event_type":"a"}"#, r#"{"geo":null,"event_type":"a"}"#),
        (r#"{"event_type":"a","geo" : {"geo":[1,"}"]} }"#, r#"{"event_type":"a","geo" : null }"#),
        (r#"{"event_type":"a","\u0067e\u006F":"x"}"#, r#"{"event_type":"a","\u0067e\u006F":null}"#),
        (
            r#"{"geo":"\ud800","event_type":"a","geo":1e999,"g\u0065o":null}"#,
            r#"{"geo":null,"event_type":"a","geo":null,"g\u0065o":null}"#,
        ),
    ] {
        assert_eq!(spliced(value, "null"), expected);
    }
}

fn path(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

#[test]
fn paths_may_share_keys_and_run_through_geo() {
    let paths = FieldPaths {
        event_type: vec![path("meta.type"), path("type")],
        service: vec![path("meta"), path("meta.service.name"), path("user_id")],
        ip: vec![path("geo.client.ip"), path("geo")],
        user_agent: (0..20).map(|i| path(&format!("headers.ua{i}"))).collect(),
        ..FieldPaths::default()
    };
    let parser = EventParser::new(&paths);
    let parse = |value: &'static str| parser.parse(value.as_bytes());

    let value = r#"{"type":"t","user_id":"u","geo":{"client":{"ip":"1.2.3.4"}},"headers":{"ua19":"x"}}"#;
    let event = parse(value).unwrap();
    assert_eq!((&*event.event_type, &*event.service), ("t", "u"));
    assert_eq!((event.ip, event.user_agent.as_deref()), (Some("1.2.3.4".parse().unwrap()), Some("x")));
    let mut out = Vec::new();
    splice_geo(value.as_bytes(), &event.geo, b"null", &mut out);
    assert_eq!(out, value.replace(r#"{"client":{"ip":"1.2.3.4"}}"#, "null").into_bytes());

    // The last `geo` counts, and what it does not have is not taken from an earlier one.
    let event = parse(r#"{"type":"t","geo":{"client":{"ip":"1.2.3.4"}},"geo":"5.6.7.8"}"#).unwrap();
    assert_eq!(event.ip, Some("5.6.7.8".parse().unwrap()));

    // Where an object is searched further it is still present as what it is: of the wrong type.
    let rejection = parse(r#"{"meta":{"type":"t","service":{"name":"s"}}}"#).unwrap_err();
    assert_eq!(
        (rejection.reason, &*rejection.detail),
        (Reason::InvalidField, "meta: expected a string, found an object")
    );
}

#[test]
fn a_configured_key_with_special_characters_is_compared_by_its_meaning() {
    let paths = FieldPaths { event_type: vec![vec!["a\\n\"é".into()]], ..FieldPaths::default() };
    let parser = EventParser::new(&paths);
    assert_eq!(parser.parse(r#"{"a\\n\"\u00e9":"t"}"#.as_bytes()).unwrap().event_type, "t");
    assert!(parser.parse(r#"{"a\n\"é":"t"}"#.as_bytes()).is_err());
}

#[test]
fn values_at_extra_paths_come_in_the_order_of_the_paths_as_they_stand_in_an_event_of_any_size() {
    let path = |dotted: &str| dotted.split('.').map(str::to_owned).collect();
    let extra = ["geo.lat", "geo", "payload.n", "event_type", "payload.absent"].map(path);
    let parser = EventParser::with_extra(&FieldPaths::default(), &extra);
    let long = "x".repeat(MAX_EVENT_BYTES);
    let value = with(&format!(r#""payload":{{"n":1.50,"long":"{long}"}},"geo":{{"lat": -1}}"#));
    let mut values = Vec::new();
    assert_eq!(parser.parse_with(value.as_bytes(), &mut values).unwrap().event_type, "click");
    let texts: Vec<&str> = values.iter().map(|value| value.json()).collect();
    assert_eq!(texts, ["-1", r#"{"lat": -1}"#, "1.50", r#""click""#, ""]);
    assert_eq!((values[3].string().as_deref(), values[4].is_present()), (Some("click"), false));
}
