//! Merges that a store or a gate around a replica refuses, and edits that could not be committed: nothing may count that did not
//! happen.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use driftless::sync::{
    self, Event, Folder, Options, Parting, Replicated, Session, SessionError, SkipReason, SyncErrorReason,
};
use driftless::{
    Delta, EditError, Environment, Graph, JournalLimit, MergeError, MergeReport, NodeId, Prune, Refused, Repair,
    RepairError, Replica,
};

/// Lets so many merges and repairs through, and refuses the rest.
struct Gate {
    replica: Replica<Graph>,
    left: usize,
}

impl Gate {
    fn shut(replica: Replica<Graph>) -> Self {
        Self { replica, left: 0 }
    }

    fn open(&mut self) {
        self.left = usize::MAX;
    }

    fn pass(&mut self) -> Result<(), Refused> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Refused::new("full"))?;
        Ok(())
    }
}

impl Replicated<Graph> for Gate {
    fn replica(&self) -> &Replica<Graph> {
        &self.replica
    }
    fn merge(&mut self, delta: &Delta) -> Result<MergeReport<Graph>, MergeError> {
        self.pass().map_err(MergeError::Refused)?;
        self.replica.merge(delta)
    }
    fn repair(&mut self, theirs: &Delta) -> Result<Repair<Graph>, RepairError> {
        self.pass().map_err(RepairError::Refused)?;
        self.replica.repair(theirs)
    }
    fn take_in(&mut self, theirs: &Delta) -> Result<Repair<Graph>, RepairError> {
        self.pass().map_err(RepairError::Refused)?;
        Replicated::take_in(&mut self.replica, theirs)
    }
    fn prune(&mut self, tombstones: Prune<'_>) -> usize {
        self.replica.prune(tombstones)
    }
}

/// Repeats its randomness, as two copies of one process would.
struct Repeating;

impl Environment for Repeating {
    fn now_ms(&mut self) -> u64 {
        1_700_000_000_000
    }
    fn random(&mut self) -> [u8; 16] {
        [7; 16]
    }
}

/// Two that went on as one writer from one saved state, and hold different nodes at equal versions.
fn diverged(saved: &[u8]) -> [Replica<Graph>; 2] {
    let two = ["of one", "of the other"].map(|name| {
        let mut replica = Replica::load_with(Repeating, saved).unwrap();
        add(&mut replica, name);
        replica
    });
    assert_eq!(two[0].version(), two[1].version());
    assert_ne!(two[0].fingerprint(), two[1].fingerprint());
    two
}

/// Passes frames until one side has left or nothing more is said, and returns the end that each side comes to.
fn talk(
    (here, gate): (&mut Session<Graph>, &mut Gate),
    (there, peer): (&mut Session<Graph>, &mut Replica<Graph>),
) -> [Option<SessionError>; 2] {
    let now = Duration::ZERO;
    loop {
        let mut silent = true;
        let end_there = loop {
            match there.poll_frame(peer, now) {
                Ok(Some(frame)) => {
                    silent = false;
                    let _ = here.handle_frame(gate, &frame, now);
                }
                end => break end.err(),
            }
        };
        let end_here = loop {
            match here.poll_frame(&gate.replica, now) {
                Ok(Some(frame)) => {
                    silent = false;
                    let _ = there.handle_frame(peer, &frame, now);
                }
                end => break end.err(),
            }
        };
        if silent {
            return [end_here, end_there];
        }
    }
}

fn merges(session: &mut Session<Graph>) -> usize {
    std::iter::from_fn(|| session.poll_event()).filter(|event| matches!(event, Event::Merged { .. })).count()
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
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

    gate.open();
    sync::in_memory(&mut gate, &mut peer).unwrap();
    assert_eq!(gate.replica.state(), peer.state());
}

#[test]
fn the_second_merge_of_a_session_is_refused_and_the_first_stays_acknowledged() {
    let mut gate = Gate { replica: Replica::new(), left: 1 };
    let mut peer = Replica::new();
    add(&mut peer, "person:ada");
    let session = |replica: &Replica<Graph>, nonce| Session::new(replica, Options::new(), [nonce; 16]);
    let (mut here, mut there) = (session(&gate.replica, 1), session(&peer, 2));
    assert_eq!(talk((&mut here, &mut gate), (&mut there, &mut peer)), [None, None]);
    assert_eq!((merges(&mut here), there.counters().deltas_sent), (1, 1));

    let first = gate.replica.version().clone();
    add(&mut peer, "person:bob");
    let [end_here, end_there] = talk((&mut here, &mut gate), (&mut there, &mut peer));
    assert!(matches!(end_here, Some(SessionError::Merge(MergeError::Refused(_)))), "{end_here:?}");
    assert_eq!(end_there, Some(SessionError::Left(Parting::Refused)));
    assert_eq!((merges(&mut here), there.counters().deltas_sent), (0, 1));
    assert_eq!(gate.replica.version(), &first);

    gate.open();
    sync::in_memory(&mut gate, &mut peer).unwrap();
    assert_eq!(gate.replica.state(), peer.state());
}

#[test]
fn a_merge_that_was_refused_over_a_stream_is_told_to_the_peer_and_comes_again() {
    let mut gate = Gate::shut(Replica::new());
    let mut peer = Replica::new();
    add(&mut peer, "person:ada");
    for is_open in [false, true] {
        let (one, other) = tcp();
        // A store that is known as a trait object alone goes through the drivers as well.
        let store: &mut dyn Replicated<Graph> = &mut gate;
        let (on_gate, on_peer) = std::thread::scope(|scope| {
            let on_peer = scope.spawn(|| sync::blocking(&mut peer, one));
            (sync::blocking(store, other), on_peer.join().unwrap())
        });
        if is_open {
            assert_eq!((on_gate.unwrap().merged.len(), on_peer.unwrap().counters.deltas_sent), (1, 1));
            continue;
        }
        let (on_gate, on_peer) = (on_gate.unwrap_err(), on_peer.unwrap_err());
        let refused =
            |reason: &_| matches!(reason, SyncErrorReason::Session(SessionError::Merge(MergeError::Refused(_))));
        assert!(refused(&on_gate.reason) && on_gate.done.merged.is_empty(), "{on_gate:?}");
        let told = |reason: &_| matches!(reason, SyncErrorReason::Session(SessionError::Left(Parting::Refused)));
        assert!(told(&on_peer.reason) && on_peer.done.counters.deltas_sent == 0, "{on_peer:?}");
        gate.open();
    }
    assert_eq!(gate.replica.state(), peer.state());
}

#[test]
fn a_repair_that_was_refused_ends_the_session_and_changes_nothing() {
    let [one, mut peer] = diverged(&Replica::<Graph>::new().save());
    let mut gate = Gate::shut(one);
    let before = (gate.replica.snapshot(), gate.replica.version().clone(), gate.replica.fingerprint());
    let refused = sync::in_memory(&mut gate, &mut peer).unwrap_err();
    assert!(matches!(refused.reason, SessionError::Merge(MergeError::Refused(_))), "{refused}");
    assert_eq!((gate.replica.snapshot(), gate.replica.version().clone(), gate.replica.fingerprint()), before);

    gate.open();
    sync::in_memory(&mut gate, &mut peer).unwrap();
    assert_eq!(gate.replica.state(), peer.state());
    assert_eq!(gate.replica.fingerprint(), peer.fingerprint());
}

#[test]
fn a_file_that_was_refused_is_read_again_by_the_next_pull() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Replica::new();
    add(&mut peer, "person:ada");
    let _ = Folder::open(directory.path(), "phone").unwrap().push(&mut peer).unwrap();

    let mut gate = Gate::shut(Replica::new());
    let mut folder = Folder::open(directory.path(), "laptop").unwrap();
    for _ in 0..2 {
        let report = folder.pull(&mut gate).unwrap();
        assert!(report.merged.is_empty());
        let refused = |reason: &SkipReason| matches!(reason, SkipReason::Refused(MergeError::Refused(_)));
        assert!(report.skipped.iter().any(|skipped| refused(&skipped.reason)), "{:?}", report.skipped);
    }
    gate.open();
    assert_eq!(folder.pull(&mut gate).unwrap().merged.len(), 1);
    assert_eq!(gate.replica.state(), peer.state());
}

#[test]
fn a_checkpoint_that_was_refused_while_a_divergence_is_settled_is_reported_once_a_pull() {
    let directory = tempfile::tempdir().unwrap();
    let mut base = Replica::<Graph>::new();
    add(&mut base, "person:ada");
    let mut phone = Folder::open(directory.path(), "phone").unwrap();
    let checkpoint = phone.push(&mut base).unwrap().written.unwrap();
    assert!(checkpoint.is_checkpoint);

    // The gate has taken the checkpoint in. Then both go on as one writer, so that the next file contradicts the gate's state.
    let mut gate = Gate { replica: Replica::load(&base.save()).unwrap(), left: usize::MAX };
    let mut folder = Folder::open(directory.path(), "laptop").unwrap();
    let _ = folder.pull(&mut gate).unwrap();
    let [one, mut other] = diverged(&base.save());
    gate.replica = one;
    assert!(!phone.push(&mut other).unwrap().written.unwrap().is_checkpoint);

    gate.left = 0;
    for _ in 0..2 {
        let report = folder.pull(&mut gate).unwrap();
        let refused: Vec<_> = report.skipped.iter().filter(|skipped| skipped.path == checkpoint.path).collect();
        let [refused] = refused[..] else { panic!("{:?}", report.skipped) };
        assert!(matches!(refused.reason, SkipReason::Unrepaired(RepairError::Refused(_))), "{:?}", refused.reason);
        assert!(!report.diverged.is_empty());
    }
    gate.open();
    let report = folder.pull(&mut gate).unwrap();
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
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
    add(&mut replica, "person:eve");
    let new_writer = replica.writer().unwrap();
    assert_ne!(new_writer, writer);
    // The leaked dot is the second of the old writer, and the next edit's is the second of the new one.
    assert_eq!((leaked.upto().get(writer), leaked.upto().get(new_writer)), (2, 0));
    assert_eq!((replica.version().get(writer), replica.version().get(new_writer)), (1, 2));
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
        assert_eq!(peer.state().node_count(), 3);
        assert_eq!(peer.fingerprint(), replica.fingerprint());
    }
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
