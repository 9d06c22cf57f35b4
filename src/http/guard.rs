//! What protects the person at the browser: a Host allow-list, an eye on who sends, and security headers.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

/// Sent with every answer. The pages need nothing from elsewhere and no inline script or style, are in
/// nobody's frame, and are never cached: they are about this moment.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Puts the guards before all routes, the unknown ones included.
pub(super) fn guarded(router: Router, bound: SocketAddr) -> Router {
    router.layer(middleware::from_fn_with_state(bound, guard))
}

async fn guard(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    let mut response = if !is_allowed(request.uri(), request.headers(), request.version(), bound) {
        let text = "unknown host name; use localhost or the address of `http.listen`";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if !request.method().is_safe() && is_foreign(request.headers()) {
        (StatusCode::FORBIDDEN, "web pages of other origins may not send anything here").into_response()
    } else {
        next.run(request).await
    };
    response.headers_mut().extend(HEADERS);
    response
}

/// Whether the request names a host that this server is.
///
/// A web page can point a name of its own at 127.0.0.1 (DNS rebinding) and so read what listens there, but
/// cannot make the browser send another name than its own. A server on a public address is known by names
/// that it cannot know, and takes all. Old probes speak HTTP/1.0 and name no host, which no browser does.
fn is_allowed(uri: &Uri, headers: &HeaderMap, version: Version, bound: SocketAddr) -> bool {
    if !bound.ip().is_loopback() {
        return true;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if version <= Version::HTTP_10 => {
            return uri.authority().is_none_or(|authority| is_local(authority, bound));
        }
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => return false,
    };
    // A request line with a whole URL in it overrides the header, so both must be right.
    [uri.authority(), host.as_ref()].into_iter().flatten().all(|authority| is_local(authority, bound))
        && host.is_some()
}

fn is_local(authority: &Authority, bound: SocketAddr) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback() || ip == bound.ip())
}

/// Whether a browser sent the request for a web page of another origin.
///
/// A page cannot read what it is answered, but could make the browser of somebody at this machine send. Browsers
/// say who sends, in one of two headers or both; who is none says neither.
fn is_foreign(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_own = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    headers.get_all(header::ORIGIN).iter().any(|origin| !is_own(origin))
        || headers.get_all("sec-fetch-site").iter().any(|site| site != "same-origin" && site != "none")
}
