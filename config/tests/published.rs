//! The default file, the schema and the reference say what the program does.
#![allow(clippy::unwrap_used)]

use serde_json::{Value as Json, json};
use tidegate_config::{Source, default_toml, json_schema, load, reference_markdown, resolve};

fn resolved(text: &str) -> tidegate_config::Resolved {
    resolve(&Source::new("t.toml", text, Vec::new()), &|_| None).unwrap()
}

#[test]
fn the_default_file_says_what_holds_without_it() {
    let written = resolved(&default_toml());
    let built_in = resolved("kafka.bootstrap_servers = '127.0.0.1:9092'");
    assert_eq!(written.to_json(), built_in.to_json());
    assert_eq!(format!("{:?}", written.into_settings()), format!("{:?}", built_in.into_settings()));
}

#[test]
fn the_default_rule_and_fields_are_those_of_the_core() {
    let settings = resolved("kafka.bootstrap_servers = 'k'").into_settings();
    assert_eq!(settings.rules, [tidegate_core::rules::Rule::default()]);
    assert_eq!(settings.event, tidegate_core::event::FieldPaths::default());
}

#[test]
fn the_schema_names_every_key_with_its_default() {
    let schema = json_schema();
    let mut keys = 0;
    compare(&schema, &resolved(&default_toml()).to_json(), "", &mut keys);
    assert!(keys > 50, "{keys} keys");
    assert!(schema.pointer("/properties/rules/items/properties/slide").is_some());
}

#[test]
fn the_schema_gives_a_sink_the_keys_of_its_type_alone() {
    let schema = json_schema();
    let sinks = &schema["properties"]["sinks"];
    assert_eq!((&sinks["maxItems"], &schema["properties"]["rules"]["maxItems"]), (&50.into(), &100.into()));
    let types = sinks["items"]["anyOf"].as_array().unwrap();
    let told = |of: &Json| {
        let has = |key| of["properties"].get(key).is_some();
        let keys = [has("linger"), has("columns"), has("index"), has("headers")];
        (of["properties"]["type"]["anyOf"][0]["const"].clone(), of["required"].clone(), keys)
    };
    let expected = [
        (json!("postgres"), json!(["name", "type"]), [true, true, false, false]),
        (json!("elasticsearch"), json!(["name", "type", "url"]), [true, false, true, false]),
        (json!("webhook"), json!(["name", "type"]), [true, false, false, true]),
    ];
    assert_eq!(types.iter().map(told).collect::<Vec<_>>(), expected);
}

/// Goes down the resolved configuration and the schema side by side.
fn compare(schema: &Json, value: &Json, path: &str, keys: &mut usize) {
    if path == ".kafka.properties" {
        return;
    }
    match value {
        Json::Object(object) => {
            for (name, inner) in object {
                compare(&schema["properties"][name], inner, &format!("{path}.{name}"), keys);
            }
        }
        Json::Array(elements) if path == ".rules" => compare(&schema["items"], &elements[0], path, keys),
        value => {
            *keys += 1;
            assert!(schema["description"].is_string(), "{path}");
            let expected =
                if path == ".kafka.bootstrap_servers" { &schema["examples"][0] } else { &schema["default"] };
            assert_eq!(expected, value, "{path}");
        }
    }
}

#[test]
fn every_example_of_a_sink_is_right() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sinks");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut examples = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let source = Source::read(&path, Vec::new()).map_err(|problems| problems.to_string()).unwrap();
        let variable = |name: &str| match name {
            "KAFKA" => None,
            "SLACK_WEBHOOK_URL" => Some("https://chat.example.com/hook".to_owned()),
            _ => Some("secret".to_owned()),
        };
        let settings = load(&source, &variable).map_err(|problems| problems.to_string()).unwrap();
        assert_eq!(settings.sinks.len(), 1, "{}", path.display());
        examples += 1;
    }
    assert!(examples >= 5, "{examples} examples");
}

#[test]
fn the_reference_in_the_repository_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == reference_markdown(), "docs/configuration.md is not current: run `cargo xtask docs`");
}
