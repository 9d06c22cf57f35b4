//! Events are counted: the owners of shares of the windows.

pub(crate) mod grouped;
pub(crate) mod render;
pub(crate) mod window;
