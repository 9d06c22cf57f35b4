//! Bodies that are compressed.

use std::io::Write as _;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

#[test]
fn gzip_and_zstd_are_decoded() {
    let server = Server::new();
    let lines = b"{\"a\":1}\n{\"a\":2}\n";
    let twice = [gzip(b"{\"a\":3}\n"), gzip(b"{\"a\":4}\n")].concat();
    for (encoding, body) in [
        ("gzip", gzip(lines)),
        ("GZip", gzip(lines)),
        ("x-gzip", twice),
        ("zstd", zstd(lines)),
        ("identity", lines.to_vec()),
    ] {
        let (status, told) = server.send(&body[..], &[("content-encoding", encoding)]);
        let count = told["records"].as_array().map(Vec::len);
        assert_eq!((status, count), (202, Some(2)), "{encoding}: {told}");
    }
}

#[test]
fn other_encodings_are_refused_with_the_way_out() {
    let server = Server::new();
    for encoding in ["br", "deflate", "gzip, gzip", "nonsense"] {
        let (status, told) = server.send(&b"{}"[..], &[("content-encoding", encoding)]);
        assert_eq!(status, 415, "{encoding}: {told}");
        assert!(told["error"].as_str().unwrap().contains("gzip or zstd"), "{told}");
    }
    for (encoding, body) in [("gzip", &b"{\"a\":1}"[..]), ("zstd", b"{\"a\":1}"), ("gzip", &gzip(b"{}")[..9])]
    {
        let (status, told) = server.send(body, &[("content-encoding", encoding)]);
        let error = told["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(encoding) && !error.contains("UTF-8"), "{told}");
    }
}

#[test]
fn a_small_body_that_becomes_a_large_one_is_refused() {
    let server = Server::new();
    let large = vec![b' '; 300 << 20];
    for (encoding, body) in [("gzip", gzip(&large)), ("zstd", zstd(&large))] {
        assert!(body.len() < 2 << 20);
        let (status, told) = server.send(&body[..], &[("content-encoding", encoding)]);
        assert_eq!(status, 413, "{encoding}: {told}");
    }
    // What it becomes counts against the memory for all bodies.
    let server = Server::start(1 << 20, 1 << 40);
    let event = format!("{{\"x\":\"{}\"}}", " ".repeat(2 << 20));
    assert_eq!(server.send(&gzip(event.as_bytes())[..], &[("content-encoding", "gzip")]).0, 429);
    assert_eq!(server.send(&gzip(b"{}")[..], &[("content-encoding", "gzip")]).0, 202);
}
