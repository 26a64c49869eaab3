//! What there can be at a path of a document.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::WriterId;
use crate::kinds::property::{LIST, TEXT};
use crate::position::is_position;

/// Begins the keys of the cells of a list that say where elements were moved to: their positions follow.
pub(crate) const MOVED: u8 = 1;

/// What is at a path. Kinds are stored: each is a cell of its own, so two that were written concurrently are both kept (a
/// [conflict](crate::Conflict)), and a read shows the one that comes first here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A nested map.
    Map,
    /// A list: elements in an order, each with what it holds.
    List,
    /// A text that several replicas type into.
    Text,
    /// One value, be it an array: of concurrent ones the latest shows.
    Register,
    /// A sum of what every replica adds and takes away.
    Counter,
    /// A set of values: added and removed concurrently, an element is there.
    Set,
    /// The greatest value written.
    Max,
    /// The least value written.
    Min,
    /// A kind of a later version: kept and sent on, neither read nor written.
    Other(u8),
}

impl Kind {
    /// The byte that stands for it in fields, part of the format. 0xfe and 0xff never do.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Map => 1,
            Self::Register => 2,
            Self::Counter => 3,
            Self::Set => 4,
            Self::Max => 5,
            Self::Min => 6,
            Self::Text => TEXT,
            Self::List => LIST,
            Self::Other(code) => code,
        }
    }

    /// Whether this can be the key of one of its cells.
    pub(crate) fn takes_key(self, key: &[u8]) -> bool {
        match self {
            Self::Map | Self::Register | Self::Max | Self::Min => key.is_empty(),
            Self::Counter => key.len() == WriterId::LEN,
            Self::Set => !key.is_empty(),
            // None of a text that is explicitly empty. Below the positions of characters is room for what later versions put there.
            Self::Text => key.first().is_none_or(|first| *first < 0x20) || is_position(key),
            // None of a list that is explicitly empty. What is in an element lies below a segment of its own.
            Self::List => match key.split_first() {
                Some((&MOVED, position)) => is_position(position),
                other => other.is_none_or(|(first, _)| *first < 0x20),
            },
            Self::Other(_) => true,
        }
    }

    pub(crate) const fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Map,
            2 => Self::Register,
            3 => Self::Counter,
            4 => Self::Set,
            5 => Self::Max,
            6 => Self::Min,
            TEXT => Self::Text,
            LIST => Self::List,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::List => "list",
            Self::Text => "text",
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Max => "maximum",
            Self::Min => "minimum",
            Self::Other(_) => "kind of a later version",
        })
    }
}
