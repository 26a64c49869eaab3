//! Merges that a store or a gate around a replica refuses, and edits that could not be committed: nothing may count that did not
//! happen.

use std::cell::Cell;
use std::time::Duration;

use driftless::sync::{self, Event, Folder, Options, Parting, Replicated, Session, SessionError, SkipReason};
use driftless::{
    Delta, EditError, Graph, JournalLimit, MergeError, MergeReport, NodeId, Prune, Refused, Repair, RepairError,
    Replica,
};

/// Refuses every merge while it is shut.
struct Gate {
    replica: Replica<Graph>,
    shut: Cell<bool>,
}

impl Gate {
    fn shut(replica: Replica<Graph>) -> Self {
        Self { replica, shut: Cell::new(true) }
    }

    fn refused(&self) -> Option<Refused> {
        self.shut.get().then(|| Refused::new("full"))
    }
}

impl Replicated<Graph> for Gate {
    fn replica(&self) -> &Replica<Graph> {
        &self.replica
    }
    fn merge(&mut self, delta: &Delta) -> Result<MergeReport<Graph>, MergeError> {
        self.refused().map_or(Ok(()), |refused| Err(MergeError::Refused(refused)))?;
        self.replica.merge(delta)
    }
    fn repair(&mut self, theirs: &Delta) -> Result<Repair<Graph>, RepairError> {
        self.refused().map_or(Ok(()), |refused| Err(RepairError::Refused(refused)))?;
        self.replica.repair(theirs)
    }
    fn take_in(&mut self, theirs: &Delta) -> Result<Repair<Graph>, RepairError> {
        self.refused().map_or(Ok(()), |refused| Err(RepairError::Refused(refused)))?;
        Replicated::take_in(&mut self.replica, theirs)
    }
    fn prune(&mut self, tombstones: Prune<'_>) -> usize {
        self.replica.prune(tombstones)
    }
}

fn add(replica: &mut Replica<Graph>, name: &str) -> Delta {
    replica.edit(|g| g.add_node(name)).unwrap().1
}

#[test]
fn a_merge_that_was_refused_is_not_acknowledged_and_comes_again() {
    let mut gate = Gate::shut(Replica::new());
    let mut peer = Replica::new();
    add(&mut peer, "person:ada");

    let refused = sync::in_memory(&mut gate, &mut peer).unwrap_err();
    assert!(matches!(refused.reason, SessionError::Merge(MergeError::Refused(_))), "{refused}");
    assert_eq!(refused.to_string(), "the delta was refused before it was merged: full");
    assert_eq!((gate.replica.state().node_count(), refused.done.1.counters.deltas_sent), (0, 0));

    gate.shut.set(false);
    sync::in_memory(&mut gate, &mut peer).unwrap();
    assert_eq!(gate.replica.state(), peer.state());
}

#[test]
fn the_peer_of_a_gate_hears_that_it_refused() {
    let mut gate = Gate::shut(Replica::new());
    let mut peer = Replica::new();
    add(&mut peer, "person:ada");
    let (mut here, mut there) =
        (Session::new(&gate.replica, Options::new(), [1; 16]), Session::new(&peer, Options::new(), [2; 16]));
    let now = Duration::ZERO;
    let end = loop {
        while let Some(frame) = there.poll_frame(&peer, now).unwrap() {
            let _ = here.handle_frame(&mut gate, &frame, now);
        }
        while let Ok(Some(frame)) = here.poll_frame(&gate.replica, now) {
            let _ = there.handle_frame(&mut peer, &frame, now);
        }
        if there.is_over() {
            break there.poll_frame(&peer, now).unwrap_err();
        }
    };
    assert_eq!(end, SessionError::Left(Parting::Refused));
    let events = std::iter::from_fn(|| here.poll_event());
    assert!(events.into_iter().all(|event| !matches!(event, Event::Merged { .. })), "a refused merge was told");
}

#[test]
fn a_repair_that_was_refused_ends_the_session_and_changes_nothing() {
    let mut one = Replica::<Graph>::new();
    let removal = add(&mut one, "person:ada");
    let mut gate = Gate::shut(Replica::new());
    gate.replica.merge(&removal).unwrap();
    let whole = one.complete_with_tombstones();
    let before = gate.replica.fingerprint();
    assert!(matches!(Replicated::repair(&mut gate, &whole), Err(RepairError::Refused(_))));
    assert_eq!(gate.replica.fingerprint(), before);
}

#[test]
fn a_file_that_was_refused_is_read_again_by_the_next_pull() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Replica::new();
    add(&mut peer, "person:ada");
    let _ = Folder::open(directory.path(), "phone").unwrap().push(&peer).unwrap();

    let mut gate = Gate::shut(Replica::new());
    let mut folder = Folder::open(directory.path(), "laptop").unwrap();
    for _ in 0..2 {
        let report = folder.pull(&mut gate).unwrap();
        assert!(report.merged.is_empty());
        let refused = |reason: &SkipReason| matches!(reason, SkipReason::Refused(MergeError::Refused(_)));
        assert!(report.skipped.iter().any(|skipped| refused(&skipped.reason)), "{:?}", report.skipped);
    }
    gate.shut.set(false);
    assert_eq!(folder.pull(&mut gate).unwrap().merged.len(), 1);
    assert_eq!(gate.replica.state(), peer.state());
}

#[test]
fn an_edit_that_could_not_be_committed_has_not_happened() {
    let mut replica = Replica::<Graph>::new();
    replica.keep_journal(JournalLimit::default());
    add(&mut replica, "person:ada");
    let (state, version, fingerprint) = (replica.snapshot(), replica.version().clone(), replica.fingerprint());
    let journaled = replica.journal().unwrap().len();
    let writer = replica.writer().unwrap();

    let mut leaked = None;
    let refused = replica.try_edit_with(
        |g| g.add_node("person:bob"),
        |_, delta| {
            leaked = Some(delta.clone());
            Err(EditError::abort("full"))
        },
    );
    assert!(refused.is_err());
    assert_eq!((replica.state(), replica.version()), (&state, &version));
    assert_eq!((replica.fingerprint(), replica.journal().unwrap().len()), (fingerprint, journaled));

    // The bytes got out after all: what is written next must not bear the same dots.
    let leaked = leaked.unwrap();
    let delta = add(&mut replica, "person:eve");
    assert_ne!(replica.writer().unwrap(), writer);
    let (mut heard, mut did_not) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    for peer in [&mut heard, &mut did_not] {
        peer.merge(&replica.delta_since(&driftless::Version::new()).unwrap()).unwrap();
    }
    heard.merge(&leaked).unwrap();
    sync::in_memory(&mut heard, &mut did_not).unwrap();
    sync::in_memory(&mut replica, &mut did_not).unwrap();
    for peer in [&heard, &did_not, &replica] {
        let names = ["person:ada", "person:bob", "person:eve"].map(NodeId::named);
        assert!(names.iter().all(|id| peer.state().node(*id).is_some()));
        assert_eq!(peer.fingerprint(), replica.fingerprint());
    }
    assert!(!delta.is_empty());
}

#[test]
fn the_first_edit_of_an_opening_that_could_not_be_committed_has_not_happened() {
    let mut replica = Replica::<Graph>::new();
    let mut leaked = None;
    let refused = replica.try_edit_with(
        |g| g.add_node("person:ada"),
        |_, delta| {
            leaked = Some(delta.clone());
            Err(EditError::abort("full"))
        },
    );
    assert!(refused.is_err() && replica.version().is_empty() && replica.writer().is_none());
    add(&mut replica, "person:eve");
    replica.merge(&leaked.unwrap()).unwrap();
    assert_eq!(replica.state().node_count(), 2);
}

#[test]
fn a_commit_that_panics_undoes_the_edit() {
    let mut replica = Replica::<Graph>::new();
    add(&mut replica, "person:ada");
    let (writer, version) = (replica.writer(), replica.version().clone());
    let edit = std::panic::AssertUnwindSafe(|| {
        replica
            .try_edit_with(|g| g.add_node("person:bob"), |_, _| -> Result<(), EditError> { panic!("the disk is gone") })
    });
    assert!(std::panic::catch_unwind(edit).is_err());
    assert_eq!((replica.version(), replica.state().node_count()), (&version, 1));
    add(&mut replica, "person:eve");
    assert_ne!(replica.writer(), writer);
}

#[test]
fn an_edit_that_fails_by_itself_keeps_its_writer() {
    let mut replica = Replica::<Graph>::new();
    add(&mut replica, "person:ada");
    let writer = replica.writer();
    let failed = replica.try_edit_with(|_| Err::<(), _>(EditError::abort("no")), |_, _| panic!("nothing to commit"));
    assert!(failed.is_err());
    add(&mut replica, "person:bob");
    assert_eq!(replica.writer(), writer);
}

#[test]
fn check_says_what_merge_does() {
    let mut replica = Replica::<Graph>::new();
    let first = add(&mut replica, "person:ada");
    let second = add(&mut replica, "person:bob");
    let other = driftless::Replica::<driftless::Document>::new().complete();
    let mut peer = Replica::<Graph>::new();
    for (delta, fits) in
        [(&second, false), (&other, false), (&first, true), (&first, true), (&second, true), (&first, true)]
    {
        let (before, checked) = (peer.version().clone(), peer.check(delta));
        assert_eq!((peer.version(), checked.is_ok()), (&before, fits));
        assert_eq!(checked.err(), peer.merge(delta).err());
    }
}
