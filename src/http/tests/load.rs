//! Health and metrics are answered whatever the connections carry.

use super::*;

/// Nothing is closed for being silent within the time of a test.
const LIMITS: Limits = Limits { connections: 32, reserve: 4, streams: 8, silence: Duration::from_secs(600) };

/// Opens a connection and sends the beginning of a request, or nothing.
fn begin(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// What is answered first on a connection.
fn head(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

/// Opens `count` connections that stay open, each with the same beginning of a request.
async fn hold(server: &Server, count: usize, text: &'static str) -> Vec<TcpStream> {
    let address = server.address;
    let open = move || (0..count).map(|_| begin(address, text)).collect();
    tokio::task::spawn_blocking(open).await.unwrap()
}

async fn assert_probes_are_answered(server: &Server) {
    for (path, code) in [("/livez", "200"), ("/readyz", "503"), ("/metrics", "200")] {
        let answer = tokio::time::timeout(Duration::from_secs(5), server.get(path, "localhost")).await;
        assert_eq!(status_code(&answer.unwrap_or_else(|_| panic!("{path} starves"))), code, "{path}");
    }
}

#[tokio::test]
async fn streams_beyond_their_budget_are_refused_and_probes_are_answered() {
    let server = Server::start(LIMITS).await;
    let mut streams = hold(&server, 20, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answers = tokio::task::spawn_blocking(move || {
        let answers: Vec<String> = streams.iter_mut().map(head).collect();
        (answers, streams)
    });
    let (answers, streams) = answers.await.unwrap();
    let refused: Vec<&String> = answers.iter().filter(|head| status_code(head) == "503").collect();
    assert_eq!((refused.len(), answers.len()), (12, 20), "{answers:?}");
    assert!(refused.iter().all(|head| head.contains("retry-after: 2\r\n")), "{refused:?}");
    assert_probes_are_answered(&server).await;
    assert_eq!(status_code(&server.get("/api/v1/status", "localhost").await), "200");
    drop(streams);
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let server = Server::start(LIMITS).await;
    for text in ["", "GET /livez HTTP/1.1\r\nHost: loc", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let idle = hold(&server, 200, text).await;
        assert_probes_are_answered(&server).await;
        assert_eq!(status_code(&server.get("/api/v1/status", "localhost").await), "200");
        drop(idle);
    }
}

#[tokio::test]
async fn while_all_are_busy_the_reserve_answers_probes_and_nothing_else() {
    let server = Server::start(LIMITS).await;
    // Bodies that never come.
    let upload =
        "POST /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    let mut uploads = hold(&server, 32, upload).await;
    let asked = tokio::task::spawn_blocking(move || {
        // The handler asks for the body, so from here on the connection is busy.
        assert!(uploads.iter_mut().all(|upload| status_code(&head(upload)) == "100"));
        uploads
    });
    let uploads = asked.await.unwrap();
    let more = hold(&server, 50, upload).await;
    assert_probes_are_answered(&server).await;
    let refused = server.get("/api/v1/status", "localhost").await;
    assert_eq!(status_code(&refused), "503", "{refused}");
    assert!(refused.contains("retry-after: 2\r\n") && refused.contains("connection: close\r\n"), "{refused}");
    drop((uploads, more));
    // Whoever comes when there is room again is served.
    let served = async {
        while status_code(&server.get("/api/v1/status", "localhost").await) != "200" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), served).await.unwrap();
}
