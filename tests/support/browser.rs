//! A real browser, driven by the WebDriver protocol.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{site::free_address, wait};

/// Set where a browser must be there, such as in CI: without one the tests then fail.
const REQUIRED: &str = "TIDEGATE_TEST_BROWSER";
/// WebDriver's name of an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Chromium without a window; dropping it ends it.
pub struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None`, and a line that says so, if there is none and none is required.
    pub fn start() -> Option<Self> {
        let address = free_address();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let driver = match driver {
            Ok(driver) => driver,
            Err(error) if std::env::var_os(REQUIRED).is_none() => {
                eprintln!(
                    "NOT TESTED: no chromedriver ({error}); Debian's packages are chromium, chromium-driver"
                );
                return None;
            }
            Err(error) => panic!("chromedriver: {error}; {REQUIRED} is set, so there must be one"),
        };
        let profile = tempfile::tempdir().unwrap();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(wait::PATIENCE))
            .http_status_as_error(false)
            .build();
        let mut browser = Self { driver, session: String::new(), agent: config.into(), _profile: profile };
        browser.open(address);
        Some(browser)
    }

    fn open(&mut self, address: SocketAddr) {
        let base = format!("http://{address}");
        wait::until_true("chromedriver", || {
            self.agent.get(format!("{base}/status")).call().is_ok_and(|answer| answer.status() == 200)
        });
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            profile.as_str(),
        ];
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        self.session = format!("{base}/session");
        let opened = self.post("", json!({"capabilities": {"alwaysMatch": capabilities}}));
        self.session = format!("{base}/session/{}", opened["sessionId"].as_str().unwrap());
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let mut answer = self
            .agent
            .post(format!("{}{path}", self.session))
            .content_type("application/json")
            .send(body.to_string())
            .unwrap();
        value_of(&answer.body_mut().read_to_string().unwrap())
    }

    fn get(&self, path: &str) -> Value {
        let mut answer = self.agent.get(format!("{}{path}", self.session)).call().unwrap();
        value_of(&answer.body_mut().with_config().limit(64 << 20).read_to_string().unwrap())
    }

    fn devtools(&self, command: &str, params: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params}));
    }

    /// As on a screen of this size.
    pub fn resize(&self, width: u32, height: u32) {
        let mobile = width < 600;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}),
        );
    }

    /// As for somebody who likes it dark, or not.
    pub fn set_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    pub fn go(&self, url: &str) {
        self.post("/url", json!({"url": url}));
    }

    /// What the body of a function returns in the page.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []}))
    }

    /// Text of what a selector finds first.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector({selector:?})?.textContent"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements a selector finds.
    pub fn count(&self, selector: &str) -> u64 {
        self.run(&format!("return document.querySelectorAll({selector:?}).length")).as_u64().unwrap()
    }

    /// Presses a key while an element has the focus.
    pub fn press(&self, selector: &str, key: &str) {
        let found = self.post("/element", json!({"using": "css selector", "value": selector}));
        self.post(&format!("/element/{}/value", found[ELEMENT].as_str().unwrap()), json!({"text": key}));
    }

    /// What the page wrote to the console since the last time, errors of its own and of the browser.
    pub fn console(&self) -> Vec<String> {
        let lines = self.post("/se/log", json!({"type": "browser"}));
        lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The whole page as a picture in this file.
    pub fn screenshot(&self, width: u32, file: &Path) {
        let height = self.run("return document.documentElement.scrollHeight").as_u64().unwrap();
        self.resize(width, height as u32);
        let picture = self.get("/screenshot");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, base64(picture.as_str().unwrap())).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session's end closes the browser; the driver's end does not.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn value_of(answer: &str) -> Value {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert!(answer["value"]["error"].is_null(), "{answer}");
    answer["value"].clone()
}

/// Bytes of well-formed base64.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte).unwrap() as u32;
    let digits: Vec<u32> = text.bytes().filter(|byte| *byte != b'=').map(|byte| digit(&byte)).collect();
    let four = |group: &[u32]| {
        let bits = group.iter().enumerate().fold(0, |bits, (place, digit)| bits | digit << (18 - 6 * place));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(four).collect()
}
