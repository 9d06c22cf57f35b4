//! Alerts in Prometheus Alertmanager.

use serde_json::json;

use super::setup::{self, sink, with_sinks};
use crate::support::{alertmanager::Alertmanager, events::event, kafka::Input, wait};

#[test]
fn alertmanager_shows_an_alert_as_firing_while_its_window_is_open_and_resolves_it_when_it_is_closed() {
    let server = Alertmanager::from_env();
    let keys = format!("url = \"{}\", format = \"alertmanager\"", server.url);
    let site = with_sinks(setup::site("sinks-firing", 2), &[sink("pager", "webhook", "alerts", &keys)]);
    let site = site.set("time.max_disorder", "\"1s\"").create();
    let daemon = site.run();
    let (service, now) = (format!("{}-shop", site.name), wait::now_ms());
    let errors: Vec<Input> = (0..60).map(|n| event(n % 2, "error", &service, "user", now)).collect();
    site.write(&errors);
    let alert = wait::until("the alert to fire", || server.alerts("service", &service).pop());
    assert_eq!(alert["labels"]["alertname"], json!("high-error-rate"), "{alert}");
    assert_eq!(alert["status"]["state"], json!("active"), "{alert}");
    assert_eq!(alert["annotations"]["summary"], json!("High error rate: 51 errors in 60s"), "{alert}");

    site.write_sentinels(now + 120_000);
    wait::until_true("the alert to be resolved", || server.alerts("service", &service).is_empty());
    daemon.stop();
}
