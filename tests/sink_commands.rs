//! `tidegate sinks plan|apply`, and what `check` and `validate` say of sinks.

use serde_json::{Value, json};

use crate::support::{
    opensearch::OpenSearch,
    postgres::Database,
    receiver::{Answer, Receiver},
    site::{Output, Site, free_address},
};

fn with_sinks(site: Site, sinks: &[&str]) -> Site {
    let sinks: Vec<String> = sinks.iter().map(|sink| format!("{{{sink}}}")).collect();
    let site = site.set("sinks", &format!("[{}]", sinks.join(", ")));
    site.write_config();
    site
}

fn warehouse(url: &str) -> String {
    format!(r#"name = "warehouse", type = "postgres", url = "{url}""#)
}

/// Runs a command that must end so; returns all that it said.
fn says(site: &Site, code: i32, args: &[&str]) -> String {
    let Output { code: found, stdout, stderr } = site.command(args);
    assert_eq!(found, Some(code), "{args:?}: {stdout}{stderr}");
    stdout + &stderr
}

fn assert_has(text: &str, words: &[&str]) {
    words.iter().for_each(|words| assert!(text.contains(words), "{words} is missing in {text}"));
}

fn tables(database: &Database) -> Vec<Value> {
    database.rows("select tablename as name from pg_tables where schemaname = 'public' order by 1")
}

#[test]
fn plan_shows_what_is_missing_and_changes_nothing_and_apply_creates_it() {
    let database = Database::create();
    let site = with_sinks(Site::embedded("sinks-apply", 2), &[&warehouse(&database.url)]);
    let plan = says(&site, 0, &["sinks", "plan"]);
    assert_has(
        &plan,
        &["warehouse: table \"processed_events\" is missing; `sinks apply` creates it", "create table"],
    );
    assert_eq!(tables(&database), [""; 0]);
    let planned: Value = serde_json::from_str(&says(&site, 0, &["sinks", "plan", "--json"])).unwrap();
    let first = &planned[0]["notes"][0];
    assert_eq!((&planned[0]["sink"], &first["level"]), (&json!("warehouse"), &json!("missing")));
    assert!(first["sql"].as_str().is_some_and(|sql| sql.contains("create table")), "{planned:#}");

    let applied = says(&site, 0, &["sinks", "apply"]);
    assert_has(&applied, &["warehouse: done: table \"processed_events\" created"]);
    assert_eq!(
        tables(&database),
        [json!({"name": "processed_events"}), json!({"name": "tidegate_sink_offsets"})]
    );
    for command in ["apply", "plan"] {
        let said = says(&site, 0, &["sinks", command]);
        assert_eq!(said, "warehouse: ok: tables and columns are as they should be\n");
    }
}

#[test]
fn a_table_that_is_there_is_altered_only_if_that_is_asked_for() {
    let database = Database::create();
    let site = with_sinks(Site::embedded("sinks-alter", 2), &[&warehouse(&database.url)]);
    says(&site, 0, &["sinks", "apply"]);
    let columns = format!("{}, columns = {{region = \"payload.region\"}}", warehouse(&database.url));
    let site = with_sinks(site, &[&columns]);
    let has_column = || {
        let query = "select from information_schema.columns where column_name = 'region'";
        !database.rows(query).is_empty()
    };
    for (code, command) in [(0, "plan"), (1, "apply")] {
        let said = says(&site, code, &["sinks", command]);
        assert_has(
            &said,
            &["column region of \"processed_events\" is missing", "`sinks apply --alter`", "alter table"],
        );
    }
    assert!(!has_column());
    assert_has(&says(&site, 0, &["sinks", "apply", "--alter"]), &["done: column region"]);
    assert!(has_column());
    assert_has(&says(&site, 0, &["sinks", "apply"]), &["warehouse: ok"]);
}

#[test]
fn an_index_template_is_created_once_and_a_webhook_needs_nothing() {
    let server = OpenSearch::from_env();
    let site = Site::embedded("sinks-template", 2);
    let name = format!("t{}", site.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let search =
        format!(r#"name = "{name}", type = "elasticsearch", url = "{}", index = "{name}""#, server.url);
    let hook = r#"name = "hook", type = "webhook", url = "http://localhost:1""#;
    let site = with_sinks(site, &[&search, hook]);
    let template = format!("/_index_template/tidegate-{name}");
    let has_template = || {
        let all = server.call("GET", "/_index_template", None);
        all["index_templates"].as_array().unwrap().iter().any(|found| found["name"] == template[17..])
    };
    assert_has(&says(&site, 0, &["sinks", "plan"]), &["is missing", "hook: ok"]);
    assert!(!has_template());
    let applied = says(&site, 0, &["sinks", "apply", "--sink", &name]);
    assert!(applied.contains("done: ") && !applied.contains("hook"), "{applied}");
    assert!(has_template());
    assert_has(&says(&site, 0, &["sinks", "apply"]), &[&format!("{name}: ok"), "hook: ok"]);
    server.call("DELETE", &template, None);
}

#[test]
fn a_destination_that_is_away_does_not_keep_the_others_from_being_looked_at() {
    let database = Database::create();
    let away =
        format!(r#"name = "away", type = "postgres", url = "postgres://u:sesame@{}/none""#, free_address());
    let site = with_sinks(Site::embedded("sinks-away", 2), &[&away, &warehouse(&database.url)]).create();
    for command in ["plan", "apply"] {
        let said = says(&site, 69, &["sinks", command]);
        assert_has(&said, &["away: ", "warehouse: "]);
        assert!(!said.contains("sesame"), "{said}");
    }
    let said = says(&site, 69, &["check"]);
    assert_has(&said, &["sink away", "sink warehouse"]);
    assert!(!said.contains("sesame"), "{said}");
    let found = site.command(&["sinks", "plan", "--json"]);
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert!(found[0]["error"].is_string() && found[1]["notes"].is_array(), "{found:#}");

    says(&site, 0, &["sinks", "plan", "--sink", "warehouse"]);
    let unknown = says(&site, 64, &["sinks", "plan", "--sink", "nobody"]);
    assert_has(&unknown, &["there is no sink \"nobody\"", "away, warehouse"]);
}

#[test]
fn check_says_whether_each_sink_can_deliver_and_sends_nothing() {
    let database = Database::create();
    let receiver = Receiver::start(|_, _| Answer::status(200));
    let hook = format!(r#"name = "hook", type = "webhook", url = "{}""#, receiver.url);
    let site = with_sinks(Site::embedded("sinks-check", 2), &[&warehouse(&database.url), &hook]).create();
    let said = says(&site, 1, &["check"]);
    assert_has(
        &said,
        &["sink warehouse", "table \"processed_events\" is missing", "create it with `tidegate sinks apply`"],
    );
    says(&site, 0, &["sinks", "apply"]);
    let said = says(&site, 0, &["check"]);
    assert_has(&said, &["sink hook", "tables and columns are as they should be"]);
    assert!(receiver.requests().is_empty());
    assert_eq!(database.rows("select from processed_events").len(), 0);
}

#[test]
fn validate_finds_a_wrong_url_in_its_line_and_does_not_show_it() {
    let site = Site::embedded("sinks-validate", 2);
    site.write_config();
    let config = std::fs::read_to_string(site.config_path()).unwrap();
    let line = config.lines().count() as u64;
    for (kind, url) in [
        ("postgres", "postgres://user:sesame@host:port/db"),
        ("elasticsearch", "user:sesame@host"),
        ("webhook", "ftp://user:sesame@host"),
        ("webhook", "https://user:sesame@ho st/"),
    ] {
        let sink = format!("\n[[sinks]]\nname = \"a\"\ntype = \"{kind}\"\nurl = \"{url}\"\n");
        std::fs::write(site.config_path(), format!("{config}{sink}")).unwrap();
        let found = site.command(&["validate", "--json"]);
        assert_eq!(found.code, Some(78), "{url}: {found:?}");
        let found: Value = serde_json::from_str(&found.stdout).unwrap();
        let [problem] = &found["problems"].as_array().unwrap()[..] else { panic!("not one: {found:#}") };
        assert_eq!((&problem["line"], &problem["column"]), (&json!(line + 5), &json!(7)), "{found:#}");
        let said = says(&site, 78, &["validate"]);
        assert_has(&said, &[&format!("tidegate.toml:{}:7", line + 5)]);
        assert!(!said.contains("sesame") && !found.to_string().contains("sesame"), "{said}\n{found:#}");
    }
}
