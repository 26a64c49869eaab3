//! A folder of files that anything moves.
//!
//! | file | idea |
//! |---|---|
//! | `handle` | [`Folder`]: opening one, and what can be done with it |
//! | `pull` | reading what others wrote |
//! | `push` | writing what others lack |
//! | `chain` | what the files of one device give to somebody who has nothing |
//! | `files` | names, listing, reading, writing: all that touches the disk |
//! | `report` | what a sync did, what it left out and why |

mod chain;
mod files;
mod handle;
mod pull;
mod push;
mod report;

pub use handle::{Folder, MAX_CHAIN_FILES, MAX_FILE_LEN, MIN_CHAIN_LEN};
pub use report::{FolderError, FolderReport, MergedFile, SkipReason, SkippedFile, WrittenFile};
