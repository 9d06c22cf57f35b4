//! What sinks become, and what a user is told about one that is wrong.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use tidegate_config::{
    Destination, Elasticsearch, Postgres, Problems, Resolved, Sink, Source, SslMode, Start, Webhook,
    WebhookFormat, default_toml, resolve,
};
use tidegate_core::{alert::AlertPhase, record::Topic};

/// Brokers, so that only what a case is about is wrong.
const KAFKA: &str = "kafka.bootstrap_servers = 'k:9092'\n";

fn try_resolve(text: &str, overrides: &[&str]) -> Result<Resolved, Problems> {
    let overrides = overrides.iter().map(|set| (*set).to_owned()).collect();
    let env = |name: &str| (name == "PASSWORD").then(|| "p/w@1".to_owned());
    resolve(&Source::new("t.toml", format!("{KAFKA}{text}"), overrides), &env)
}

fn resolved(text: &str) -> Resolved {
    match try_resolve(text, &[]) {
        Ok(resolved) => resolved,
        Err(problems) => panic!("{problems}"),
    }
}

fn the_sink(text: &str) -> Sink {
    let [sink] = resolved(text).into_settings().sinks.try_into().unwrap();
    sink
}

fn postgres(sink: &Sink) -> &Postgres {
    let Destination::Postgres(postgres) = &sink.destination else { panic!("{sink:?}") };
    postgres
}

fn elasticsearch(sink: &Sink) -> &Elasticsearch {
    let Destination::Elasticsearch(elasticsearch) = &sink.destination else { panic!("{sink:?}") };
    elasticsearch
}

fn webhook(sink: &Sink) -> &Webhook {
    let Destination::Webhook(webhook) = &sink.destination else { panic!("{sink:?}") };
    webhook
}

#[test]
fn a_postgres_sink_arrives_with_all_its_keys() {
    let sink = the_sink(
        r#"
        [[sinks]]
        name = "warehouse"
        type = "postgres"
        topic = "processed"
        start = "latest"
        linger = "1s"
        batch_records = 10
        batch_bytes = "1MiB"
        in_flight_bytes = "2MB"
        give_up_after = "1h"
        url = "postgresql://u:${PASSWORD}@h:1,h2/d"
        host = "/run/postgresql"
        port = 6432
        database = "d"
        user = "u"
        password_file = "/run/secrets/pg"
        ca = "ca.pem"
        sslmode = "verify-ca"
        table = "facts.events"
        [sinks.columns]
        region = "payload.region"
        "Größe" = "size"
        "#,
    );
    assert_eq!((sink.name.as_str(), sink.topic, sink.start), ("warehouse", Topic::Processed, Start::Latest));
    assert_eq!(
        (sink.limits.records, sink.limits.bytes, sink.limits.linger),
        (10, 1 << 20, Duration::from_secs(1))
    );
    assert_eq!((sink.in_flight_bytes, sink.give_up_after), (2_000_000, Some(Duration::from_secs(3600))));
    let postgres = postgres(&sink);
    assert_eq!(postgres.url.value.as_ref().unwrap().expose(), "postgresql://u:p/w@1@h:1,h2/d");
    assert_eq!((postgres.host.as_str(), postgres.port), ("/run/postgresql", 6432));
    assert_eq!((postgres.database.as_str(), postgres.user.as_str()), ("d", "u"));
    assert!(postgres.password.value.is_none());
    assert_eq!(postgres.password.file.as_deref(), Some(Path::new("/run/secrets/pg")));
    assert_eq!((postgres.ca.as_deref(), postgres.sslmode), (Some(Path::new("ca.pem")), SslMode::VerifyCa));
    assert_eq!(postgres.table, "facts.events");
    let path = |dotted: &str| dotted.split('.').map(str::to_owned).collect::<Vec<_>>();
    let columns = [("Größe".to_owned(), path("size")), ("region".to_owned(), path("payload.region"))];
    assert_eq!(postgres.columns, columns);
}

#[test]
fn an_elasticsearch_sink_arrives_with_all_its_keys() {
    let sink = the_sink(
        r#"
        [[sinks]]
        name = "search"
        type = "elasticsearch"
        topic = "dead_letters"
        url = "https://[::1]:9200/es/"
        index = "dead.{yyyy}-{MM}-{dd}"
        username = "u"
        password = "${PASSWORD}"
        compress = false
        timeout = "1s"
        ca = "ca.pem"
        "#,
    );
    assert_eq!(sink.topic, Topic::DeadLetters);
    let elasticsearch = elasticsearch(&sink);
    assert_eq!(elasticsearch.url, "https://[::1]:9200/es/");
    assert_eq!(elasticsearch.index, "dead.{yyyy}-{MM}-{dd}");
    assert_eq!(elasticsearch.username.as_deref(), Some("u"));
    assert_eq!(elasticsearch.password.value.as_ref().unwrap().expose(), "p/w@1");
    assert!(elasticsearch.api_key.value.is_none() && elasticsearch.api_key.file.is_none());
    assert_eq!((elasticsearch.compress, elasticsearch.timeout), (false, Duration::from_secs(1)));
    assert_eq!(elasticsearch.ca.as_deref(), Some(Path::new("ca.pem")));
}

#[test]
fn a_webhook_arrives_with_all_its_keys() {
    let sink = the_sink(
        r#"
        rules = [{ name = "logins" }, { name = "errors" }]
        [[sinks]]
        name = "pager"
        type = "webhook"
        url_file = "/run/secrets/hook"
        format = "slack"
        headers = { Authorization = "Bearer ${PASSWORD}", "X-Team" = "" }
        secret = "whsec_c2VjcmV0"
        timeout = "3s"
        concurrency = 64
        phases = ["closed"]
        rules = ["errors"]
        ca = "ca.pem"
        "#,
    );
    assert_eq!(sink.topic, Topic::Alerts);
    let webhook = webhook(&sink);
    assert_eq!(webhook.url.file.as_deref(), Some(Path::new("/run/secrets/hook")));
    assert_eq!(webhook.format, WebhookFormat::Slack);
    let headers: Vec<_> =
        webhook.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("Authorization", "Bearer p/w@1"), ("X-Team", "")]);
    assert_eq!(webhook.secret.value.as_ref().unwrap().expose(), "whsec_c2VjcmV0");
    assert_eq!((webhook.timeout, webhook.concurrency), (Duration::from_secs(3), 64));
    assert_eq!(
        (webhook.phases.as_slice(), webhook.rules.as_slice()),
        (&[AlertPhase::Closed][..], &["errors".to_owned()][..])
    );
    assert_eq!(webhook.ca.as_deref(), Some(Path::new("ca.pem")));
}

#[test]
fn without_a_sink_there_is_none_and_what_one_leaves_out_follows_from_its_type_and_topic() {
    assert!(resolved("").into_settings().sinks.is_empty());
    let sink = the_sink("[[sinks]]\nname = 'a'\ntype = 'postgres'\nhost = 'h'");
    assert_eq!((sink.topic, sink.start, sink.give_up_after), (Topic::Processed, Start::Earliest, None));
    assert_eq!(
        (sink.limits.records, sink.limits.bytes, sink.limits.linger.as_millis()),
        (2000, 4 << 20, 200)
    );
    assert_eq!(sink.in_flight_bytes, 16 << 20);
    assert_eq!((postgres(&sink).port, postgres(&sink).sslmode), (5432, SslMode::Prefer));
    assert_eq!(postgres(&sink).table, "processed_events");
    let sink = the_sink("[[sinks]]\nname='a'\ntype='postgres'\nhost='h'\ntopic='dead_letters'\nca='x'");
    assert_eq!(
        (postgres(&sink).table.as_str(), postgres(&sink).sslmode),
        ("dead_letters", SslMode::VerifyFull)
    );
    let sink = the_sink("[[sinks]]\nname='a'\ntype='elasticsearch'\nurl='http://h'\ntopic='alerts'");
    assert_eq!(elasticsearch(&sink).index, "tidegate-alerts-{yyyy}.{MM}");
    assert!(elasticsearch(&sink).compress);
    let sink = the_sink("[[sinks]]\nname='a'\ntype='webhook'\nurl='http://h/?x'");
    assert_eq!((sink.topic, webhook(&sink).format), (Topic::Alerts, WebhookFormat::Json));
    assert_eq!((webhook(&sink).phases.len(), webhook(&sink).rules.len()), (2, 0));
}

#[test]
fn sinks_on_the_command_line_go_before_those_of_the_file() {
    let text = "[[sinks]]\nname = 'file'\ntype = 'postgres'\nhost = 'h'";
    let set = "sinks=[{ name = 'set', type = 'elasticsearch', url = 'http://h:9200', batch_records = 7 }]";
    let sinks = try_resolve(text, &[set]).unwrap().into_settings().sinks;
    assert_eq!((sinks.len(), sinks[0].name.as_str(), sinks[0].limits.records), (1, "set", 7));
    assert!(try_resolve(text, &["sinks=[]"]).unwrap().into_settings().sinks.is_empty());
}

#[test]
fn a_sink_without_secrets_is_shown_as_it_resolves_again() {
    let text = "[[sinks]]\nname = 'a'\ntype = 'postgres'\nhost = 'h'\npassword_file = 'f'\n\
                columns = { \"a b\" = 'c.d' }\n[[sinks]]\nname = 'b'\ntype = 'elasticsearch'\nurl = 'http://h'\n\
                [[sinks]]\nname = 'c'\ntype = 'webhook'\nurl_file = 'f'\nphases = ['closed']\n";
    let first = resolved(text);
    assert!(first.to_toml().contains("\ncolumns = { \"a b\" = \"c.d\" }\n"), "{}", first.to_toml());
    assert!(
        !first.to_json()["sinks"][1].as_object().unwrap().contains_key("headers"),
        "a key of another type"
    );
    let again = resolve(&Source::new("t.toml", first.to_toml(), Vec::new()), &|_| None).unwrap();
    assert_eq!(first.to_json()["sinks"], again.to_json()["sinks"]);
    assert_eq!(format!("{:?}", first.into_settings().sinks), format!("{:?}", again.into_settings().sinks));
}

#[test]
fn the_example_of_the_default_file_is_a_sink_of_each_type() {
    let text = default_toml();
    let (_, example) = text.split_once("# [[sinks]]\n").unwrap();
    let keys = |part: &str| -> String {
        let is_key = |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let lines = part.lines().filter_map(|line| line.strip_prefix("# ")).filter(is_key);
        // What excludes another key.
        let lines = lines.filter(|line| !line.contains("_file =") && !line.starts_with("api_key"));
        lines.filter(|line| !line.starts_with("sslmode")).map(|line| format!("{line}\n")).collect()
    };
    let mut parts = example.split("# With `type = ");
    let common = keys(parts.next().unwrap());
    let mut types = 0;
    for part in parts {
        let (kind, part) = part.split_once("`:").unwrap();
        let topic = if kind == "\"webhook\"" { "alerts" } else { "processed" };
        let common = common.replace("\"postgres\"", kind).replace("\"processed\"", &format!("\"{topic}\""));
        let text = format!("[[sinks]]\n{common}{}", keys(part))
            .replace("${API_KEY}", "k")
            .replace("${WEBHOOK_SECRET}", "k");
        assert!(text.lines().count() > 15, "{text}");
        the_sink(&text);
        types += 1;
    }
    assert_eq!(types, 3);
}

/// Begins a sink of each type, in three lines, with all that it must have.
const POSTGRES: &str = "[[sinks]]\nname = 'a'\ntype = 'postgres'\n";
const ELASTICSEARCH: &str = "[[sinks]]\nname = 'a'\ntype = 'elasticsearch'\n";
const WEBHOOK: &str = "[[sinks]]\nname = 'a'\ntype = 'webhook'\n";
const SERVER: &str = "host = 'h'\n";
const URL: &str = "url = 'http://h'\n";

/// What is written below the brokers, which are line 1, and what is told.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["[[sinks]]\ntype = 'postgres'\nhost = 'h'"], "2:1 [[sinks]] | `sinks[0].name` is missing"),
    (&["[[sinks]]\nname = 'a'\nhost = 'h'"], "2:1 [[sinks]] | `sinks[0].type` is missing"),
    (
        &["[[sinks]]\nname = 'a'\ntype = 'postgre'\nurl = 5\nindex = 5"],
        "4:8 'postgre' | invalid value for `sinks[0].type`: not one of the words allowed",
    ),
    (
        &["[[sinks]]\nname = 'a_b'\ntype = 'postgres'\nhost = 'h'"],
        "3:8 'a_b' | invalid value for `sinks[0].name`: it has other characters",
    ),
    (&[POSTGRES, SERVER, POSTGRES, SERVER], "7:8 'a' | `sinks[1].name` is the same as `sinks[0].name`"),
    (
        &["[sinks]\nname = 'a'"],
        "2:1 [sinks] | invalid value for `sinks`: expected an array of tables, found a table",
    ),
    (
        &[POSTGRES, SERVER, "topic = 'raw'"],
        "6:9 'raw' | invalid value for `sinks[0].topic`: not one of the words allowed",
    ),
    (
        &[POSTGRES, SERVER, "in_flight_bytes = '1MiB'"],
        "6:19 '1MiB' | `sinks[0].in_flight_bytes` is less than `batch_bytes`",
    ),
    (&[POSTGRES, SERVER, "tabel = 't'"], "6:1 tabel | unknown key `tabel` in `sinks[0]`"),
    (
        &[POSTGRES, SERVER, "index = 'x'"],
        "6:1 index | `index` belongs to elasticsearch sinks; this one is postgres",
    ),
    (
        &[POSTGRES, SERVER, "timeout = '1s'"],
        "6:1 timeout | `timeout` belongs to elasticsearch and webhook sinks; this one is postgres",
    ),
    (&[POSTGRES], "2:1 [[sinks]] | `sinks[0].url` is missing, and `host` too"),
    (
        &[POSTGRES, "url = 'host=h'"],
        "5:7 *** | invalid value for `sinks[0].url`: it does not begin with `postgres://`",
    ),
    (&[POSTGRES, "url = 'postgres:///d'"], "5:7 *** | invalid value for `sinks[0].url`: it names no host"),
    (&[POSTGRES, "host = 'h:5432'"], "5:8 'h:5432' | invalid value for `sinks[0].host`: it has a port"),
    (&[POSTGRES, "host = 'postgres://h'"], "5:8 *** | invalid value for `sinks[0].host`: not a host"),
    (
        &[POSTGRES, SERVER, "password = 'x'\npassword_file = 'y'"],
        "7:17 *** | `sinks[0].password_file` and `password` are both given",
    ),
    (&[POSTGRES, SERVER, "password = ''"], "6:12 *** | invalid value for `sinks[0].password`: empty"),
    (
        &[POSTGRES, SERVER, "ca = 'x'\nsslmode = 'require'"],
        "7:11 'require' | `sinks[0].sslmode` checks no certificate, but there is a `ca`",
    ),
    (
        &[POSTGRES, SERVER, "table = 'a.b.c'"],
        "6:9 'a.b.c' | invalid value for `sinks[0].table`: it has more than two parts",
    ),
    (
        &[POSTGRES, SERVER, "topic = 'alerts'\ncolumns = { x = 'y' }"],
        "7:11 { x = 'y' } | `sinks[0].columns` is for processed events alone",
    ),
    (
        &[POSTGRES, SERVER, "columns = { x = 'y..z' }"],
        "6:17 'y..z' | invalid value for `sinks[0].columns`: a part of the path is empty",
    ),
    (
        &[POSTGRES, SERVER, "columns = { event = 'y' }"],
        "6:13 event | invalid value for `sinks[0].columns`: the table has this column anyway",
    ),
    (&[ELASTICSEARCH], "2:1 [[sinks]] | `sinks[0].url` is missing"),
    (
        &[ELASTICSEARCH, "url = 'https://u:p@h:9200'"],
        "5:7 *** | invalid value for `sinks[0].url`: it has a user or a password, which belong into keys of their own",
    ),
    (
        &[ELASTICSEARCH, "url = 'h:9200'"],
        "5:7 *** | invalid value for `sinks[0].url`: it does not begin with `http://` or `https://`",
    ),
    (
        &[ELASTICSEARCH, URL, "index = 'e-{YYYY}'"],
        "6:9 'e-{YYYY}' | invalid value for `sinks[0].index`: it has another placeholder than `{yyyy}`, `{MM}` and `{dd}`",
    ),
    (
        &[ELASTICSEARCH, URL, "index = 'Events'"],
        "6:9 'Events' | invalid value for `sinks[0].index`: Elasticsearch takes no upper case",
    ),
    (&[ELASTICSEARCH, URL, "username = 'u'"], "6:12 'u' | `sinks[0].username` has no `password`"),
    (&[ELASTICSEARCH, URL, "password_file = 'f'"], "6:17 *** | `sinks[0].password` has no `username`"),
    (
        &[ELASTICSEARCH, URL, "username = 'u'\npassword = 'p'\napi_key_file = 'f'"],
        "8:16 *** | `sinks[0].api_key` and a user with a password are both given",
    ),
    (&[WEBHOOK], "2:1 [[sinks]] | `sinks[0].url` is missing"),
    (&[WEBHOOK, "url = 'http://:80'"], "5:7 *** | invalid value for `sinks[0].url`: a host is missing"),
    (&[WEBHOOK, URL, "url_file = 'f'"], "6:12 *** | `sinks[0].url_file` and `url` are both given"),
    (
        &[WEBHOOK, URL, "topic = 'dead_letters'\nformat = 'slack'"],
        "7:10 'slack' | `sinks[0].format` is a format of alerts alone",
    ),
    (
        &[WEBHOOK, URL, "topic = 'processed'\nphases = ['closed']"],
        "7:10 ['closed'] | `sinks[0].phases` is for alerts alone",
    ),
    (
        &[WEBHOOK, URL, "topic = 'processed'\nrules = ['high-error-rate']"],
        "7:9 ['high-error-rate'] | `sinks[0].rules` is for alerts alone",
    ),
    (
        &[WEBHOOK, URL, "rules = ['high-error-rate', 'gone']"],
        "6:9 ['high-error-rate', 'gone'] | `sinks[0].rules[1]` is not the name of a rule",
    ),
    (
        &[WEBHOOK, URL, "headers = { a = 'x', A = 'y' }"],
        "6:13 a | invalid value for `sinks[0].headers`: listed twice; case makes no difference",
    ),
    (
        &[WEBHOOK, URL, "headers.Content-Type = 'text/plain'"],
        "6:9 Content-Type | invalid value for `sinks[0].headers`: the sink decides this header",
    ),
    (
        &[WEBHOOK, URL, "headers.a = \"x\\ny\""],
        "6:13 *** | invalid value for `sinks[0].headers`: it has a character that no header may have",
    ),
    (&[WEBHOOK, URL, "concurrency = 65"], "6:15 65 | invalid value for `sinks[0].concurrency`: too large"),
];

#[test]
fn each_mistake_is_told_with_its_place_and_a_way_out() {
    for (text, expected) in MISTAKES {
        let problems = try_resolve(&text.concat(), &[]).unwrap_err();
        let told = |problem: &tidegate_config::Problem| {
            let (line, column) = (problem.line.unwrap(), problem.column.unwrap());
            format!("{line}:{column} {} | {}", problem.text, problem.message)
        };
        assert_eq!(problems.iter().map(told).collect::<Vec<_>>(), [*expected], "{problems}");
        assert!(problems.iter().all(|problem| problem.help.is_some()), "{problems}");
    }
    let many = format!("sinks = [{}]", "{ name = 'a', type = 'postgres', host = 'h' },".repeat(51));
    let many = try_resolve(&many, &[]).unwrap_err().to_string();
    assert!(many.contains("`sinks`: too many elements") && many.contains("allowed: up to 50"), "{many}");
}

#[test]
fn a_mistyped_key_is_looked_for_among_those_of_its_type() {
    let help = |text: &str| try_resolve(text, &[]).unwrap_err().iter().next().unwrap().help.clone().unwrap();
    assert_eq!(help(&[POSTGRES, SERVER, "tabel = 't'"].concat()), "did you mean `table`?");
    let allowed = help(&[WEBHOOK, URL, "nonsense = 't'"].concat());
    assert!(
        allowed.contains("`topic`") && allowed.contains("`headers`") && !allowed.contains("`index`"),
        "{allowed}"
    );
    assert_eq!(help("start = 'latest'"), "did you mean `kafka.start` or `sinks.start`?");
}
