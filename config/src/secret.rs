//! Text that must not be seen.

use std::fmt;

/// A value that may be a password or a key. `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What is shown in the place of a secret.
pub(crate) const MASK: &str = "***";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Whether a key of this name holds something to hide: librdkafka's passwords, passphrases, client secrets,
/// tokens, PEM blobs and SASL/OAUTHBEARER configuration, and the Java client's JAAS line; and sinks' API keys.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "password",
        "passphrase",
        "passwd",
        "secret",
        "token",
        "credential",
        "jaas",
        "pem",
        "private",
        "oauthbearer.config",
        "api_key",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether the values below this path are secrets so often that a name that is mistyped may hide one.
pub(crate) fn is_delicate(path: &str) -> bool {
    path.starts_with("kafka.properties") || path.starts_with("sinks")
}
