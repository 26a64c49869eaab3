//! Kinds of entities and of payloads, which the codec shares with graphs, documents and standalone types. The numbers are part
//! of the format.

/// Kinds of entities of a graph.
pub(crate) mod entity {
    pub(crate) const NODE: u8 = 1;
    pub(crate) const EDGE: u8 = 2;
}

/// The spelling of the fields of properties, as far as texts and lists are concerned.
pub(crate) mod property {
    /// A field that begins with this is a property.
    pub(crate) const PROPERTY: u8 = 2;
    /// Ends a segment of a path, after a zero byte. Kinds are less.
    pub(crate) const END: u8 = 0xfe;
    /// The kind of a text.
    pub(crate) const TEXT: u8 = 7;
    /// The kind of a list.
    pub(crate) const LIST: u8 = 8;
}

/// Kinds of payloads.
pub(crate) mod payload {
    pub(crate) const NULL: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const TRUE: u8 = 3;
    /// A whole number in its fewest bytes, big-endian.
    pub(crate) const INT: u8 = 4;
    /// The eight bytes of an `f64`, big-endian.
    pub(crate) const FLOAT: u8 = 5;
    pub(crate) const STR: u8 = 6;
    pub(crate) const BYTES: u8 = 7;
    /// MessagePack.
    pub(crate) const ARRAY: u8 = 8;
    /// Presence alone: the root of a node, a label.
    pub(crate) const UNIT: u8 = 16;
    /// The root of a node that was added by name.
    pub(crate) const NAME: u8 = 17;
    /// The root of an edge whose writer saw both its ends: ends, number and type.
    pub(crate) const ENDS: u8 = 18;
    /// An embedding: see `vector`.
    pub(crate) const VECTOR: u8 = 19;
    /// The root of an edge whose writer did not see both: a byte that tells which, then the same.
    pub(crate) const OPEN_ENDS: u8 = 20;
    /// The later text of an embedding.
    pub(crate) const LATER_TEXT: u8 = 21;
    /// The place of a node in a tree.
    pub(crate) const PLACE: u8 = 22;
    /// A character of a text: one Unicode scalar value in UTF-8.
    pub(crate) const LETTER: u8 = 23;
    /// The tags of texts that were put into one place at once and are meant to stand side by side, four bytes each.
    pub(crate) const SETTLED: u8 = 24;
    /// The position that an element of a list was moved to.
    pub(crate) const MOVED_TO: u8 = 25;
    /// A value of a standalone type, in MessagePack.
    pub(crate) const PACKED: u8 = 32;
    /// Presence of an element or key of a standalone type.
    pub(crate) const PRESENT: u8 = 33;
    /// False, where that is a state and not absence.
    pub(crate) const OFF: u8 = 34;
    /// True, where that is a state and not presence.
    pub(crate) const ON: u8 = 35;
    /// The totals of a counter.
    pub(crate) const TOTALS: u8 = 36;
}
