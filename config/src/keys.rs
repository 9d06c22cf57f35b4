//! The keys: the one place that says which there are, what they may be, what they are by default and what they
//! mean; those of sinks are in `sink_keys.rs`. The checker, the default file, the JSON Schema and the reference all
//! come from here.

use std::time::Duration;

use tidegate_core::{bots::Category, event::FieldPaths, rules::Rule};

use crate::{
    kind::{
        Boolean, Bytes, Choice, Choices, Count, FieldPathList, FilePath, Optional, OptionalText, PatternList,
        Period, Ratio, SocketAddress, Text, WrittenPeriod,
    },
    note::Unwritten,
    properties,
    settings::{
        Embedded, Filter, Geo, Kafka, Limits, LogFormat, LogKind, Pools, Settings, Supervision, Telemetry,
        Time, Topic, Topics,
    },
    sink_keys,
    start::Start,
    walk::Walk,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Most rules; every event is matched against each.
const MAX_RULES: usize = 100;

/// Reads all keys, in the order in which they are documented.
pub(crate) fn read(walk: &mut Walk<'_>) -> Settings {
    let settings = Settings {
        log: walk.key(
            "log",
            &Choice(&[("kafka", LogKind::Kafka), ("embedded", LogKind::Embedded)]),
            LogKind::Kafka,
            "Where the topics live: in Apache Kafka, or in a log of its own in `state.dir`, without a broker.",
        ),
        kafka: walk.section("kafka", "Connection to Kafka.", kafka),
        embedded: walk.section("embedded", "The embedded log; with `log = \"embedded\"` alone.", embedded),
        topics: topics(walk),
        event: walk.section(
            "event",
            "Where the fields of an event are. Each key takes dotted paths, and the first that is present wins. \
             A field whose name has a dot in it cannot be named.",
            event,
        ),
        filter: walk.section("filter", "The bot filter: events of bots are dropped and counted.", filter),
        geo: walk.section("geo", "Geo data, looked up by the event's ip.", geo),
        time: walk.section("time", "Event time.", time),
        rules: walk.tables(
            "rules",
            MAX_RULES,
            Unwritten::OneDefault,
            "Alert rules, at most 100. Rules in the file replace the default rule, which is the one shown here; \
             `rules = []` means none. Windows are aligned to the epoch, and counts are kept per service.",
            rule,
        ),
        alert_evidence: walk.section("alerts", "Alerts.", alert_evidence),
        pools: walk.section("pools", "How many actors share the work of a stage.", pools),
        checkpoint_interval: walk.section("checkpoint", "Checkpoints.", checkpoint_interval),
        state_dir: walk.section("state", "Local state.", |walk| {
            walk.key(
                "dir",
                &FilePath,
                "tidegate-data".into(),
                "Directory of the local copy of the window state, and of the embedded log. One daemon at a time may use \
                 it.",
            )
        }),
        limits: walk.section("limits", "Limits of memory.", limits),
        supervision: walk.section("supervision", "When to give up.", supervision),
        http_listen: walk.section("http", "The HTTP server.", |walk| {
            walk.key(
                "listen",
                &SocketAddress,
                ([127, 0, 0, 1], 8081).into(),
                "Address of health, metrics and API. There is no authentication: another address than a loopback \
                 one opens them to the network.",
            )
        }),
        telemetry: walk.section("telemetry", "Logs and traces.", telemetry),
        shutdown_grace: walk.section("shutdown", "Shutdown.", |walk| {
            walk.key(
                "grace",
                &Period { min: Duration::from_millis(100), max: Duration::from_secs(600) },
                Duration::from_secs(20),
                "How long a clean shutdown may take: reading stops, and what is in flight is committed.",
            )
        }),
        sinks: sink_keys::read(walk),
    };
    walk.note_unknown();
    settings
}

fn embedded(walk: &mut Walk<'_>) -> Embedded {
    Embedded {
        retention_bytes: walk.key(
            "retention_bytes",
            &Bytes { min: 1 << 20, max: 16 << 40 },
            1 << 30,
            "Most bytes that a topic keeps, beside its `retention`: the oldest records go first. Input that is \
             not processed yet never goes; beyond the limit new events are refused.",
        ) as u64,
    }
}

fn alert_evidence(walk: &mut Walk<'_>) -> usize {
    walk.key(
        "evidence",
        &Count { min: 0, max: 100 },
        5,
        "How many of the first counted events an alert names as its evidence.",
    )
}

fn checkpoint_interval(walk: &mut Walk<'_>) -> Duration {
    walk.key(
        "interval",
        &Period { min: Duration::from_millis(10), max: Duration::from_secs(60) },
        Duration::from_millis(250),
        "Length of an epoch: its outputs, offsets and state are committed together. What is processed \
         becomes visible at its end; an alert ends it early.",
    )
}

fn kafka(walk: &mut Walk<'_>) -> Kafka {
    Kafka {
        bootstrap_servers: walk.required(
            "bootstrap_servers",
            &Text::servers(),
            String::new(),
            "127.0.0.1:9092".into(),
            "The brokers to ask first. Required with `log = \"kafka\"`; the one key without a default.",
        ),
        group_id: walk.key(
            "group_id",
            &Text::name(),
            "tidegate".into(),
            "Consumer group that the input offsets are committed under.",
        ),
        transactional_id: walk.key(
            "transactional_id",
            &Text::name(),
            "tidegate".into(),
            "One running daemon per id: a second one fences the first.",
        ),
        start: walk.key(
            "start",
            &Choice(&[("latest", Start::Latest), ("earliest", Start::Earliest)]),
            Start::Latest,
            "Where to begin. Used only when the group has no committed offsets.",
        ),
        properties: properties::read(walk),
    }
}

fn topics(walk: &mut Walk<'_>) -> Topics {
    let doc = "The five topics as they should be; `tidegate topics apply` creates them.";
    walk.section("topics", doc, |walk| Topics {
        raw: topic(walk, "raw", "Input.", "raw-events", 12, Some(1)),
        processed: topic(walk, "processed", "Events with geo data.", "processed-events", 12, Some(7)),
        alerts: topic(walk, "alerts", "Alerts.", "alerts", 3, Some(3)),
        dead_letters: topic(
            walk,
            "dead_letters",
            "Records that could not be processed.",
            "dead-letters",
            3,
            Some(14),
        ),
        state: topic(
            walk,
            "state",
            "Changelog of the window state: internal and compacted, so it has no `retention`. Its partitions \
             cannot be changed later.",
            "tidegate-state",
            12,
            None,
        ),
    })
}

fn topic(
    walk: &mut Walk<'_>,
    section: &'static str,
    doc: &'static str,
    name: &'static str,
    partitions: u32,
    retention_days: Option<u32>,
) -> Topic {
    walk.section(section, doc, |walk| Topic {
        name: walk.key("name", &Text::topic(), name.into(), "Name, different from the other topics'."),
        partitions: walk.key("partitions", &Count { min: 1, max: 1024 }, partitions, "Number of partitions."),
        replication_factor: walk.key(
            "replication_factor",
            &Count { min: 1, max: 32 },
            3,
            "Replicas of each partition; at most as many as there are brokers.",
        ),
        retention: retention_days.map(|days| {
            walk.key(
                "retention",
                &Period { min: Duration::from_secs(1), max: 3650 * DAY },
                days * DAY,
                "How long records are kept.",
            )
        }),
    })
}

fn event(walk: &mut Walk<'_>) -> FieldPaths {
    let default = FieldPaths::default();
    let any = FieldPathList { min: 0 };
    FieldPaths {
        event_type: walk.key(
            "event_type",
            &FieldPathList { min: 1 },
            default.event_type,
            "The event's type, a string. Without it the record is a dead letter.",
        ),
        timestamp: walk.key(
            "timestamp",
            &any,
            default.timestamp,
            "Event time, an integer: milliseconds since the epoch. Absent: the record's Kafka timestamp.",
        ),
        service: walk.key(
            "service",
            &any,
            default.service,
            "The service that events are counted by, a string. Absent: `unknown`.",
        ),
        ip: walk.key("ip", &any, default.ip, "The client's IPv4 or IPv6 address. Absent: no geo data."),
        user_agent: walk.key(
            "user_agent",
            &any,
            default.user_agent,
            "The client's user agent. Absent: not a bot.",
        ),
    }
}

/// Names of the categories of bots. `crawler` was one before search engines and others got their own.
const CATEGORIES: &[(&str, &[Category])] = &[
    ("ai", &[Category::Ai]),
    ("search", &[Category::Search]),
    ("social", &[Category::Social]),
    ("monitor", &[Category::Monitor]),
    ("seo", &[Category::Seo]),
    ("feed", &[Category::Feed]),
    ("scanner", &[Category::Scanner]),
    ("headless", &[Category::Headless]),
    ("http-library", &[Category::HttpLibrary]),
    ("other", &[Category::Other]),
    (
        "crawler",
        &[
            Category::Search,
            Category::Social,
            Category::Feed,
            Category::Scanner,
            Category::Headless,
            Category::Other,
        ],
    ),
];

fn filter(walk: &mut Walk<'_>) -> Filter {
    let by_default = Category::dropped_by_default();
    let by_default =
        CATEGORIES.iter().filter(|(_, of)| matches!(of, [category] if by_default.contains(category)));
    Filter {
        enabled: walk.key("enabled", &Boolean, true, "Whether events of bots are dropped."),
        categories: walk
            .key(
                "categories",
                &Choices { of: Choice(CATEGORIES), min: 0 },
                by_default.map(|(_, category)| *category).collect(),
                "Categories of bots whose events are dropped, see docs/bots.md. `crawler` stands for `search`, \
                 `social`, `feed`, `scanner`, `headless` and `other`. What matches a pattern without a category \
                 is always dropped.",
            )
            .concat(),
        patterns_file: walk
            .key(
                "patterns_file",
                &OptionalText { what: "a path", empty: "the built-in list" },
                None,
                "A file that is used instead of the built-in list: one regular expression a line, at most 4 MiB in UTF-8.",
            )
            .map(Into::into),
        patterns: walk.key(
            "patterns",
            &PatternList,
            Vec::new(),
            "Regular expressions in addition to the list, matched anywhere in the user agent, without regard to \
             case.",
        ),
    }
}

fn geo(walk: &mut Walk<'_>) -> Geo {
    Geo {
        database: walk.key(
            "database",
            &FilePath,
            "GeoLite2-City.mmdb".into(),
            "Database of cities or countries in the MaxMind DB format (`.mmdb`), of MaxMind, DB-IP, IPinfo or \
             ip-location-db. If the file is not there, `geo` is null in all events, with one warning.",
        ),
        reload_every: walk.key(
            "reload_every",
            &Period { min: Duration::from_millis(100), max: DAY },
            Duration::from_secs(30),
            "How often the file is looked at for a change.",
        ),
    }
}

fn time(walk: &mut Walk<'_>) -> Time {
    Time {
        max_disorder: walk.key(
            "max_disorder",
            &Period { min: Duration::ZERO, max: 30 * DAY },
            Duration::from_secs(5),
            "How far behind the highest timestamp of its partition an event may come and still be in time.",
        ),
        idle_after: walk.key(
            "idle_after",
            &Period { min: Duration::from_millis(100), max: DAY },
            Duration::from_secs(10),
            "A partition that is read to its end and brings nothing for this long does not hold the watermark back.",
        ),
        max_future: walk.key(
            "max_future",
            &Period { min: Duration::ZERO, max: 36_500 * DAY },
            Duration::from_secs(300),
            "Events whose timestamp is further ahead of the clock are forwarded, but neither counted nor allowed to \
             move the watermark.",
        ),
        allowed_lateness: walk.key(
            "allowed_lateness",
            &Period { min: Duration::ZERO, max: 30 * DAY },
            Duration::ZERO,
            "How long after a window's end events are still counted in it.",
        ),
    }
}

fn rule(walk: &mut Walk<'_>) -> Rule {
    let default = Rule::default();
    let length = || Period { min: Duration::from_millis(10), max: 31 * DAY };
    let name = walk.key("name", &Text::own_name(), default.name, "Names the rule in alerts and metrics.");
    let event_type =
        walk.key("event_type", &Text::name(), default.event_type, "Events of this type are counted.");
    let (window, window_text) = walk.key(
        "window",
        &WrittenPeriod(length()),
        (Duration::from_secs(60), default.window_text),
        "Length of a window.",
    );
    let slide = walk.optional(
        "slide",
        &Optional { kind: length(), absent: "`window`, so that windows are tumbling" },
        Duration::from_secs(10),
        "Distance between the starts of sliding windows. It divides `window`, at most 1000 times.",
    );
    let threshold = walk.key(
        "threshold",
        &Count { min: 0, max: 1_000_000_000_000 },
        default.threshold,
        "A window is above the threshold when its count is greater than this.",
    );
    let message = walk.key("message", &Text::template(), default.message, "Text of the alerts.");
    let emit = walk.key(
        "emit",
        &Choices { of: Choice(&[("crossed", true), ("closed", false)]), min: 1 },
        vec![true, false],
        "Which alerts are written: `crossed` as soon as the count passes the threshold, `closed` when the window is \
         over.",
    );
    let window_ms = window.as_millis() as i64;
    Rule {
        name,
        event_type,
        window_ms,
        window_text,
        slide_ms: slide.map_or(window_ms, |slide| slide.as_millis() as i64),
        threshold,
        message,
        emit_crossed: emit.contains(&true),
        emit_closed: emit.contains(&false),
    }
}

fn pools(walk: &mut Walk<'_>) -> Pools {
    let size = Count { min: 1, max: 64 };
    Pools {
        filter: walk.key("filter", &size, 2, "Actors that parse events and drop bots."),
        enrich: walk.key("enrich", &size, 2, "Actors that look up geo data and write the output."),
        window: walk.key("window", &size, 2, "Window actors; services are spread over them."),
    }
}

fn limits(walk: &mut Walk<'_>) -> Limits {
    Limits {
        in_flight_bytes: walk.key(
            "in_flight_bytes",
            &Bytes { min: 4 << 20, max: 64 << 30 },
            64 << 20,
            "Bytes of records read and not yet committed. Beyond it reading waits.",
        ),
        open_windows: walk.key(
            "open_windows",
            &Count { min: 1, max: 100_000_000 },
            1_000_000,
            "Windows open at a time. Beyond it events of new services are forwarded but not counted.",
        ),
    }
}

fn supervision(walk: &mut Walk<'_>) -> Supervision {
    Supervision {
        max_restarts: walk.key(
            "max_restarts",
            &Count { min: 0, max: 10_000 },
            10,
            "Restarts within `window` after which the process gives up and exits with 1.",
        ),
        window: walk.key(
            "window",
            &Period { min: Duration::from_secs(1), max: 24 * HOUR },
            Duration::from_secs(60),
            "The time in which restarts are counted.",
        ),
    }
}

fn telemetry(walk: &mut Walk<'_>) -> Telemetry {
    Telemetry {
        otlp_endpoint: walk.key(
            "otlp_endpoint",
            &OptionalText { what: "a URL such as `http://localhost:4317`", empty: "off" },
            None,
            "OpenTelemetry collector that traces, metrics and logs are sent to: by gRPC, or by HTTP if the port is 4318. \
             The standard variables OTEL_* hold too; OTEL_EXPORTER_OTLP_ENDPOINT where this is empty.",
        ),
        service_name: walk.key(
            "service_name",
            &Text::name(),
            "tidegate".into(),
            "Name of this service in telemetry.",
        ),
        trace_ratio: walk.key("trace_ratio", &Ratio, 0.01, "Share of batches and epochs whose traces are kept; events that their producers trace always are."),
        log_format: walk.key(
            "log_format",
            &Choice(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]),
            LogFormat::Auto,
            "Format of the logs; `auto` is text on a terminal and JSON otherwise.",
        ),
    }
}
