//! What happened, for a program to read.

use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::check::contested;
use crate::editor::Kind;
use crate::mesh::NAMES;
use crate::words::ms;

pub(crate) fn json(outcome: &Outcome) -> Value {
    let Outcome { file, imported, story, verdict, .. } = outcome;
    json!({
        "seed": outcome.seed,
        "data": {
            "file": file.name,
            "bytes": file.bytes,
            "lines": file.lines,
            "concepts": imported.concepts,
            "relations": imported.relations,
        },
        "import": {
            "transactions": imported.transactions,
            "writes": outcome.imported_writes,
            "ms": ms(imported.took),
        },
        "brought_up": story.brought_up,
        "edits": edits(outcome),
        "healing": story.healing,
        "pruned": story.pruned,
        "conflicts": conflicts(outcome),
        "result": {
            "totals": outcome.totals,
            "equal": {
                "states": verdict.states,
                "versions": verdict.versions,
                "fingerprints": verdict.fingerprints,
                "recomputation": outcome.differences.is_empty(),
            },
            "version": NAMES.iter().zip(outcome.model_version).map(name_and_number).collect::<Map<_, _>>(),
            "fingerprint": outcome.mesh.fingerprint(0),
            "recomputation": {
                "edits": outcome.mesh.log.len(),
                "ms": ms(outcome.replayed),
                "compare_ms": ms(outcome.compared),
                "differences": outcome.differences,
            },
        },
    })
}

fn edits(outcome: &Outcome) -> Map<String, Value> {
    let counts = |kind: Kind| (0..NAMES.len()).map(move |who| outcome.count_of(kind, who) as u64);
    let row = |kind: Kind| NAMES.iter().zip(counts(kind)).map(name_and_number).collect::<Map<_, _>>();
    Kind::ALL.iter().map(|(kind, _, name)| ((*name).to_owned(), row(*kind).into())).collect()
}

fn name_and_number((name, number): (&&str, u64)) -> (String, Value) {
    ((*name).to_owned(), number.into())
}

fn conflicts(outcome: &Outcome) -> Vec<Value> {
    contested(outcome.mesh.graph(0))
        .map(|(of, conflict)| {
            let candidates: Vec<Value> = conflict
                .candidates
                .iter()
                .map(|candidate| {
                    let value = candidate.value().map_or(Value::Null, |value| value.to_json());
                    let writer = outcome.mesh.name_of(candidate.replica());
                    json!({ "value": value, "writer": writer, "millis": candidate.stamp.millis() })
                })
                .collect();
            json!({
                "of": outcome.words_for(of),
                "path": conflict.path.to_string(),
                "hidden": !outcome.is_there(of),
                "candidates": candidates,
            })
        })
        .collect()
}
