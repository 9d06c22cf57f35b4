//! What answers at an address where no Kafka broker does.
//!
//! librdkafka's words for a wrong port are about the protocol ("Required feature not supported", "Invalid response
//! size"). After such a failure one question of our own is asked over TCP, which every broker answers before anybody is
//! authenticated: which requests it knows. The first bytes that come back tell who is there. Nothing secret is sent.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use super::config::KafkaConfig;
use crate::LogError;

/// For all addresses together.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses that are asked.
const MAX_ADDRESSES: usize = 3;
/// Bytes of an answer that are looked at; a broker's answer has some hundreds.
const MAX_ANSWER: usize = 4096;
/// Comes back in an answer of the Kafka protocol.
const CORRELATION: [u8; 4] = *b"tide";
/// Key of the request that every broker knows and no controller does.
const METADATA: u16 = 3;

/// Says who is there instead of a broker, if an answer tells; otherwise the error as it was.
pub(super) fn explain(config: &KafkaConfig, error: LogError) -> LogError {
    let (LogError::Unavailable { what, cause } | LogError::Broken { what, cause }) = &error else {
        return error;
    };
    let wants_tls = config
        .properties
        .get("security.protocol")
        .is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
    match stranger(&config.bootstrap_servers, wants_tls) {
        Some(words) => LogError::Unavailable { what, cause: format!("{words} (librdkafka says: {cause})") },
        None => error,
    }
}

/// Asks one address after the other, until one of them has a broker.
fn stranger(servers: &str, wants_tls: bool) -> Option<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut found = None;
    for address in servers.split(',').map(str::trim).take(MAX_ADDRESSES) {
        let Some(answer) = ask(address, deadline) else { continue };
        match classify(&answer, wants_tls) {
            Found::Broker => return None,
            Found::Unclear => {}
            Found::Stranger(words) => {
                found = found.or_else(|| Some(format!("no Kafka broker answers at {address}: {words}")));
            }
        }
    }
    found
}

/// What came back.
#[derive(Debug, Default)]
struct Answer {
    bytes: Vec<u8>,
    /// The other side closed the connection.
    is_closed: bool,
}

/// Asks at one address; `None` if there is no connection, which librdkafka has words for.
fn ask(address: &str, deadline: Instant) -> Option<Answer> {
    let left = || deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    let mut sockets = address.to_socket_addrs().ok()?;
    let mut stream = sockets.find_map(|socket| TcpStream::connect_timeout(&socket, left()?).ok())?;
    stream.set_write_timeout(left()).ok()?;
    stream.write_all(&request()).ok()?;
    let mut answer = Answer::default();
    let mut buffer = [0; 1024];
    while !is_enough(&answer.bytes)
        && let Some(left) = left()
    {
        stream.set_read_timeout(Some(left)).ok()?;
        match stream.read(&mut buffer) {
            Ok(0) => {
                answer.is_closed = true;
                break;
            }
            Ok(read) => answer.bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(_) => {
                answer.is_closed = true;
                break;
            }
        }
    }
    Some(answer)
}

/// ApiVersions, version 0, without a client id.
fn request() -> Vec<u8> {
    let body = [&18_u16.to_be_bytes()[..], &[0, 0], &CORRELATION, &[0xff, 0xff]].concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// Whether an answer is whole, or tells already that it is none of Kafka's.
fn is_enough(bytes: &[u8]) -> bool {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let is_other = rest.len() >= 4 && !rest.starts_with(&CORRELATION);
    is_other || rest.len() >= (u32::from_be_bytes(*size) as usize).min(MAX_ANSWER)
}

/// Who answers.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Broker,
    /// The answer tells nothing.
    Unclear,
    Stranger(String),
}

fn classify(answer: &Answer, wants_tls: bool) -> Found {
    let stranger = |words: &str| Found::Stranger(words.to_owned());
    let bytes = &answer.bytes[..];
    if bytes.get(4..8) == Some(&CORRELATION) {
        return match keys(bytes) {
            Some(keys) if !keys.contains(&METADATA) => stranger(
                "it is a controller of Kafka, which serves no clients; use the listener of the brokers",
            ),
            _ if wants_tls => stranger("it speaks Kafka's protocol, but not TLS; see `security.protocol`"),
            _ => Found::Broker,
        };
    }
    // A TLS server refuses what is no handshake with an alert.
    if let [0x15 | 0x16, 0x03, 0..=4, ..] = bytes {
        return match wants_tls {
            // As it should; what is wrong with it, librdkafka says.
            true => Found::Unclear,
            false => stranger(
                "it speaks TLS; set `security.protocol` to SSL or SASL_SSL in [kafka.properties], or use a port without TLS",
            ),
        };
    }
    if bytes.starts_with(b"HTTP/") {
        return stranger("it speaks HTTP; is this the port of a web server or of metrics?");
    }
    if bytes.is_empty() {
        return match answer.is_closed {
            true if !wants_tls => stranger(
                "it closes the connection at once; a listener that wants TLS does so, or something that is not Kafka",
            ),
            _ => Found::Unclear,
        };
    }
    let begin: String = bytes
        .iter()
        .take(16)
        .map_while(|byte| (byte.is_ascii_graphic() || *byte == b' ').then_some(*byte as char))
        .collect();
    match begin.as_str() {
        "" => stranger("something else listens there, in a protocol that is not Kafka's"),
        begin => Found::Stranger(format!("something else listens there; its answer begins with {begin:?}")),
    }
}

/// The keys of the requests that the other side knows, if it says so.
fn keys(bytes: &[u8]) -> Option<Vec<u16>> {
    // Size, correlation, error code, count, and for each key its lowest and highest version.
    let count = u32::from_be_bytes(bytes.get(10..14)?.try_into().ok()?) as usize;
    let keys = bytes.get(14..)?.chunks_exact(6).take(count);
    let keys: Vec<u16> = keys.map(|key| u16::from_be_bytes([key[0], key[1]])).collect();
    (count > 0 && keys.len() == count).then_some(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{net::TcpListener, thread};

    use super::*;

    fn versions(keys: &[u16]) -> Vec<u8> {
        let body: Vec<u8> =
            keys.iter().flat_map(|key| [&key.to_be_bytes()[..], &[0, 0, 0, 9]].concat()).collect();
        let head = [&CORRELATION[..], &[0, 0], &(keys.len() as u32).to_be_bytes()].concat();
        let size = (head.len() + body.len()) as u32;
        [&size.to_be_bytes()[..], &head, &body].concat()
    }

    fn found(bytes: &[u8], is_closed: bool, wants_tls: bool) -> String {
        match classify(&Answer { bytes: bytes.to_vec(), is_closed }, wants_tls) {
            Found::Stranger(words) => words,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_first_bytes_tell_who_is_there() {
        let (broker, controller) = (versions(&[0, 1, 2, 3, 18]), versions(&[1, 18, 52, 62]));
        assert_eq!(found(&broker, false, false), "Broker");
        assert!(found(&broker, false, true).contains("not TLS"));
        assert!(found(&controller, false, false).contains("a controller of Kafka"));
        assert!(found(&[0x15, 3, 3, 0, 2, 2, 70], true, false).contains("it speaks TLS"));
        assert_eq!(found(&[0x15, 3, 3, 0, 2, 2, 70], true, true), "Unclear");
        assert!(found(b"HTTP/1.1 400 Bad Request\r\n", true, false).contains("it speaks HTTP"));
        assert!(found(b"", true, false).contains("closes the connection at once"));
        assert_eq!(found(b"", false, false), "Unclear");
        assert!(found(b"SSH-2.0-x\r\n", false, false).contains("\"SSH-2.0-x\""));
        assert!(found(&[0xfe, 0, 1], false, false).contains("something else"));
        // Cut off, or an error without keys: still Kafka.
        assert_eq!(found(&broker[..20], true, false), "Broker");
    }

    #[test]
    fn what_answers_at_one_of_several_addresses_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 14];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let words = |servers: &str| match stranger(servers, false) {
            Some(words) => words,
            None => "nobody".to_owned(),
        };
        let told = words(&format!("127.0.0.1:1, {address}"));
        assert_eq!(
            told,
            format!(
                "no Kafka broker answers at {address}: it speaks HTTP; is this the port of a web server or of metrics?"
            )
        );
        server.join().unwrap();
        assert_eq!(words("127.0.0.1:1"), "nobody");
    }
}
