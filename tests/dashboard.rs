//! The dashboard in a real browser: it loads, lives, survives, and shows names as nothing but names.

use std::path::Path;

use crate::support::{
    browser::Browser,
    daemon::Daemon,
    daemon_api::{await_api, post},
    receiver::{Answer, Receiver},
    site::{Site, free_address},
    wait,
};
use serde_json::{Value, json};

const ENTER: &str = "\u{e007}";
/// A browser that takes it for more than a name says so in the title.
const SERVICE: &str = "<img src=x onerror=\"document.title='taken in'\">";

fn errors(service: &str, count: usize) -> Vec<Value> {
    vec![json!({"event_type": "error", "service_name": service, "user_id": "user-1"}); count]
}

fn started(site: &Site, failpoints: Option<&str>) -> Daemon {
    let mut daemon = failpoints.map_or_else(|| site.run(), |points| site.run_with_failpoints(points));
    daemon.wait_ready();
    daemon
}

/// Pictures for people to look at.
fn screenshot(browser: &Browser, name: &str) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    for width in [1280, 390] {
        browser.resize(width, 900);
        let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert_eq!(overflow, 0, "{name} at {width}: wider than the screen");
        browser.screenshot(width, &dir.join(format!("{name}-{width}.png")));
    }
    browser.set_dark(true);
    browser.screenshot(390, &dir.join(format!("{name}-390-dark.png")));
    browser.resize(1280, 900);
    browser.screenshot(1280, &dir.join(format!("{name}-1280-dark.png")));
    browser.set_dark(false);
}

fn await_text(browser: &Browser, selector: &str, wanted: &str) {
    wait::until_true(&format!("{wanted:?} in {selector}"), || browser.text(selector).contains(wanted));
}

#[test]
fn the_dashboard_is_live_and_takes_no_name_for_markup() {
    let Some(browser) = Browser::start() else { return };
    let site = Site::embedded("dashboard", 4).create();
    let daemon = started(&site, None);
    browser.resize(1280, 900);
    browser.go(&format!("http://{}/", site.http));
    await_text(&browser, "#phase", "running");
    await_text(&browser, "#alerts-empty", "No alerts");
    assert_eq!(browser.count(".stage"), 7);
    assert_eq!(browser.run("return document.getElementById('sinks').hidden"), true);
    screenshot(&browser, "empty");

    post(&site, &[], &errors(SERVICE, 60));
    post(&site, &[], &[json!({"event_type": SERVICE, "service_name": 7})]);
    await_text(&browser, "#alerts summary .name", SERVICE);
    await_text(&browser, "#windows .name", SERVICE);
    await_text(&browser, "#dead summary", "invalid_field");
    // By keyboard.
    assert_eq!(browser.count("#alerts details[open]"), 0);
    browser.press("#alerts summary", ENTER);
    assert_eq!(browser.count("#alerts details[open]"), 1);
    assert_eq!(browser.count("#alerts details[open] tr"), 1 + 5);
    browser.press("#dead summary", ENTER);
    await_text(&browser, "#dead pre", "<img src=x");
    browser.press("#config summary", ENTER);
    await_text(&browser, "#config-text", &site.name);
    browser.press("#config summary", ENTER);
    screenshot(&browser, "alert");

    // It goes on by itself, and what was opened stays open.
    post(&site, &[], &errors("checkout", 51));
    await_text(&browser, "#alerts summary .name", "checkout");
    assert_eq!(browser.count("#alerts details[open]"), 1);
    await_text(&browser, "#figures", "112 records");
    assert_eq!((browser.count("img[src=x]"), browser.run("return document.title")), (0, json!("Tidegate")));
    assert_eq!(browser.console(), Vec::<String>::new());

    // A restart: it says so, comes back by itself, and shows nothing of the process before.
    daemon.kill();
    await_text(&browser, "#offline", "No contact");
    await_text(&browser, "#phase", "no contact");
    screenshot(&browser, "away");
    let daemon = started(&site, None);
    await_text(&browser, "#phase", "running");
    wait::until_true("the old alerts to go", || browser.count("#alerts details") == 0);
    assert_eq!(browser.run("return document.getElementById('offline').hidden"), true);
    let foreign = |line: &String| !line.contains("net::ERR_");
    assert_eq!(browser.console().into_iter().filter(foreign).collect::<Vec<_>>(), Vec::<String>::new());
    daemon.stop();
}

#[test]
fn a_failure_is_seen() {
    let Some(browser) = Browser::start() else { return };
    let site = Site::embedded("dashboard-failure", 2).create();
    let daemon = started(&site, Some("filter=3*panic(deliberate)->off"));
    browser.resize(1280, 900);
    browser.go(&format!("http://{}/", site.http));
    await_text(&browser, "#phase", "running");
    post(&site, &[], &errors("checkout", 60));
    await_api(&daemon, "/api/v1/status", "restarts", |status| status["totals"]["restarts"] == 3);
    await_text(&browser, "#failures", "filter");
    await_text(&browser, "#actors", "↻");
    screenshot(&browser, "failure");
    assert_eq!(browser.console(), Vec::<String>::new());
    daemon.stop();
}

#[test]
fn sinks_are_seen_with_what_keeps_them_from_delivering_and_what_they_rejected() {
    let Some(browser) = Browser::start() else { return };
    let hook = Receiver::start(|number, _| match number {
        0 => Answer { body: SERVICE.into(), ..Answer::status(400) },
        _ => Answer::status(204),
    });
    let nobody = free_address();
    let sinks = format!(
        r#"[{{ name = "pager", type = "webhook", topic = "alerts", url = "{}" }},
            {{ name = "warehouse", type = "webhook", topic = "processed", url = "http://{nobody}" }}]"#,
        hook.url
    );
    let site = Site::embedded("dashboard-sinks", 2).set("sinks", &sinks).create();
    let daemon = started(&site, None);
    browser.resize(1280, 900);
    browser.go(&format!("http://{}/", site.http));
    await_text(&browser, "#sinks-note", "all 2 running");
    for service in ["checkout", "search"] {
        post(&site, &[], &errors(service, 60));
        await_text(&browser, "#alerts summary .name", service);
    }
    await_text(&browser, "#sink-rows li:nth-child(1)", "rejected1");
    await_text(&browser, "#sink-rows li:nth-child(1) [data-grade=good]", "running");
    await_text(&browser, "#sink-rows li:nth-child(2) [data-grade=warn]", "degraded");
    await_text(&browser, "#sinks-note", "1 of 2 not running");
    await_text(&browser, "#sink-rows li:nth-child(2) .cause", "Connection refused");
    await_text(&browser, ".outputs [data-state=degraded]", "→ warehouse▲");
    browser.press("#dead summary", ENTER);
    await_text(&browser, "#dead .sample", "refused by pager");
    assert_eq!(
        browser.text("#dead code"),
        "tidegate dead-letters redrive --config FILE --reason sink_rejected --sink pager"
    );
    await_text(&browser, "#dead .sample", SERVICE);
    assert_eq!((browser.count("img[src=x]"), browser.run("return document.title")), (0, json!("Tidegate")));
    screenshot(&browser, "sinks");
    assert_eq!(browser.console(), Vec::<String>::new());
    daemon.stop();
}
