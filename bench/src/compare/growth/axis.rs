//! What grows, and to what.

use std::fmt;

/// One thing that can grow while all else is at its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// Of the input.
    Partitions,
    /// Distinct services in the input.
    Services,
    /// Rules that count the same event type, which is the most that they can cost.
    Rules,
    /// Bytes of an event.
    Bytes,
    /// Seconds of a tumbling window.
    Window,
}

/// What is in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Of `tidegate generate`.
    Sample,
    /// Events of one shape: so many services, so many bytes each.
    Plain { services: u64, bytes: usize },
}

/// A value of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) axis: Axis,
    pub(super) value: u64,
}

/// Mean size of sample traffic's events.
const SAMPLE_BYTES: usize = 338;
/// Sample traffic has as many services.
const SAMPLE_SERVICES: u64 = 200;
/// Bytes of an input, at most.
const INPUT_BYTES: u64 = 1 << 30;

impl Axis {
    /// All, in the order of the report.
    pub(super) const ALL: [Self; 5] =
        [Self::Partitions, Self::Services, Self::Rules, Self::Bytes, Self::Window];

    /// What is measured, ascending.
    pub(super) fn values(self) -> &'static [u64] {
        match self {
            Self::Partitions => &[1, 3, 6, 12],
            Self::Services => &[10, 1000, 100_000],
            Self::Rules => &[1, 5, 20],
            Self::Bytes => &[100, 338, 1024, 10_240],
            Self::Window => &[60, 600, 3600],
        }
    }

    /// For titles.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Partitions => "input partitions",
            Self::Services => "services",
            Self::Rules => "rules",
            Self::Bytes => "bytes per event",
            Self::Window => "window, seconds",
        }
    }
}

impl Point {
    /// Those of all axes.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Axis::ALL.into_iter().flat_map(|axis| axis.values().iter().map(move |&value| Self { axis, value }))
    }

    pub(super) fn traffic(self) -> Traffic {
        match self.axis {
            Axis::Services => Traffic::Plain { services: self.value, bytes: SAMPLE_BYTES },
            Axis::Bytes => Traffic::Plain { services: SAMPLE_SERVICES, bytes: self.value as usize },
            _ => Traffic::Sample,
        }
    }

    /// Events of the input when others have `events`.
    pub(super) fn events(self, events: u64) -> u64 {
        match self.axis {
            Axis::Bytes => events.min(INPUT_BYTES / self.value),
            _ => events,
        }
    }

    /// The input topic; points that differ in the configuration alone share one.
    pub(super) fn topic(self) -> String {
        match self.axis {
            Axis::Partitions => format!("growth-partitions-{}", self.value),
            Axis::Services => format!("growth-services-{}", self.value),
            Axis::Bytes => format!("growth-bytes-{}", self.value),
            Axis::Rules | Axis::Window => "growth-partitions-12".to_owned(),
        }
    }

    pub(super) fn partitions(self) -> u32 {
        if self.axis == Axis::Partitions { self.value as u32 } else { 12 }
    }

    /// What differs from the default.
    pub(super) fn configuration(self) -> String {
        let rule = |number: u64, window: u64| {
            format!(
                "\n[[rules]]\nname = \"rule-{number}\"\nevent_type = \"error\"\nwindow = \"{window}s\"\n\
                 threshold = {}\nmessage = \"{{count}} errors\"\n",
                50 + number
            )
        };
        match self.axis {
            Axis::Rules => (0..self.value).map(|number| rule(number, 60)).collect(),
            Axis::Window => rule(0, self.value),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.axis.name(), self.value)
    }
}
