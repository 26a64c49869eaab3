//! One conflict by the beginning of its id, as a person types it.

use crate::conflict::Conflict;
use crate::conflict::list::Disputed;
use crate::document::{Document, Text};
use crate::error::FindConflictError;
use crate::graph::Graph;

/// The hexadecimal digits of an id.
const DIGITS: usize = 66;

/// So many ids stand in an error at most.
const NAMED: usize = 16;

macro_rules! finding {
    ($type:ty) => {
        impl $type {
            /// Finds the one conflict whose id begins with these hexadecimal digits, of either case. O(conflicts).
            ///
            /// # Errors
            ///
            /// The digits are none, or no conflict's id begins with them, or several conflicts' ids do.
            ///
            /// ```
            /// use driftless::{Document, FindConflictError, Replica, Resolution};
            /// let (mut laptop, mut phone) = (Replica::<Document>::new(), Replica::<Document>::new());
            /// laptop.edit(|d| d.set("/name", "Ada"))?;
            /// let (_, delta) = phone.edit(|d| d.set("/name", "Augusta"))?;
            /// laptop.merge(&delta)?;
            ///
            /// let typed = laptop.state().conflicts().next().ok_or("a conflict")?.id.short();
            /// let id = laptop.state().conflict(&typed)?.id;
            /// laptop.edit(|d| d.resolve(id, Resolution::LastWriter))?;
            /// assert_eq!(laptop.state().conflict(&typed), Err(FindConflictError::NoneSuch(typed)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn conflict(&self, prefix: &str) -> Result<Conflict<'_>, FindConflictError> {
                let is_hex = (1..=DIGITS).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_hexdigit());
                if !is_hex {
                    return Err(FindConflictError::NotHex(prefix.chars().take(DIGITS).collect()));
                }
                let prefix = prefix.to_ascii_lowercase();
                let mut found = self.source().all().filter(|conflict| conflict.id.to_string().starts_with(&prefix));
                let Some(first) = found.next() else { return Err(FindConflictError::NoneSuch(prefix)) };
                let mut ids: Vec<_> = found.take(NAMED - 1).map(|conflict| conflict.id).collect();
                if ids.is_empty() {
                    return Ok(first);
                }
                ids.push(first.id);
                ids.sort_unstable();
                Err(FindConflictError::Ambiguous { prefix, ids })
            }
        }
    };
}

finding!(Graph);
finding!(Document);
finding!(Text);
