//! Everything that can be read, written back and gone back to: none of it panics, and all of it agrees.

use driftless::kernel::Entity;
use driftless::testing::TestEnvironment;
use driftless::{Crdt, Document, Edit, EditError, Graph, Properties, Replica, Resolution, Settled};

/// A type that is read in full.
pub(crate) trait Readable: Crdt + PartialEq + std::fmt::Debug {
    /// Reads all that there is, and panics if it contradicts itself.
    fn read(&self);
    fn settle(edit: &mut Edit<'_, Self>, resolution: &Resolution<'static>) -> Result<Settled, EditError>;
    /// Resolves one of the conflicts that there are.
    fn resolve(edit: &mut Edit<'_, Self>, which: usize, resolution: Resolution<'static>) -> Result<(), EditError>;
    /// Writes as an app does: one of a few things, at one of a few places.
    fn write(edit: &mut Edit<'_, Self>, how: u8, value: u8) -> Result<(), EditError>;
}

impl Readable for Graph {
    fn read(&self) {
        self.check_invariants().expect("a consistent graph");
        for node in self.nodes() {
            let _ = (node.name(), node.labels().count(), node.embeddings().iter().count());
            properties(&node.properties());
            let _ = (self.outgoing(node.id()).count(), self.incoming(node.id()).count());
            let _ = (self.neighbors(node.id()).count(), self.walk(node.id()).count());
            assert!(self.contains_node(node.id()));
        }
        for edge in self.edges() {
            properties(&edge.properties());
            assert!(self.contains_node(edge.source()) && self.contains_node(edge.target()));
            assert!(self.outgoing_of(edge.source(), edge.edge_type()).any(|other| other.id() == edge.id()));
        }
        for edge in self.dangling() {
            properties(&edge.properties());
            assert!(self.is_dangling(&edge));
        }
        for hidden in self.hidden() {
            let _ = (hidden.labels().count(), hidden.embeddings().iter().count());
            properties(&hidden.properties());
        }
        self.conflicts().for_each(|conflict| drop(conflict.to_string()));
    }

    fn settle(edit: &mut Edit<'_, Self>, resolution: &Resolution<'static>) -> Result<Settled, EditError> {
        edit.settle(|_| resolution.clone())
    }

    fn resolve(edit: &mut Edit<'_, Self>, which: usize, resolution: Resolution<'static>) -> Result<(), EditError> {
        let Some(id) = edit.conflicts().nth(which).map(|conflict| conflict.id) else { return Ok(()) };
        edit.resolve(id, resolution).map(drop)
    }

    fn write(edit: &mut Edit<'_, Self>, how: u8, value: u8) -> Result<(), EditError> {
        let (name, other) = (["ada", "eve", "joe"][usize::from(value) % 3], ["ada", "eve"][usize::from(value) / 3 % 2]);
        let [id, other] = [name, other].map(driftless::NodeId::named);
        match how % 8 {
            0 => edit.add_node(name).map(drop),
            1 => edit.set(id, "/name", i64::from(value)),
            2 => edit.link(id, "knows", other).map(drop),
            3 => edit.label(id, "Person"),
            4 => edit.remove_node(id).map(drop),
            5 => edit.remove_node_with_edges(id).map(drop),
            6 => edit.restore_node(name).map(drop),
            _ => edit.update(id, "", &serde_json::json!({"map": {"n": value}, "list": [value]})).map(drop),
        }
    }
}

impl Readable for Document {
    fn read(&self) {
        self.check_invariants().expect("a consistent document");
        properties(&self.properties());
        self.conflicts().for_each(|conflict| drop(conflict.to_string()));
    }

    fn settle(edit: &mut Edit<'_, Self>, resolution: &Resolution<'static>) -> Result<Settled, EditError> {
        edit.settle(|_| resolution.clone())
    }

    fn resolve(edit: &mut Edit<'_, Self>, which: usize, resolution: Resolution<'static>) -> Result<(), EditError> {
        let Some(id) = edit.conflicts().nth(which).map(|conflict| conflict.id) else { return Ok(()) };
        edit.resolve(id, resolution).map(drop)
    }

    fn write(edit: &mut Edit<'_, Self>, how: u8, value: u8) -> Result<(), EditError> {
        let path = ["/x", "/x/y", "/z"][usize::from(value) % 3];
        match how % 8 {
            0 => edit.set(path, i64::from(value)),
            1 => edit.add(path, value.into()),
            2 => edit.insert(path, i64::from(value)).map(drop),
            3 => edit.raise(path, i64::from(value)).map(drop),
            4 => edit.unset(path).map(drop),
            5 => edit.update("", &serde_json::json!({"x": {"y": value}, "z": [value]})).map(drop),
            6 => edit.remove(path, i64::from(value)).map(drop),
            _ => edit.clear().map(drop),
        }
    }
}

fn properties(properties: &Properties<'_>) {
    let json = properties.to_json();
    assert_eq!(properties.is_empty(), properties.kind("").is_none());
    for (path, value) in properties.iter() {
        assert_eq!(properties.get(&path), Some(value), "at {path}");
        let _ = (properties.get_all(&path).count(), properties.elements(&path).count(), properties.counter(&path));
        assert!(json.pointer(&path.to_string()).is_some(), "{path} is not in {json}");
    }
    for key in properties.keys("") {
        assert!(json.get(&key).is_some(), "{key} is not in {json}");
    }
}

/// What an app may do with a replica after any merge.
pub(crate) fn exercise<T: Readable>(replica: &mut Replica<T>, before: &T, how: u8) {
    replica.state().read();
    let now = replica.snapshot();
    let differs = replica.diff(before).changes().count();
    assert!(differs == 0 || now != *before);
    let resolution = match how % 8 {
        0 => Resolution::LastWriter,
        1 => Resolution::Union,
        2 => Resolution::MergeFields,
        3 => Resolution::Restore,
        4 => Resolution::Delete,
        5 => Resolution::PreferLocal,
        6 => Resolution::PreferRemote,
        _ => Resolution::Json(serde_json::json!({"a": [1, null]})),
    };
    // What is refused leaves nothing behind; what is done leaves something consistent.
    let acts: [&dyn Fn(&mut Edit<'_, T>) -> Result<(), EditError>; 4] = [
        &|edit| T::resolve(edit, usize::from(how / 8), resolution.clone()),
        &|edit| T::settle(edit, &resolution).map(drop),
        &|edit| T::write(edit, how / 8, how),
        &|edit| edit.revert_to(before).map(drop),
    ];
    for act in acts {
        let was = replica.snapshot();
        match replica.edit(act) {
            Ok(_) => replica.state().read(),
            Err(_) => assert!(*replica.state() == was, "a refused edit left something behind"),
        }
    }
    let _ = replica.edit(|edit| edit.revert_entity(Entity::SELF, &now).map(drop));
    let again = Replica::<T>::load_with(TestEnvironment::new(900), &replica.save()).expect("what was saved");
    assert!(again.state() == replica.state());
    again.state().read();
}
