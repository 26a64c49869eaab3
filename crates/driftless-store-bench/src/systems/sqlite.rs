//! SQLite: one table, write-ahead log, synchronous=FULL.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{BATCH, Edits, System, Until, id, name, number, pick, repeat, writers};
use crate::Failure;

pub(crate) struct Sqlite {
    /// True if many writers share one connection behind a mutex, false if each has its own.
    pub(crate) shared: bool,
}

const UPDATE: &str = "UPDATE node SET n = ?1 WHERE id = ?2";

fn connect(directory: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open(directory.join("store.sqlite"))?;
    connection.busy_timeout(Duration::from_secs(60))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(format!("SQLite has no write-ahead log here, but `{mode}`").into());
    }
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    Ok(connection)
}

fn update(connection: &Connection, n: u64, node: u64) -> Result<(), Failure> {
    let changed = connection.prepare_cached(UPDATE)?.execute(params![number(n), id(node)])?;
    (changed == 1).then_some(()).ok_or_else(|| "no row was changed".into())
}

impl System for Sqlite {
    fn build(&self, directory: &Path, nodes: u64) -> Result<(), Failure> {
        let mut connection = connect(directory)?;
        connection.execute_batch("CREATE TABLE node(id TEXT PRIMARY KEY, name TEXT, n INTEGER)")?;
        for first in (0..nodes).step_by(BATCH as usize) {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached("INSERT INTO node VALUES (?1, ?2, 0)")?;
                for node in first..(first + BATCH).min(nodes) {
                    insert.execute(params![id(node), name(node)])?;
                }
            }
            transaction.commit()?;
        }
        connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    fn edit(&self, directory: &Path, nodes: u64, count: u64, until: Until) -> Result<Edits, Failure> {
        let first = connect(directory)?;
        if self.shared || count == 1 {
            let connection = Arc::new(Mutex::new(first));
            return writers(count, until, |writer| {
                let connection = Arc::clone(&connection);
                Ok(move |n| update(&*connection.lock().map_err(|_| "poisoned")?, n, pick(writer, n, nodes)))
            });
        }
        writers(count, until, |writer| {
            let connection = connect(directory)?;
            Ok(move |n| update(&connection, n, pick(writer, n, nodes)))
        })
    }

    fn batch(&self, directory: &Path, nodes: u64, until: Until) -> Result<Edits, Failure> {
        let mut connection = connect(directory)?;
        let begin = std::time::Instant::now();
        let batches = repeat(until, |batch| {
            let transaction = connection.transaction()?;
            for n in 0..BATCH {
                update(&transaction, batch + 1, pick(0, batch * BATCH + n, nodes))?;
            }
            Ok(transaction.commit()?)
        })?;
        Ok(Edits { edits: batches * BATCH, elapsed: begin.elapsed(), counted: None })
    }

    fn open(&self, directory: &Path) -> Result<u64, Failure> {
        let connection = connect(directory)?;
        let mut select = connection.prepare("SELECT id, name, n FROM node")?;
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?))))?;
        let nodes = rows.collect::<Result<HashMap<String, (String, i64)>, _>>()?;
        Ok(nodes.len() as u64)
    }
}
