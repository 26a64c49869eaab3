//! Nested values by path. For now: paths and scalar values, as the properties of nodes and edges.

mod path;
mod value;

pub use path::Path;
pub use value::Value;

pub(crate) use path::{FieldBytes, field_of_pointer, path_of_field};
pub(crate) use value::kind;
