//! Requests to the servers that sinks deliver to: HTTP/1.1, kept alive, TLS, a limit on everything, and words for what went
//! wrong that hold no secrets.

use std::{error::Error, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header,
    service::Service as _,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
    service::TowerToHyperService,
};
use tidegate_core::delivery::Answer;
use tidegate_host::wall_time;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::timeout;

use crate::{
    Failure,
    tls::{self, Roots, Verify},
};

/// `user-agent` of every request.
pub(crate) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
/// A server that does not take a connection within this is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was not used for so long is not used again: many servers and balancers close theirs after a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of an answer that is not what was hoped for.
const ERROR_BODY_BYTES: usize = 16 << 10;
/// What of it is shown.
const SHOWN_BYTES: usize = 512;
/// Words shorter than this are not hidden: they stand in texts that have nothing to do with the secret.
const SECRET_BYTES: usize = 8;

/// A client of one server; requests are made one at a time.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    connector: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status.
    pub(crate) status: StatusCode,
    /// How long the server asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// The body, or its beginning.
    pub(crate) body: Vec<u8>,
}

impl HttpClient {
    /// A client for the server of `uri`, whose certificate is checked against `ca`, else against the system's.
    ///
    /// # Errors
    /// In words, if there is nothing to check a certificate against.
    pub(crate) fn new(uri: &Uri, ca: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        let is_tls = uri.scheme_str() == Some("https");
        let roots = ca.map_or(Roots::System, Roots::File);
        // Without TLS no certificates are needed, and a bare container has none.
        let tls = tls::client(if is_tls { Verify::Host(roots) } else { Verify::Nothing })?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(IDLE_TIMEOUT));
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(timeout)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector.clone());
        Ok(Self { client, connector, timeout })
    }

    /// Sends a request and reads the answer, of a success about `limit_bytes` at most. A redirect is not followed: it is
    /// an answer as any other.
    ///
    /// # Errors
    /// In words, if there is no answer in time.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit_bytes: usize,
    ) -> Result<Reply, String> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| chain(&error))?;
            Ok(read(response, limit_bytes).await)
        };
        timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// Connects to the server, TLS and all, and sends nothing.
    ///
    /// # Errors
    /// In words, if that fails.
    pub(crate) async fn connect(&self, uri: Uri) -> Result<(), String> {
        let connected = TowerToHyperService::new(self.connector.clone()).call(uri);
        match timeout(self.timeout, connected).await {
            Ok(connected) => connected.map(drop).map_err(|error| chain(&*error)),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> String {
        format!("no answer within {:?}", self.timeout)
    }
}

async fn read(response: Response<Incoming>, limit_bytes: usize) -> Reply {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| pause(value.to_str().ok()?, wall_time().into()));
    let limit_bytes = if status.is_success() { limit_bytes } else { ERROR_BODY_BYTES };
    let (mut incoming, mut body) = (response.into_body(), Vec::new());
    // The status says what became of the request, whatever becomes of the body.
    while let Some(Ok(frame)) = incoming.frame().await
        && body.len() < limit_bytes
    {
        body.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
    }
    Reply { status, retry_after, body }
}

/// `Retry-After`: seconds, or a date.
fn pause(value: &str, now: OffsetDateTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(value.trim(), &Rfc2822).ok()?;
    Some((at - now).try_into().unwrap_or_default())
}

/// An error with what it comes from. The client's errors hold neither the URL nor headers.
fn chain(error: &(dyn Error + 'static)) -> String {
    let (mut words, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        words.push(error.to_string());
        next = error.source();
    }
    // The client's own says no more than that it is one.
    if words.len() > 1 && words[0].starts_with("client error") {
        words.remove(0);
    }
    words.join(": ")
}

impl Reply {
    /// What the server said, in words. Servers repeat what they were sent, so `secrets` are hidden.
    pub(crate) fn words<'a>(&self, secrets: impl Iterator<Item = &'a str>) -> String {
        let answered = format!("the server answered {}", self.status);
        if self.status.is_redirection() {
            return format!("{answered}: redirects are not followed, so configure where it leads to");
        }
        let said = shown(&String::from_utf8_lossy(&self.body), secrets);
        if said.is_empty() { answered } else { format!("{answered}: {said}") }
    }

    /// What follows from the status.
    pub(crate) fn answer(&self) -> Answer {
        Answer::of_status(self.status.as_u16())
    }

    /// The failure of a request that may be made again.
    pub(crate) fn failure(&self, cause: String) -> Failure {
        Failure { cause, retry_after: self.retry_after }
    }
}

/// What a server said, on one line, not too long, and without the secrets in it.
pub(crate) fn shown<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in secrets.filter(|secret| !secret.is_empty() && text.contains(secret)).collect::<Vec<_>>() {
        text = text.replace(secret, "***");
    }
    let words: Vec<&str> =
        text.split(|char: char| char.is_control() || char == ' ').filter(|word| !word.is_empty()).collect();
    let mut text = words.join(" ");
    text.truncate(text.floor_char_boundary(SHOWN_BYTES));
    text
}

/// The parts of a URL's path and query that may be secret: chat services put tokens there.
pub(crate) fn secrets_of(uri: &Uri) -> impl Iterator<Item = &str> {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    path.split(['/', '?', '&', '=']).filter(|part| part.len() >= SECRET_BYTES)
}

/// What of a header's value may be repeated: all of it, or what stands behind the word that says what it is.
pub(crate) fn secrets_in(value: &str) -> impl Iterator<Item = &str> {
    [value, value.rsplit(' ').next().unwrap_or_default()].into_iter()
}

/// A URL as it can be used.
///
/// # Errors
/// In words, without the URL, if it cannot.
pub(crate) fn parse_url(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.trim().parse().map_err(|_| "it is not a URL such as https://host/path".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("it must begin with http:// or https://".into());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a name and password do not belong in it".into());
    }
    if uri.host().is_none_or(str::is_empty) { Err("it names no host".into()) } else { Ok(uri) }
}

/// Whether requests can be sent to a URL, as far as can be told without a network.
///
/// # Errors
/// In words, if they cannot; without the URL, for it may hold a secret.
pub fn check_url(url: &str) -> Result<(), String> {
    parse_url(url).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: body.into() }
    }

    #[test]
    fn a_server_asks_to_be_left_alone_for_seconds_or_until_a_date() {
        let now = OffsetDateTime::from_unix_timestamp(1_760_000_000).unwrap();
        let seconds = |value| pause(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Thu, 09 Oct 2025 08:53:50 GMT"), Some(30));
        assert_eq!(seconds("Thu, 09 Oct 2025 08:53:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-5"), None);
    }

    #[test]
    fn what_a_server_said_is_cut_put_on_one_line_and_shown_without_the_secrets_that_it_repeats() {
        let uri = parse_url("https://hooks.example/services/T0000000/B111?key=very-secret").unwrap();
        let said = reply(404, "<pre>Cannot POST\n\t/services/T0000000/B111?key=very-secret</pre> hunter2");
        assert_eq!(
            said.words(secrets_of(&uri).chain(secrets_in("Bearer hunter2")).chain([""])),
            "the server answered 404 Not Found: <pre>Cannot POST /***/***/B111?key=***</pre> ***"
        );
        assert_eq!(reply(599, "").words([].into_iter()), "the server answered 599 <unknown status code>");
        assert_eq!(shown(&"é".repeat(400), [].into_iter()).len(), SHOWN_BYTES);
        let redirect = reply(302, "elsewhere");
        assert!(redirect.words([].into_iter()).contains("redirects are not followed"));
        assert_eq!(redirect.answer(), Answer::Refused);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_told_without_being_shown() {
        assert!(parse_url(" https://[::1]:9200/a?b=c\n").is_ok());
        for (url, word) in [
            ("", "not a URL"),
            ("hooks.example/secret", "http"),
            ("ftp://hooks.example/secret", "http"),
            ("https://user:secret@hooks.example/", "password"),
            ("https:///secret", "URL"),
            ("https://hooks.example/se cret", "not a URL"),
        ] {
            let told = parse_url(url).unwrap_err();
            assert!(told.contains(word) && !told.contains("secret"), "{url}: {told}");
        }
    }
}
