//! The actors: thin drivers that hold the real structs of core and do nothing but pass messages, as the real ones do.

mod barrier;
mod committer;
mod live;
mod mailbox;
mod partition;
mod parts;
mod reader;
mod store;
mod window;
mod work;
mod writer;

pub(crate) use live::{Around, Live};
pub(crate) use reader::Reader;
pub(crate) use store::Store;
pub(crate) use writer::{Command, Writer};
