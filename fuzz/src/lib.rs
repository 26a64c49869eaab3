//! What the fuzz targets share.
//!
//! | file | idea |
//! |---|---|
//! | `input` | bytes as choices |
//! | `reading` | everything that can be read, written back and gone back to does not panic and agrees |
//! | `talk` | two replicas over a clean network get equal, within bounds |
//! | `wire` | deltas that nobody would make and every reader takes for well-formed |
//!
//! One module for each target that is more than a few lines long.

pub mod folder_file;
pub mod frame;
mod input;
pub mod json;
pub mod ops;
mod reading;
pub mod sessions;
mod talk;
pub mod texts;
pub mod trees;
pub mod wellformed;
mod wire;
