//! Where a webhook's requests go, and what all of them carry.

use http_body_util::Full;
use hyper::{
    Request, Uri,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, InvalidHeaderValue, USER_AGENT},
};
use tidegate_config::{Secret, Webhook};
use tidegate_core::delivery::Answer;

use super::signature::{header_id, signature};
use crate::{
    Failure, Outcome,
    http::{self, HttpClient, parse_url, secrets_in, secrets_of},
    iso::now,
};

/// What is read of the answer to a request that was taken: nothing in it counts, but the connection can be used again once
/// it is read.
const ANSWER_BYTES: usize = 64 << 10;

/// A webhook's address, as its settings and the files that they name have it now.
#[derive(Debug)]
pub(super) struct Target {
    settings: Webhook,
    /// The path where the configured URL has none.
    default_path: &'static str,
    reached: Option<Reached>,
}

/// The server that the URL names.
#[derive(Debug, Clone)]
struct Reached {
    url: Secret,
    uri: Uri,
    client: HttpClient,
}

impl Target {
    pub(super) fn new(settings: &Webhook, default_path: &'static str) -> Self {
        Self { settings: settings.clone(), default_path, reached: None }
    }

    /// Posts a body; the id is the same whenever this body is sent.
    pub(super) async fn post(&mut self, id: &str, content_type: &'static str, body: Vec<u8>) -> Outcome {
        let prepared = self.reach().and_then(|reached| {
            let request = self.request(&reached.uri, id, content_type, body)?;
            Ok((reached, request))
        });
        let (reached, request) = match prepared {
            Ok(prepared) => prepared,
            Err(cause) => return Outcome::Failed(Failure::new(cause)),
        };
        let reply = match reached.client.send(request, ANSWER_BYTES).await {
            Ok(reply) => reply,
            Err(cause) => return Outcome::Failed(Failure::new(cause)),
        };
        let headers = self.settings.headers.iter().flat_map(|(_, value)| secrets_in(value.expose()));
        let words = || reply.words(secrets_of(&reached.uri).chain(headers));
        match reply.answer() {
            Answer::Delivered => Outcome::Delivered,
            Answer::TryAgain => Outcome::Failed(reply.failure(words())),
            Answer::Refused => Outcome::Refused(words()),
        }
    }

    /// Connects to the server, and sends nothing; what requests will need is looked at too.
    pub(super) async fn check(&mut self) -> Result<(), String> {
        let Reached { uri, client, .. } = self.reach()?;
        self.request(&uri, "check", "application/json", Vec::new())?;
        client.connect(uri).await
    }

    /// The server that the URL names now. Read each time, for a file may have been replaced: that costs less than the
    /// request.
    fn reach(&mut self) -> Result<Reached, String> {
        let url = self.settings.url.read().map_err(|error| format!("`url`: {error}"))?;
        let url = url.ok_or("`url` is not configured")?;
        if let Some(reached) = self.reached.as_ref().filter(|reached| reached.url == url) {
            return Ok(reached.clone());
        }
        let uri = parse_url(url.expose()).map_err(|wrong| format!("`url`: {wrong}"))?;
        let uri = with_path(uri, self.default_path).map_err(|error| format!("`url`: {error}"))?;
        let client = HttpClient::new(&uri, self.settings.ca.as_deref(), self.settings.timeout)?;
        Ok(self.reached.insert(Reached { url, uri, client }).clone())
    }

    fn request(
        &self,
        uri: &Uri,
        id: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Request<Full<hyper::body::Bytes>>, String> {
        let id = header_id(id);
        let now_s = now().0 / 1000;
        let secret = self.settings.secret.read().map_err(|error| format!("`secret`: {error}"))?;
        let mut own = vec![("webhook-id", id.clone()), ("webhook-timestamp", now_s.to_string())];
        if let Some(secret) = secret {
            own.push(("webhook-signature", signature(secret.expose(), &id, now_s, &body)?));
        }
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(http::USER_AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in own {
            let value = value.try_into().map_err(|error: InvalidHeaderValue| format!("`{name}`: {error}"))?;
            headers.insert(name, value);
        }
        for (name, value) in &self.settings.headers {
            let wrong = || format!("header `{name}` cannot be sent");
            let name: HeaderName = name.parse().map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(request)
    }
}

fn with_path(uri: Uri, path: &'static str) -> Result<Uri, hyper::http::Error> {
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static(path));
    Ok(Uri::from_parts(parts)?)
}
