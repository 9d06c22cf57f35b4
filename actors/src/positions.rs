//! How far each input partition is, for everybody who looks.

use std::sync::{Arc, atomic::AtomicI64};

/// One offset for each input partition, such as the one up to which all is committed or needed no commit.
pub type Positions = Arc<[AtomicI64]>;
