//! The values that labels can take. All of them are known when the daemon starts, so no input, however
//! hostile, can add a time series.

macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        impl $name {
            /// All values, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of the label.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }
    };
}

label_values! {
    /// A stage of the pipeline, label `stage`.
    Stage {
        /// Reads the input.
        Reader = "reader",
        /// Parses events and drops bots.
        Filter = "filter",
        /// Looks up geo data and writes the output records.
        Enrich = "enrich",
        /// Counts in windows and raises alerts.
        Window = "window",
        /// Commits epochs.
        Committer = "committer",
    }
}

label_values! {
    /// A part of a checkpoint, label `phase` of `tidegate_checkpoint_duration_seconds`.
    CheckpointPhase {
        /// From the barrier's request until the last partition has sealed the epoch.
        Cut = "cut",
        /// From the last seal until the last window actor's changes are there.
        Align = "align",
        /// Until the log has acknowledged all records.
        Flush = "flush",
        /// Adding the input offsets.
        Offsets = "offsets",
        /// Ending the transaction.
        Commit = "commit",
        /// Applying the changes to the local state store.
        Store = "store",
        /// From the barrier's request to the end of the commit.
        Total = "total",
    }
}

label_values! {
    /// What is exported through OpenTelemetry, label `signal` of `tidegate_telemetry_dropped_total`.
    Signal {
        /// Spans.
        Traces = "traces",
        /// Log lines.
        Logs = "logs",
        /// Exports of all metrics.
        Metrics = "metrics",
    }
}

/// The label values that depend on the configuration. Handles are then asked for by index.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// Number of input partitions.
    pub partitions: u32,
    /// Real names of the output topics, in the order of [`Topic`](tidegate_core::record::Topic).
    pub topics: Vec<String>,
    /// Names of the rules, in the order of the configuration.
    pub rules: Vec<String>,
    /// Names of the sinks, in the order of the configuration.
    pub sinks: Vec<String>,
}
