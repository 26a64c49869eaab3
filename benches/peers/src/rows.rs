//! The rows of the tables, and the steps that measure them.

/// The columns, ours first.
pub(crate) const LIBRARIES: [&str; 5] = ["driftless", "automerge", "loro", "yrs", "crdts"];

/// A step: one process for each library and size. In the order in which they run.
pub(crate) const STEPS: [&str; 11] =
    ["build", "load", "read", "delta", "concurrent", "overwrite", "delete", "words", "snapshots", "wordnet", "nearest"];

/// A row of a table: less is better in all of them.
pub(crate) struct Row {
    /// Name of the figure, as a step prints it.
    pub(crate) id: &'static str,
    pub(crate) step: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// The libraries that have no figure, each with the reason.
    pub(crate) without: &'static [(&'static str, &'static str)],
}

const fn row(step: &'static str, id: &'static str, what: &'static str, unit: &'static str) -> Row {
    Row { id, step, what, unit, without: &[] }
}

const NO_SNAPSHOT: &[(&str, &str)] = {
    const BY_HISTORY: &str = "has no snapshots to hold, and reads the past by its history instead";
    const BY_COPY: &str = "has no snapshots but copies of the whole";
    &[("automerge", BY_HISTORY), ("loro", BY_HISTORY), ("yrs", BY_HISTORY), ("crdts", BY_COPY)]
};

const NO_NEAREST: &[(&str, &str)] = {
    const REASON: &str = "has no vectors";
    &[("automerge", REASON), ("loro", REASON), ("yrs", REASON), ("crdts", REASON)]
};

pub(crate) const ROWS: [Row; 38] = [
    row("build", "build", "build, per node", "µs"),
    Row {
        without: NO_SNAPSHOT,
        ..row("snapshots", "build_free", "— without snapshots, in turn with the next row", "µs")
    },
    Row { without: NO_SNAPSHOT, ..row("snapshots", "build_held", "— with a snapshot held before each edit", "µs") },
    row("build", "heap", "heap, per node", "B"),
    row("build", "encode", "encode, per node", "µs"),
    row("build", "encoded", "encoded, per node", "B"),
    row("build", "compress", "encode compressed, per node", "µs"),
    row("build", "compressed", "encoded compressed, per node", "B"),
    row("words", "words_compressed", "— of random words as names, in order", "B"),
    row("load", "load", "load, per node", "µs"),
    row("load", "load_all", "load, one write and a read of each node, per node", "µs"),
    row("load", "heap_loaded", "heap after that, per node", "B"),
    row("read", "read", "read a property of every node, per node", "ns"),
    row("delta", "write", "100 random writes", "µs"),
    row("delta", "delta", "— delta by version made and applied", "µs"),
    row("delta", "delta_bytes", "— that delta", "B"),
    row("delta", "send", "100 random writes, their update made and applied", "µs"),
    row("delta", "send_bytes", "— that update", "B"),
    row("concurrent", "concurrent", "1,000 and 1,000 concurrent writes exchanged", "ms"),
    row("concurrent", "concurrent_bytes", "— both deltas", "KB"),
    row("overwrite", "overwrite", "overwrite each weight ten times, per write", "µs"),
    row("overwrite", "growth", "— growth of the encoded state", "%"),
    row("delete", "delete", "delete all nodes, per node", "µs"),
    row("delete", "left", "— encoded bytes left, per deleted node", "B"),
    Row {
        without: &[
            ("automerge", "keeps all history"),
            ("yrs", "has collected its garbage already"),
            ("crdts", "has nothing left to drop"),
        ],
        ..row("delete", "trimmed", "— encoded bytes left in all, pruned or trimmed", "B")
    },
    row("wordnet", "wordnet_build", "build", "s"),
    row("wordnet", "wordnet_heap", "heap", "MB"),
    row("wordnet", "wordnet_encode", "encode", "s"),
    row("wordnet", "wordnet_encoded", "encoded", "MB"),
    row("wordnet", "wordnet_compress", "encode compressed", "s"),
    row("wordnet", "wordnet_compressed", "encoded compressed", "MB"),
    row("wordnet", "wordnet_load", "load", "s"),
    row("wordnet", "wordnet_load_all", "load, one write and a read of each node", "s"),
    Row { without: NO_NEAREST, ..row("nearest", "loop_f32", "yardstick: plain loop over contiguous f32", "ms") },
    Row { without: NO_NEAREST, ..row("nearest", "nearest_f32", "vectors of f32", "ms") },
    Row { without: NO_NEAREST, ..row("nearest", "nearest_f16", "vectors of f16", "ms") },
    Row { without: NO_NEAREST, ..row("nearest", "nearest_i8", "vectors of i8", "ms") },
    Row { without: NO_NEAREST, ..row("nearest", "vector_heap", "heap of a node with a vector of f32", "B") },
];

/// True if a library takes part in a step.
pub(crate) fn takes_part(step: &str, library: &str) -> bool {
    !matches!(step, "snapshots" | "nearest") || library == LIBRARIES[0]
}
