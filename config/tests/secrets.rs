//! Secrets are never seen, whatever is printed and whatever is wrong.
#![allow(clippy::unwrap_used)]

use tidegate_config::{Problems, Source, resolve};

const CANARY: &str = "hunter2";

fn env(name: &str) -> Option<String> {
    (name == "CANARY").then(|| CANARY.to_owned())
}

fn assert_hidden(shown: &str, case: &str) {
    assert!(!shown.contains(CANARY), "{case}\n----\n{shown}");
}

#[test]
fn what_is_shown_of_a_good_configuration_hides_passwords_and_variables() {
    let text = "kafka.bootstrap_servers = 'k'\n[kafka.properties]\nsasl.password = 'hunter2'\n\
                \"client.id\" = '${CANARY}'\nssl.key.pem = '''\nhunter2'''\nssl.ca.location = '/ca.pem'\n";
    let source = Source::new("t.toml", text, vec!["kafka.properties.ssl.key.password=hunter2".into()]);
    let resolved = resolve(&source, &env).unwrap();
    assert_hidden(&resolved.to_toml(), "toml");
    assert_hidden(&resolved.to_json().to_string(), "json");
    assert_hidden(&format!("{resolved:?}"), "debug");
    assert!(resolved.to_toml().contains("\"ssl.ca.location\" = \"/ca.pem\""), "what is no secret is shown");
    let settings = resolved.into_settings();
    assert_hidden(&format!("{settings:#?}"), "settings");
    for name in ["sasl.password", "client.id", "ssl.key.pem", "ssl.key.password"] {
        assert_eq!(settings.kafka.properties[name].expose(), CANARY, "the client gets the value");
    }
}

/// A sink of each type with all its secrets; each key stands in a line of its own.
const SINKS: &str = "kafka.bootstrap_servers = 'k'\n[[sinks]]\nname = 'a'\ntype = 'postgres'\n\
     url = 'postgres://u:hunter2@h'\npassword = 'hunter2'\n[[sinks]]\nname = 'b'\ntype = 'elasticsearch'\n\
     url = 'http://h'\napi_key = 'hunter2'\n[[sinks]]\nname = 'c'\ntype = 'elasticsearch'\nurl = 'http://h'\n\
     username = 'u'\npassword = 'hunter2'\n[[sinks]]\nname = 'd'\ntype = 'webhook'\nurl = 'https://h/hunter2'\n\
     headers = { x-key = 'hunter2' }\nsecret = 'hunter2'\n[[sinks]]\nname = 'e'\ntype = 'webhook'\n\
     url = 'https://h?hunter2'\n[sinks.headers]\nx-key = 'hunter2'\n";

#[test]
fn what_is_shown_of_sinks_hides_their_secrets() {
    let resolved = resolve(&Source::new("t.toml", SINKS, Vec::new()), &env).unwrap();
    assert_hidden(&resolved.to_toml(), "toml");
    assert_hidden(&resolved.to_json().to_string(), "json");
    assert_hidden(&format!("{resolved:?}"), "debug");
    let shown = resolved.to_toml();
    assert!(
        shown.contains("url = \"http://h\"") && shown.contains("headers = { \"x-key\" = \"***\" }"),
        "{shown}"
    );
    assert_hidden(&format!("{:#?}", resolved.into_settings()), "settings");
}

#[test]
fn problems_hide_secrets_on_the_lines_they_show() {
    let files = [
        "kafka.properties = { 'sasl.password' = 'hunter2', 'group.id' = 'x' }",
        "[kafka.properties]\nsasl.password = ['hunter2']",
        "[kafka.properties]\nsasl.password = \"hunter2\\u0000\"",
        "[kafka.properties]\nsasl.password = 'hunter2${}'",
        "[kafka.properties]\nsasl.password = '${NONE}hunter2'",
        "[kafka]\nsasl_password = 'hunter2'",
        "kafka = { password = 'hunter2', start = 1 }",
        "[kafka]\ntokens = [1, 'hunter2', 3]\nstart = 5",
        "log = '${CANARY}'",
        "http.listen = '${CANARY}'",
        "pools.filter = '${CANARY}'",
        "filter.patterns = ['(${CANARY}']",
        "rules = [{ message = '{${CANARY}}', slide = '${CANARY}' }]",
        "kafka.bootstrap_servers = '${CANARY} x'",
        "event.ip = '${CANARY}..'",
        "[kafka.properties]\n'group.id' = '${CANARY}'",
        "sinks = [{ name = 'A', url = 'hunter2', headers = { x = 'hunter2' }, api_key = 'hunter2' }]",
        "[[sinks]]\nurl = 'https://u:hunter2@h'\ntype = 'elasticsearch'",
        "[[sinks]]\nurl = 'x hunter2'\ntype = 'webhook'",
        "[[sinks]]\nhost = 'postgres://u:hunter2@h'\ntype = 'postgres'",
        "[[sinks]]\nheaders = { x = \"hunter2\\n\" }\ntype = 'webhook'",
        "[[sinks]]\nurl = '${CANARY}'\ntype = 'webhook'",
        "[[sinks]]\nurl = '${CANARY}'\ntype = 'elasticsearch'",
        "[[sinks]]\nindex = '${CANARY}{x}'\ntype = 'elasticsearch'",
        // Mistyped, out of place, or of another shape.
        "[[sinks]]\ntype = 'webhook'\nulr = 'hunter2'",
        "[[sinks]]\ntype = 'postgres'\npasswrd = 'hunter2'\npwd = ['hunter2']",
        "[[sinks]]\ntype = 'postgres'\nheaders = { x = 'hunter2' }",
        "sinks = { name = 'a', passwrd = 'hunter2' }",
        "sinks = ['hunter2']",
        "sinks = 'hunter2'",
        "sink = [{ name = 'a', passwrd = 'hunter2' }]",
        // Not TOML.
        "[[sinks]]\nulr = 'hunter2",
        "sinks = [\n{ x = 'hunter2' y",
        "[[sinks]\nulr = hunter2",
        "[kafka.properties]\nsasl.password = \"hunter2",
        "[kafka.properties]\nsasl.password = hunter2",
        "[kafka.properties]\nanything = hunter2",
        "[kafka.properties]\nssl.key.pem = '''\nhunter2\n",
        "[kafka.properties]\nssl.key.pem = \"\"\"\nhunter2 \\q\n\"\"\"",
        "[kafka]\nproperties.\"ssl.key.pem\" = \"\"\"\nhunter2 \\q\n\"\"\"",
        "kafka.properties = { x = hunter2 }",
        "[kafka.properties]\nsasl.password\n = hunter2",
        "[kafka.properties]\nx = [\n[ 'hunter2' ]",
    ];
    for text in files {
        let problems = resolve(&Source::new("t.toml", text, Vec::new()), &env).unwrap_err();
        assert_hidden(&printed(&problems), text);
    }
    for set in [
        "kafka.properties.x=['hunter2']",
        "kafka.sasl.password=hunter2",
        "kafka.properties={ x.password = 'hunter2', group.id = 1 }",
        "sinks=[{ ulr = 'hunter2' }]",
        "sinks=hunter2",
        "'sinks'.url=hunter2",
    ] {
        let source = Source::new("t.toml", "kafka.bootstrap_servers = 'k'", vec![set.into()]);
        assert_hidden(&printed(&resolve(&source, &env).unwrap_err()), set);
    }
}

#[test]
fn a_damaged_file_hides_its_secrets_wherever_the_damage_is() {
    let text = "[kafka]\nbootstrap_servers = 'k'\n[kafka.properties]\n'sasl.password' = 'hunter2'\n\
                ssl.key.pem = \"\"\"\nhunter2\n\"\"\"\n[pools]\nfilter = 3\n";
    for text in [text, SINKS] {
        damage(text);
    }
}

fn damage(text: &str) {
    for at in 0..text.len() {
        for put in ["", "\"", "'", "[", "]", "{", "=", "#", "\n", "x", "\\"] {
            let damaged = format!("{}{put}{}", &text[..at], &text[at + usize::from(put.is_empty())..]);
            if let Err(problems) = resolve(&Source::new("t.toml", damaged.as_str(), Vec::new()), &env) {
                assert_hidden(&printed(&problems), &damaged.replace(CANARY, MARK));
            }
        }
    }
}

const MARK: &str = "(secret)";

fn printed(problems: &Problems) -> String {
    format!("{problems}\n{problems:?}\n{:?}", problems.iter().collect::<Vec<_>>())
}
