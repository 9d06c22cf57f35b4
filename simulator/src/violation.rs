//! A rule that was broken.

/// What the rules forbid, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

/// Something, or a violation.
pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// Ends with a violation.
macro_rules! violated {
    ($($text:tt)*) => { return Err($crate::violation::Violation(format!($($text)*))) };
}
pub(crate) use violated;
