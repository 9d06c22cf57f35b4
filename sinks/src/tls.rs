//! TLS of connections to destinations: rustls with its provider named, so that no default of the process is needed.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

/// What of the server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify<'a> {
    /// Nothing.
    Nothing,
    /// That it is signed by one of these; whose it is does not matter.
    Signature(Roots<'a>),
    /// That it is signed by one of these, and is the host's.
    Host(Roots<'a>),
}

/// The certificates that the server's is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roots<'a> {
    /// Those of the system.
    System,
    /// Those of this file (PEM).
    File(&'a Path),
}

/// A client's configuration. Certificates are read now.
///
/// # Errors
/// If there are no certificates to check against, or they cannot be read; in words.
pub(crate) fn client(verify: Verify<'_>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let lenient = |roots| Arc::new(Lenient { roots, provider: provider.clone() });
    Ok(match verify {
        Verify::Host(from) => builder.with_root_certificates(roots(from)?),
        Verify::Signature(from) => {
            builder.dangerous().with_custom_certificate_verifier(lenient(Some(roots(from)?)))
        }
        Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(lenient(None)),
    }
    .with_no_client_auth())
}

fn roots(from: Roots<'_>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match from {
        Roots::System => {
            // Some of them may be unreadable; only without any is nothing possible.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err("the system has no certificates to check the server's against: set ca".to_owned());
            }
        }
        Roots::File(path) => {
            let problem = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| problem(&error))? {
                let certificate = certificate.map_err(|error| problem(&error))?;
                store.add(certificate).map_err(|error| problem(&error))?;
            }
            if store.is_empty() {
                return Err(problem(&"no certificate in it"));
            }
        }
    }
    Ok(store)
}

/// Looks at a certificate's signature if it has roots, and never at whose it is. That the server has the certificate's key
/// is checked in any case.
#[derive(Debug)]
struct Lenient {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
