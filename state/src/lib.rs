//! The local copy of the window state, and the codec of its changelog.
//!
//! The truth is the changelog topic: an epoch's state changes are committed with its outputs and offsets.
//! The store here only saves reading that topic again, and is allowed to lie. Two facts make that safe:
//!
//! 1. **Whatever it says is verified.** With each epoch, one atomic batch writes the rows and one more, the
//!    [`Base`]: the epoch, the number of rows and an order-independent hash of them all. [`Store::open`]
//!    reads every row and compares. sled answers damage with errors, panics, endless errors or silently
//!    missing rows; all of these end as [`Opened::Damaged`], and the copy is rebuilt.
//! 2. **Whatever it lacks can be caught up.** A change is absolute (a row's new value or its deletion), so
//!    Changelog records that are already included do no harm when they are applied again, in order.
//!
//! # Why nothing is flushed after an epoch
//! sled keeps writes in its own buffers for up to 500 ms, then writes and syncs them in the background.
//! A process that is killed loses those last epochs, but only whole ones: each is one atomic batch (or several,
//! see [`Base::reaches`]). The base found then is an earlier one, and recovery reads the changelog from the
//! positions stored with it. Power loss can do worse, because writes reach the disk in any order: the file
//! may end early (an earlier base again), or have holes. A hole is found by sled's checksums or by ours of
//! the whole content, and the copy is rebuilt from the topic. A flush would make both rarer, never impossible,
//! and correctness rests on neither.
//!
//! # Size
//! One row a window, about 100 bytes to a few hundred. sled is at its best with values of 0.5 to 32 KB, and
//! takes 5 to 10 times the live size on disk with small ones; both are accepted, for the windows that are
//! open at one time are few and the rows of an epoch fewer.

mod base;
mod codec;
mod dir;
mod error;
mod image;
mod local;
mod sled_dir;
mod store;

pub use base::Base;
pub use codec::{
    CodecError, MAX_KEY_LEN, OWNER_KEY, OwnerRecord, PROGRESS_KEY, ProgressRecord, Row, committed_epoch,
    decode, decode_key, decode_value, encode_key, encode_owner, encode_progress, encode_value,
};
pub use dir::StateDir;
pub use error::StateError;
pub use image::MemoryImage;
pub use local::LocalStore;
pub use store::{Opened, Store};
