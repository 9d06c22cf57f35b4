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
    ("/assets/actors.js", SCRIPT, include_str!("../../dashboard/actors.js")),
    ("/assets/alerts.js", SCRIPT, include_str!("../../dashboard/alerts.js")),
    ("/assets/checkpoints.js", SCRIPT, include_str!("../../dashboard/checkpoints.js")),
    ("/assets/dead_letters.js", SCRIPT, include_str!("../../dashboard/dead_letters.js")),
    ("/assets/dom.js", SCRIPT, include_str!("../../dashboard/dom.js")),
    ("/assets/format.js", SCRIPT, include_str!("../../dashboard/format.js")),
    ("/assets/overview.js", SCRIPT, include_str!("../../dashboard/overview.js")),
    ("/assets/partitions.js", SCRIPT, include_str!("../../dashboard/partitions.js")),
    ("/assets/pipeline.js", SCRIPT, include_str!("../../dashboard/pipeline.js")),
    ("/assets/sinks.js", SCRIPT, include_str!("../../dashboard/sinks.js")),
    ("/assets/spark.js", SCRIPT, include_str!("../../dashboard/spark.js")),
    ("/assets/stream.js", SCRIPT, include_str!("../../dashboard/stream.js")),
    ("/assets/windows.js", SCRIPT, include_str!("../../dashboard/windows.js")),
    ("/assets/icon.svg", SVG, include_str!("../../dashboard/icon.svg")),
];

pub(super) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, &(path, content_type, text)| {
        router.route(path, get(async move || ([(header::CONTENT_TYPE, content_type)], text)))
    })
}
