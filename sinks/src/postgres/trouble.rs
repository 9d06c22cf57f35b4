//! What an error of the server or of the way to it means for a delivery.

use std::error::Error as _;

use tokio_postgres::{Error, error::SqlState};

use crate::Failure;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A row is refused for good.
    Refused(String),
    /// A row with this key, or a value that must be unique, is there already.
    Repeated(String),
    /// Somebody else holds a lock for longer than one waits for it.
    Locked,
    /// Anything else: it may be tried again. What was asked for last may have been done or not.
    Failed(String),
}

impl Trouble {
    /// The failure, where there is no row to refuse.
    pub(super) fn into_failure(self) -> Failure {
        Failure::new(match self {
            Self::Refused(cause) | Self::Repeated(cause) | Self::Failed(cause) => cause,
            Self::Locked => "another session holds a lock on the table or on the positions; \
                             see pg_locks for which one"
                .to_owned(),
        })
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else { return Self::Failed(chain(&error)) };
        let code = said.code();
        let text = format!("{} (SQLSTATE {})", said.message(), code.code());
        if *code == SqlState::UNIQUE_VIOLATION {
            return Self::Repeated(text);
        }
        if *code == SqlState::LOCK_NOT_AVAILABLE {
            return Self::Locked;
        }
        if is_refusal(code.code()) {
            // The detail says which part of a value it is; of a constraint it is the whole row, which is too much.
            let detail = said.detail().filter(|_| code.code().starts_with("22"));
            return Self::Refused(detail.map_or(text.clone(), |detail| format!("{text}: {detail}")));
        }
        Self::Failed(match advice(code) {
            Some(advice) => format!("{text}; {advice}"),
            None => text,
        })
    }
}

/// Whether an error is about what is in a row: data exceptions, constraints, a view's check, limits such as the depth of
/// JSON or the size of an index entry, and what a trigger raises.
fn is_refusal(code: &str) -> bool {
    ["22", "23", "44", "54"].iter().any(|class| code.starts_with(class))
        || code == SqlState::RAISE_EXCEPTION.code()
}

/// What a person can do.
fn advice(code: &SqlState) -> Option<&'static str> {
    Some(match *code {
        SqlState::UNDEFINED_TABLE => "create it with tidegate sinks apply",
        SqlState::UNDEFINED_COLUMN => "add it with tidegate sinks apply --alter",
        SqlState::INVALID_SCHEMA_NAME => "create the schema, then run tidegate sinks apply",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "grant the sink's user select and insert on its table, select, insert and update on \
             tidegate_sink_offsets, and temporary on the database"
        }
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "see the sink's user and password, and the server's pg_hba.conf"
        }
        SqlState::INVALID_CATALOG_NAME => "see the sink's database",
        SqlState::TOO_MANY_CONNECTIONS => "raise the server's max_connections, or close other sessions",
        SqlState::DISK_FULL => "the server's disk is full",
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            "this server takes no writes; name all hosts and target_session_attrs=read-write in the url"
        }
        _ => return None,
    })
}

/// The error and what it comes of. The client's errors hold neither the address nor the password.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_a_row_is_a_refusal_and_all_else_is_tried_again() {
        for code in ["22P05", "22001", "22003", "23502", "23514", "44000", "54001", "P0001"] {
            assert!(is_refusal(code), "{code}");
        }
        for code in ["08006", "25P02", "28P01", "40001", "42P01", "42501", "53300", "57014", "57P01", "XX000"]
        {
            assert!(!is_refusal(code), "{code}");
        }
    }
}
