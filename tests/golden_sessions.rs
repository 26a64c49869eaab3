//! Sessions as files, in `tests/golden/sessions`: what two said until they held the same, frame by frame. Whoever speaks this
//! version of the protocol can still be spoken to, and what is said means what it meant.
//!
//! A file has the frames in the order in which they were sent: who sent it (a byte, 0 or 1), its length (4 bytes,
//! little-endian), the frame. Where the connection broke, there is a byte 255 instead.
//!
//! Frames that no ordinary session has, and each field by itself, are spelled by hand in `tests/hostile_peer.rs`.
//!
//! `cargo test --test golden_sessions -- --ignored` writes files that are missing; none of them is ever written anew.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/letters.rs"]
mod letters;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use driftless::sync::{self, Devices, Options, Session};
use driftless::testing::{TestEnvironment, twin};
use driftless::{Edit, Graph, NodeId, Prune, Replica};
use frames::{session_file, session_in_file};
use letters::letters;

/// Two replicas, what their sessions are told, and after how many frames the connection breaks.
struct Scene {
    name: &'static str,
    replicas: [Replica<Graph>; 2],
    options: [Options; 2],
    breaks_after: Option<usize>,
    /// What the frames must be, of those that `frames` names, beside hellos.
    kinds: &'static [u8],
}

fn two() -> [Replica<Graph>; 2] {
    let mut two = [1, 2].map(|seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed)));
    add(&mut two[0], 0..40);
    let all = two[0].complete();
    two[1].merge(&all).unwrap();
    two
}

fn add(replica: &mut Replica<Graph>, nodes: std::ops::Range<usize>) {
    let all = replica.edit(|g| {
        nodes.clone().try_for_each(|n| {
            let node = g.add_node(&format!("node {n}"))?;
            g.set(node, "/text", &format!("of node {n}"))
        })
    });
    all.unwrap();
}

fn remove(replica: &mut Replica<Graph>, node: usize) {
    replica.edit(|g| g.remove_node(NodeId::named(&format!("node {node}")))).unwrap();
}

fn named(name: &str) -> Options {
    // The files are of sessions that every build can have.
    Options::new().without_compression().with_device(name.parse().unwrap())
}

fn scenes() -> Vec<Scene> {
    use frames::{ANNOUNCE, PART, TURN};
    let scene = |name, replicas, kinds| {
        let options = [named("laptop"), named("phone")];
        Scene { name, replicas, options, breaks_after: None, kinds }
    };
    let changed = || {
        let mut two = two();
        add(&mut two[0], 50..53);
        add(&mut two[1], 52..56);
        two
    };
    let pruned = || {
        let mut two = changed();
        remove(&mut two[0], 3);
        remove(&mut two[0], 7);
        two[0].prune(Prune::All);
        two
    };
    let contradicting = || {
        let [mut one, _] = two();
        let mut other = twin(&one, TestEnvironment::new(7));
        add(&mut one, 50..51);
        add(&mut other, 51..52);
        [one, other]
    };
    let new = || {
        let [one, _] = two();
        [one, Replica::with_environment(TestEnvironment::new(3))]
    };
    let many_writers = || {
        let mut two = two();
        for n in 0..300 {
            let mut another = Replica::<Graph>::with_environment(TestEnvironment::new(100 + n));
            add(&mut another, 60 + n as usize..61 + n as usize);
            two.iter_mut().for_each(|replica| drop(replica.merge(&another.complete()).unwrap()));
        }
        two
    };
    let mut acquainted = scene("acquainted", many_writers(), &[PART, ANNOUNCE]);
    let mut devices = Devices::new();
    for name in ["laptop", "phone"] {
        devices.acknowledge(name, acquainted.replicas[0].version().clone());
    }
    add(&mut acquainted.replicas[1], 52..56);
    acquainted.options =
        [("laptop", "phone"), ("phone", "laptop")].map(|(own, peer)| named(own).with_devices(&devices).with_peer(peer));
    let mut strangers = scene("strangers", many_writers(), &[PART, ANNOUNCE]);
    add(&mut strangers.replicas[0], 50..53);
    // Long enough that a part of it can be kept.
    let mut resumed = scene("resumed", new(), &[PART, ANNOUNCE]);
    let lengthen = |g: &mut Edit<'_, Graph>| {
        (0..70).try_for_each(|n| {
            let node = g.add_node(&format!("long {n}"))?;
            g.set(node, "/text", &letters(n, 3_000))
        })
    };
    resumed.replicas[0].edit(lengthen).unwrap();
    resumed.breaks_after = Some(5);
    vec![
        scene("equal", two(), &[]),
        scene("incremental", changed(), &[PART, ANNOUNCE]),
        scene("complete", new(), &[PART, ANNOUNCE]),
        scene("reconciled", pruned(), &[TURN, PART, ANNOUNCE]),
        scene("repaired", contradicting(), &[PART, ANNOUNCE]),
        acquainted,
        strangers,
        resumed,
    ]
}

/// Two sides of a conversation, of which time stands still: nothing is lost, so nobody has to say anything again.
struct Sides {
    replicas: [Replica<Graph>; 2],
    options: [Options; 2],
    sessions: [Session<Graph>; 2],
    seed: u8,
}

impl Sides {
    fn new(Scene { replicas, options, .. }: Scene) -> Self {
        let sessions = Self::begin(&replicas, &options, 1);
        Self { replicas, options, sessions, seed: 1 }
    }

    fn begin(replicas: &[Replica<Graph>; 2], options: &[Options; 2], seed: u8) -> [Session<Graph>; 2] {
        [0, 1].map(|i: usize| Session::new(&replicas[i], options[i].clone(), [seed + i as u8; 16]))
    }

    /// What a side has to say.
    fn poll(&mut self, from: usize) -> Option<Vec<u8>> {
        self.sessions[from].poll_frame(&self.replicas[from], Duration::ZERO).unwrap()
    }

    fn hear(&mut self, to: usize, frame: &[u8]) {
        self.sessions[to].handle_frame(&mut self.replicas[to], frame, Duration::ZERO).unwrap();
    }

    /// New sessions, that go on from what has arrived.
    fn reconnect(self) -> Self {
        let Self { replicas, options, sessions, seed } = self;
        let mut staged = sessions.into_iter().map(Session::into_staged);
        let options = options.map(|options| options.with_staged(staged.next().unwrap()));
        let sessions = Self::begin(&replicas, &options, seed + 2);
        Self { replicas, options, sessions, seed: seed + 2 }
    }

    #[track_caller]
    fn end_equal(self, name: &str) {
        assert_eq!(self.replicas[0].state(), self.replicas[1].state(), "{name}");
        for i in 0..2 {
            self.replicas[i].state().check_invariants().unwrap();
            assert!(self.sessions[i].is_equal(&self.replicas[i]), "{name}");
            assert_eq!(self.sessions[i].counters().errors, 0, "{name}");
        }
    }
}

/// What the two of a scene say today: who, and what. None where the connection breaks.
fn said(scene: Scene) -> Vec<Option<(u8, Vec<u8>)>> {
    let (name, breaks_after) = (scene.name, scene.breaks_after);
    let mut sides = Sides::new(scene);
    let (mut said, mut ways) = (Vec::new(), [const { VecDeque::<Vec<u8>>::new() }; 2]);
    loop {
        let before = said.len();
        for from in 0..2 {
            while let Some(frame) = sides.poll(from) {
                ways[1 - from].push_back(frame.clone());
                said.push(Some((from as u8, frame)));
                if Some(said.len()) == breaks_after {
                    break;
                }
            }
        }
        for (to, way) in ways.iter_mut().enumerate() {
            way.drain(..).for_each(|frame| sides.hear(to, &frame));
        }
        if Some(said.len()) == breaks_after {
            sides = sides.reconnect();
            said.push(None);
        }
        if said.len() == before {
            sides.end_equal(name);
            assert_eq!(said.contains(&None), breaks_after.is_some(), "{name}");
            return said;
        }
    }
}

fn to_file(said: &[Option<(u8, Vec<u8>)>]) -> Vec<u8> {
    let entry = |entry: &Option<(u8, Vec<u8>)>| match entry {
        None => vec![frames::BREAK],
        Some((from, frame)) => [&[*from][..], &(frame.len() as u32).to_le_bytes(), frame].concat(),
    };
    said.iter().flat_map(entry).collect()
}

#[test]
#[ignore = "writes files that are missing: the format only changes with a version step"]
fn write_what_is_missing() {
    for scene in scenes() {
        let path = session_file(scene.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            std::fs::write(path, to_file(&said(scene))).unwrap();
        }
    }
}

#[test]
fn two_sessions_say_the_same_as_ever() {
    let mut names = BTreeSet::new();
    for scene in scenes() {
        let (name, kinds) = (scene.name, scene.kinds);
        let (there, said) = (session_in_file(name), said(scene));
        let first = there.iter().zip(&said).position(|(a, b)| a != b);
        assert!(there == said, "{name}: {} frames, {} in the file, unequal from {first:?}", said.len(), there.len());
        let found: BTreeSet<u8> = there.iter().flatten().map(|(_, frame)| frames::kind(frame)).collect();
        assert_eq!(found, kinds.iter().copied().chain([frames::HELLO]).collect(), "{name}");
        names.insert(format!("{name}.drift"));
    }
    let files = std::fs::read_dir(session_file("any").parent().unwrap()).unwrap();
    assert_eq!(files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>(), names);
}

/// Each side alone hears what the other said in the file, whatever it answers today.
#[test]
fn who_speaks_as_ever_is_understood() {
    for listener in 0..2 {
        for scene in scenes() {
            let name = scene.name;
            let mut sides = Sides::new(scene);
            let mut heard = 0;
            for entry in session_in_file(name) {
                match entry {
                    None => sides = sides.reconnect(),
                    Some((from, frame)) if usize::from(from) != listener => {
                        while sides.poll(listener).is_some() {}
                        sides.hear(listener, &frame);
                        heard += 1;
                    }
                    Some(_) => {}
                }
            }
            while sides.poll(listener).is_some() {}
            assert!(heard > 0 && sides.sessions[listener].counters().errors == 0, "{name}");
            let [mut one, mut other] = scenes().into_iter().find(|scene| scene.name == name).unwrap().replicas;
            sync::in_memory(&mut one, &mut other).unwrap();
            assert_eq!(sides.replicas[listener].state(), one.state(), "{name}");
        }
    }
}
