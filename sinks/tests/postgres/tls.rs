//! TLS with a real server.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tidegate_config::{Postgres, SslMode};
use tidegate_core::record::Topic;
use tidegate_sinks::postgres::plan;

use crate::{
    server::Server,
    support::{Database, NAME},
};

/// Certificates: one that signs, one of a server called `localhost` that it signed, and one that signed nothing.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let certificates = Self(TempDir::new().unwrap());
        for name in ["ca", "other"] {
            certificates.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
            ));
        }
        certificates.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr",
        );
        certificates.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 2 -out server.pem",
        );
        certificates
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .stderr(Stdio::null())
            .stdout(Stdio::null());
        let status = command.status().expect("openssl must be on the PATH");
        assert!(status.success(), "openssl {arguments}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[tokio::test]
async fn the_servers_certificate_is_looked_at_as_the_sslmode_says() {
    use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};

    let certificates = Certificates::new();
    let (key, certificate) = (certificates.path("server.key"), certificates.path("server.pem"));
    let server = Server::start(
        "-c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key",
        &[&key, &certificate],
    );
    let database = Database::on(&server.url()).await;
    database.run("create role tls login superuser password 'right'").await;
    let (ca, other) = (certificates.path("ca.pem"), certificates.path("other.pem"));
    for (sslmode, host, ca, error) in [
        (Disable, "localhost", None, None),
        (Prefer, "127.0.0.1", None, None),
        (Require, "127.0.0.1", None, None),
        (Require, "127.0.0.1", Some(&other), Some("UnknownIssuer")),
        (VerifyCa, "127.0.0.1", Some(&ca), None),
        (VerifyCa, "localhost", Some(&other), Some("UnknownIssuer")),
        (VerifyFull, "localhost", Some(&ca), None),
        (VerifyFull, "127.0.0.1", Some(&ca), Some("not valid for name")),
        (VerifyFull, "localhost", Some(&other), Some("UnknownIssuer")),
        (VerifyFull, "localhost", None, Some("")),
        (VerifyFull, "localhost", Some(&certificates.path("missing.pem")), Some("missing.pem")),
    ] {
        let settings = Postgres {
            sslmode,
            host: host.to_owned(),
            ca: ca.map(|path: &PathBuf| Path::to_path_buf(path)),
            ..database.settings.clone()
        };
        let answer = plan(&settings, NAME, Topic::Processed).await;
        match (answer, error) {
            (Ok(_), None) => {}
            (Err(failure), Some(error)) => assert!(failure.cause.contains(error), "{sslmode:?} {failure:?}"),
            (answer, _) => panic!("{sslmode:?} {host} {ca:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_clear_if_tls_was_asked_for() {
    let server = Server::start("-c ssl=off", &[]);
    let database = Database::on(&server.url()).await;
    for (sslmode, is_spoken_to) in
        [(SslMode::Prefer, true), (SslMode::Require, false), (SslMode::VerifyFull, false)]
    {
        let settings = Postgres { sslmode, ..database.settings.clone() };
        let answer = plan(&settings, NAME, Topic::Processed).await;
        assert_eq!(answer.is_ok(), is_spoken_to, "{sslmode:?}: {answer:?}");
    }
}
