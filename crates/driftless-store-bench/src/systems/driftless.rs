//! driftless-store: a graph in a directory.

use std::path::Path;
use std::sync::Mutex;

use driftless::{Graph, NodeId};
use driftless_store::{SharedStore, Store, Usage};

use super::{BATCH, Edits, System, Until, id, name, number, pick, repeat, writers};
use crate::Failure;

pub(crate) struct Driftless;

fn set(n: u64, node: u64, g: &mut driftless::Edit<'_, Graph>) -> Result<(), driftless::EditError> {
    g.set(NodeId::named(&id(node)), "/n", number(n))
}

fn counted(edits: Edits, before: Usage, after: Usage) -> Edits {
    Edits { counted: Some((after.written - before.written, after.syncs - before.syncs)), ..edits }
}

impl System for Driftless {
    fn build(&self, directory: &Path, nodes: u64) -> Result<(), Failure> {
        let mut store = Store::<Graph>::open(directory)?;
        for first in (0..nodes).step_by(BATCH as usize) {
            store.edit(|g| {
                for node in first..(first + BATCH).min(nodes) {
                    let added = g.add_node(id(node).as_str())?;
                    g.set(added, "/name", name(node).as_str())?;
                    g.set(added, "/n", 0)?;
                }
                Ok(())
            })?;
        }
        Ok(store.close()?)
    }

    fn edit(&self, directory: &Path, nodes: u64, count: u64, until: Until) -> Result<Edits, Failure> {
        let store = Store::<Graph>::open(directory)?;
        if count == 1 {
            let before = store.usage();
            let store = Mutex::new(store);
            let edits = writers(1, until, |_| {
                Ok(|n| {
                    let mut store = store.lock().map_err(|_| "poisoned")?;
                    store.edit(|g| set(n, pick(0, n, nodes), g))?;
                    Ok(())
                })
            })?;
            let store = store.into_inner().map_err(|_| "poisoned")?;
            return Ok(counted(edits, before, store.usage()));
        }
        let store = SharedStore::new(store)?;
        let before = store.lock().usage();
        let edits = writers(count, until, |writer| {
            let store = store.clone();
            Ok(move |n| {
                store.edit(|g| set(n, pick(writer, n, nodes), g))?;
                Ok(())
            })
        })?;
        let after = store.lock().usage();
        Ok(counted(edits, before, after))
    }

    fn batch(&self, directory: &Path, nodes: u64, until: Until) -> Result<Edits, Failure> {
        let mut store = Store::<Graph>::open(directory)?;
        let before = store.usage();
        let begin = std::time::Instant::now();
        let batches = repeat(until, |batch| {
            store.edit(|g| (0..BATCH).try_for_each(|n| set(batch + 1, pick(0, batch * BATCH + n, nodes), g)))?;
            Ok(())
        })?;
        let edits = Edits { edits: batches * BATCH, elapsed: begin.elapsed(), counted: None };
        Ok(counted(edits, before, store.usage()))
    }

    fn open(&self, directory: &Path) -> Result<u64, Failure> {
        let store = Store::<Graph>::open(directory)?;
        Ok(store.state().node_count() as u64)
    }
}
