//! What can go wrong with telemetry.

/// An error of setting telemetry up or of reading metrics. None of them concerns the data.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter in an environment variable cannot be understood.
    #[error("{variable}: {cause}; expected something like `info,tidegate=debug`")]
    LogFilter {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// Something in this process has set up logging before.
    #[error("logging is already set up in this process: {0}")]
    LogsAlreadySet(String),
    /// The export to a collector cannot be set up.
    #[error("export by OpenTelemetry: {0}; OTEL_SDK_DISABLED=true turns it off")]
    Otlp(String),
    /// The metrics cannot be registered or written out.
    #[error("metrics: {0}")]
    Metrics(String),
}
