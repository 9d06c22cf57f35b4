//! Prometheus Alertmanager as another application uses it.

use serde_json::Value;

use super::{http::call, server};

/// A server.
pub struct Alertmanager {
    /// `http://host:port`.
    pub url: String,
}

impl Alertmanager {
    /// The one for the tests.
    pub fn from_env() -> Self {
        Self { url: server::address("alertmanager") }
    }

    /// The alerts that fire now and have this label.
    pub fn alerts(&self, label: &str, value: &str) -> Vec<Value> {
        let alerts = call("GET", &format!("{}/api/v2/alerts?filter={label}%3D%22{value}%22", self.url), None);
        alerts.as_array().unwrap().clone()
    }
}
