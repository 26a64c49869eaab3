//! A folder of files that anything moves.
//!
//! | file | idea |
//! |---|---|
//! | `handle` | [`Folder`]: opening one, and what can be done with it |
//! | `pull` | reading what the files hold, and repairing |
//! | `push` | writing what the others lack, and deleting what a checkpoint replaces |
//! | `chain` | what the files of one device give to a reader who has nothing |
//! | `format` | the bytes of a file |
//! | `names` | names of files, and what else lies in a folder |
//! | `files` | listing, reading, writing: all that touches the disk |
//! | `report` | what a sync did, what it left out and why |

mod chain;
mod files;
mod format;
mod handle;
mod names;
mod pull;
mod push;
mod report;

pub use format::MAX_PARTS;
pub use handle::{Folder, MAX_CHAIN_FILES, MAX_FILE_LEN, MIN_CHAIN_LEN};
pub use report::{Diverged, FolderError, FolderReport, MergedFile, SkipReason, SkippedFile, WrittenFile};
