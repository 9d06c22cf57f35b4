//! OpenSearch as another application uses it.

use serde_json::{Value, json};

use super::{http::call, server};

/// A server.
pub struct OpenSearch {
    /// `http://host:port`.
    pub url: String,
}

impl OpenSearch {
    /// The one for the tests.
    pub fn from_env() -> Self {
        Self::at(&server::address("opensearch"))
    }

    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// Sends a request; the answer must be a good one.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        call(method, &format!("{}{path}", self.url), body)
    }

    /// Makes an index template for the indices whose names begin so.
    pub fn put_template(&self, prefix: &str, template: &Value) {
        let body = json!({"index_patterns": [format!("{prefix}*")], "priority": 500, "template": template});
        self.call("PUT", &format!("/_index_template/{prefix}"), Some(&body));
    }

    /// All documents of an index, or of several by a pattern: `_index`, `_id`, `_source` of each.
    pub fn documents(&self, index: &str) -> Vec<Value> {
        // What was written since the last refresh cannot be found.
        self.call("POST", &format!("/{index}/_refresh"), None);
        let query = json!({"size": 5000, "sort": ["_doc"]});
        let mut page = self.call("POST", &format!("/{index}/_search?scroll=5m"), Some(&query));
        let mut found = Vec::new();
        loop {
            let hits = page["hits"]["hits"].as_array_mut().unwrap();
            let is_last = hits.is_empty();
            found.append(hits);
            let next = json!({"scroll": "5m", "scroll_id": page["_scroll_id"]});
            if is_last {
                self.call("DELETE", "/_search/scroll", Some(&json!({"scroll_id": page["_scroll_id"]})));
                return found;
            }
            page = self.call("POST", "/_search/scroll", Some(&next));
        }
    }
}
