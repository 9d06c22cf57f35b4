//! An HTTP server in the test's process, which answers as it is told.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Response, Uri},
};
use tokio::{net::TcpListener, runtime, sync::oneshot, time::sleep};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// How long it takes.
    pub delay: Duration,
}

impl Answer {
    /// At once, with nothing but a status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), delay: Duration::ZERO }
    }
}

/// The server; it is gone when this is dropped.
pub struct Receiver {
    /// `http://host:port`.
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one. `answer` gets each request and its number, from 0 on.
    pub fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        let handler = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let request = Request { method, uri, headers, body };
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(request.clone());
                seen.len() - 1
            };
            respond(answer(number, &request)).await
        };
        let (started, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            started.send(listener.local_addr().unwrap()).unwrap();
            // Open connections end with the runtime.
            tokio::select! {
                _ = axum::serve(listener, Router::new().fallback(handler)) => {}
                _ = stopped => {}
            }
        };
        let thread = thread::spawn(move || {
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

async fn respond(answer: Answer) -> Response<Body> {
    sleep(answer.delay).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(answer.body.into()).unwrap()
}
