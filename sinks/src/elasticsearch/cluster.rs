//! Requests to a cluster.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use tidegate_config::{Elasticsearch, Secret};

use crate::{
    Failure,
    http::{self, HttpClient, Reply, parse_url, secrets_in},
};

/// What is read of an answer at most; that to a bulk request has about 100 bytes a document.
const ANSWER_BYTES: usize = 64 << 20;

/// A cluster, by the address and the credentials that its settings and the files that they name have now.
#[derive(Debug)]
pub(super) struct Cluster {
    settings: Elasticsearch,
    reached: Option<Reached>,
}

#[derive(Debug, Clone)]
struct Reached {
    /// The URL without a slash at its end.
    base: String,
    client: HttpClient,
}

/// What a request holds.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Json(Vec<u8>),
    /// Lines of JSON.
    Lines(Vec<u8>),
    /// The same, compressed with gzip.
    Compressed(Vec<u8>),
}

impl Cluster {
    pub(super) fn new(settings: &Elasticsearch) -> Self {
        Self { settings: settings.clone(), reached: None }
    }

    /// Asks for `path`, which begins with a slash; the answer may be any.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<Reply, Failure> {
        let prepared = self.reach().and_then(|reached| {
            let uri = format!("{}{path}", reached.base);
            let uri: Uri = uri.parse().map_err(|error| format!("`url` or `index`: {error}"))?;
            Ok((reached.client, self.request(method, uri, content)?))
        });
        let (client, request) = prepared.map_err(Failure::new)?;
        client.send(request, ANSWER_BYTES).await.map_err(Failure::new)
    }

    /// What an answer that is no success says, and what to do about it. Nothing of it is to be blamed on a record.
    pub(super) fn failure(&self, reply: &Reply) -> Failure {
        let words = self.words(reply);
        reply.failure(match reply.status {
            StatusCode::UNAUTHORIZED => format!("{words}; look at `username` and `password`, or `api_key`"),
            StatusCode::FORBIDDEN => {
                format!("{words}; let the user of `username`, or the key of `api_key`, create documents in `index`")
            }
            StatusCode::NOT_FOUND => {
                format!("{words}; look at `url`, and create `index` if the cluster does not do that itself")
            }
            _ => words,
        })
    }

    /// What an answer says.
    pub(super) fn words(&self, reply: &Reply) -> String {
        let password = self.settings.password.read().ok().flatten();
        let header = self.credentials().ok().flatten().map(|(value, _)| value);
        let secrets = [password, header];
        reply.words(secrets.iter().flatten().map(Secret::expose).flat_map(secrets_in))
    }

    fn reach(&mut self) -> Result<Reached, String> {
        if let Some(reached) = &self.reached {
            return Ok(reached.clone());
        }
        let url = &self.settings.url;
        let uri = parse_url(url).map_err(|wrong| format!("`url`: {wrong}"))?;
        let client = HttpClient::new(&uri, self.settings.ca.as_deref(), self.settings.timeout)?;
        let base = url.trim().trim_end_matches('/').to_owned();
        Ok(self.reached.insert(Reached { base, client }).clone())
    }

    fn request(&self, method: Method, uri: Uri, content: Content) -> Result<Request<Full<Bytes>>, String> {
        let (content_type, encoding, body) = match content {
            Content::Nothing => (None, None, Vec::new()),
            Content::Json(body) => (Some("application/json"), None, body),
            Content::Lines(body) => (Some("application/x-ndjson"), None, body),
            Content::Compressed(body) => (Some("application/x-ndjson"), Some("gzip"), body),
        };
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let fixed = [
            (CONTENT_TYPE, content_type),
            (CONTENT_ENCODING, encoding),
            (USER_AGENT, Some(http::USER_AGENT)),
        ];
        let headers = request.headers_mut();
        headers.extend(
            fixed.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_static(value?)))),
        );
        if let Some((credentials, key)) = self.credentials()? {
            let value = HeaderValue::from_str(credentials.expose());
            let mut value = value.map_err(|_| format!("`{key}` has characters that no header can hold"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// The value of `authorization`, and the key it comes from. Read each time, for a file may have been replaced: that
    /// costs little, beside a request with a whole batch.
    fn credentials(&self) -> Result<Option<(Secret, &'static str)>, String> {
        let Elasticsearch { username, password, api_key, .. } = &self.settings;
        if let Some(key) = api_key.read().map_err(|error| format!("`api_key`: {error}"))? {
            return Ok(Some((Secret::new(format!("ApiKey {}", key.expose())), "api_key")));
        }
        let Some(username) = username else { return Ok(None) };
        let password = password.read().map_err(|error| format!("`password`: {error}"))?;
        let pair = format!("{username}:{}", password.as_ref().map_or("", Secret::expose));
        Ok(Some((Secret::new(format!("Basic {}", STANDARD.encode(pair))), "username")))
    }
}
