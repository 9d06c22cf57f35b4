//! What several types of sinks have: secrets that are given as they are or as a file, and certificates.

use std::{path::PathBuf, time::Duration};

use crate::{
    kind::{FilePath, Optional, Period, SecretText},
    secret::Secret,
    sink::SecretSource,
    walk::Walk,
};

/// The names, examples and texts of a secret's two keys.
pub(super) struct Pair {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
    pub(super) doc: &'static str,
    pub(super) file_name: &'static str,
    pub(super) file_example: &'static str,
}

const FILE_DOC: &str = "The same, read from this file.";

/// Reads a secret that is given as it is or as a file, but not both.
pub(super) fn secret(walk: &mut Walk<'_>, kind: SecretText, pair: &Pair) -> SecretSource {
    let Pair { name, example, doc, file_name, file_example } = *pair;
    let value = walk.optional(name, &Optional { kind, absent: "none" }, Secret::new(example), doc);
    let file =
        walk.optional(file_name, &Optional { kind: FilePath, absent: "none" }, file_example.into(), FILE_DOC);
    if walk.is_written_here(name) && walk.is_written_here(file_name) {
        let what = format!("and `{name}` are both given");
        walk.conflict_here(&[file_name], &what, "allowed: one of the two");
    }
    SecretSource { value, file }
}

/// Whether one of the two is there, whatever it is worth.
pub(super) fn is_given(walk: &Walk<'_>, pair: &Pair) -> bool {
    walk.is_written_here(pair.name) || walk.is_written_here(pair.file_name)
}

/// The password of a user.
pub(super) const PASSWORD: Pair = Pair {
    name: "password",
    example: "${PASSWORD}",
    doc: "Password of the user.",
    file_name: "password_file",
    file_example: "/run/secrets/password",
};

/// Certificates of authorities.
pub(super) fn ca(walk: &mut Walk<'_>) -> Option<PathBuf> {
    walk.optional(
        "ca",
        &Optional { kind: FilePath, absent: "those that the system trusts" },
        "/etc/ssl/ca.pem".into(),
        "Certificates (PEM) that the server's is checked against.",
    )
}

/// How long a request may take.
pub(super) const REQUEST: Period = Period { min: Duration::from_millis(100), max: Duration::from_secs(600) };
