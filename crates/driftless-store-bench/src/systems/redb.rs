//! redb: one table, durability immediate.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::{BATCH, Edits, System, Until, id, name, number, pick, repeat, writers};
use crate::Failure;

pub(crate) struct Redb;

const NODES: TableDefinition<'_, &str, (&str, i64)> = TableDefinition::new("node");

fn database(directory: &Path) -> Result<Database, Failure> {
    Ok(Database::create(directory.join("store.redb"))?)
}

fn update(transaction: &WriteTransaction, n: u64, nodes: impl Iterator<Item = u64>) -> Result<(), Failure> {
    let mut table = transaction.open_table(NODES)?;
    for node in nodes {
        let id = id(node);
        let name = table.get(id.as_str())?.ok_or("no node was changed")?.value().0.to_owned();
        table.insert(id.as_str(), (name.as_str(), number(n)))?;
    }
    Ok(())
}

impl System for Redb {
    fn build(&self, directory: &Path, nodes: u64) -> Result<(), Failure> {
        let database = database(directory)?;
        for first in (0..nodes).step_by(BATCH as usize) {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(NODES)?;
                for node in first..(first + BATCH).min(nodes) {
                    table.insert(id(node).as_str(), (name(node).as_str(), 0))?;
                }
            }
            transaction.commit()?;
        }
        Ok(())
    }

    fn edit(&self, directory: &Path, nodes: u64, count: u64, until: Until) -> Result<Edits, Failure> {
        let database = Arc::new(database(directory)?);
        writers(count, until, |writer| {
            let database = Arc::clone(&database);
            Ok(move |n| {
                let transaction = database.begin_write()?;
                update(&transaction, n, std::iter::once(pick(writer, n, nodes)))?;
                Ok(transaction.commit()?)
            })
        })
    }

    fn batch(&self, directory: &Path, nodes: u64, until: Until) -> Result<Edits, Failure> {
        let database = database(directory)?;
        let begin = std::time::Instant::now();
        let batches = repeat(until, |batch| {
            let transaction = database.begin_write()?;
            update(&transaction, batch + 1, (0..BATCH).map(|n| pick(0, batch * BATCH + n, nodes)))?;
            Ok(transaction.commit()?)
        })?;
        Ok(Edits { edits: batches * BATCH, elapsed: begin.elapsed(), counted: None })
    }

    fn open(&self, directory: &Path) -> Result<u64, Failure> {
        let database = database(directory)?;
        let table = database.begin_read()?.open_table(NODES)?;
        let mut nodes = HashMap::new();
        for entry in table.iter()? {
            let (id, value) = entry?;
            let (name, n) = value.value();
            nodes.insert(id.value().to_owned(), (name.to_owned(), n));
        }
        Ok(nodes.len() as u64)
    }
}
