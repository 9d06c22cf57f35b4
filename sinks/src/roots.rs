//! Whose certificates are believed.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The certificates (PEM) in `ca`; without it, those of the system.
///
/// # Errors
/// In words, if there are none.
pub(crate) fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let system = rustls_native_certs::load_native_certs();
        // One that cannot be read is no reason to do without the others.
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            return Err(
                "the system has no certificates to check the server's against: name a file as `ca`".into()
            );
        }
        return Ok(roots);
    };
    let wrong = |error: &dyn std::fmt::Display| format!("`ca` {}: {error}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"no certificate in it")) } else { Ok(roots) }
}
