//! The dashboard's files, which are part of the binary.

use axum::{Router, http::header, routing::get};

/// Path, content type and text of a file.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: &[File] = &[
    ("/", HTML, include_str!("../../dashboard/index.html")),
    ("/assets/style.css", CSS, include_str!("../../dashboard/style.css")),
    ("/assets/app.js", SCRIPT, include_str!("../../dashboard/app.js")),
    ("/assets/dom.js", SCRIPT, include_str!("../../dashboard/dom.js")),
    ("/assets/format.js", SCRIPT, include_str!("../../dashboard/format.js")),
    ("/assets/panels.js", SCRIPT, include_str!("../../dashboard/panels.js")),
    ("/assets/icon.svg", SVG, include_str!("../../dashboard/icon.svg")),
];

pub(super) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, &(path, content_type, text)| {
        router.route(path, get(async move || ([(header::CONTENT_TYPE, content_type)], text)))
    })
}
