//! Columns of parts spelled by hand from the documented format, each against one rule of it. What rows and columns have in common
//! is in `wire_rules`.

#[path = "support/damage.rs"]
mod damage;
#[path = "support/memory.rs"]
mod memory;

use damage::{leb128, seal};
use driftless::testing::TestEnvironment;
use driftless::{DecodeError, Delta, Document, Graph, MAX_MEMORY, NodeId, Prune, Replica};
use memory::{alone, peak_of};
use serde::Serialize;
use serde_bytes::Bytes;

/// Codes of forms: a tombstone is 0; else one, four times the kind of the payload, and the class.
const NAME: u8 = 1 + 4 * 17 + 1;
const UNIT: u8 = 1 + 4 * 16;
const TEXT: u8 = 1 + 4 * 6 + 1;
const NUMBER: u8 = 1 + 4 * 4 + 2;
const WHOLE: u8 = 1 + 4 * 5 + 2;
const FIXED: u8 = 1 + 4 * 5 + 3;
const ENDS: u8 = 1 + 4 * 18 + 2;

/// A complete delta of a graph, from a single writer.
#[derive(Clone)]
struct Spelled {
    fields: Vec<Vec<u8>>,
    /// Parts, known siblings, writes.
    announced: [u64; 3],
    /// The counter of the last write.
    upto: u64,
    shapes: Vec<Vec<u8>>,
    parts: Vec<u8>,
    ids: Vec<u8>,
    dots: Vec<Vec<u8>>,
    known: Vec<u8>,
    contents: Vec<Vec<u8>>,
    /// Appended after the columns.
    rest: Vec<u8>,
}

fn put(out: &mut Vec<u8>, value: impl Serialize) {
    rmp_serde::encode::write(out, &value).unwrap();
}

fn with_len(column: &[u8]) -> Vec<u8> {
    [&leb128(column.len() as u64), column].concat()
}

impl Spelled {
    fn body(&self) -> Vec<u8> {
        let (mut out, writer) = (Vec::new(), Bytes::new(&[5; 10]));
        let (fields, [parts, known, writes]) = (self.fields.len(), self.announced);
        put(&mut out, ("driftless.graph", None::<&Bytes>, self.upto, fields, 0, parts, known, writes));
        put(&mut out, if writes == 0 { Bytes::new(&[]) } else { writer });
        put(&mut out, writer);
        // Nothing before it, the last write, nothing pruned; one writer who was born in no other.
        [0, 0, 0, 1, 0].iter().for_each(|number| put(&mut out, number));
        put(&mut out, self.upto);
        [0, 0, 1].iter().for_each(|number| put(&mut out, number));
        put(&mut out, None::<&Bytes>);
        put(&mut out, writer);
        [0, 0].iter().for_each(|number| put(&mut out, number));
        self.fields.iter().for_each(|field| put(&mut out, Bytes::new(field)));
        let lens: Vec<u8> = self.contents.iter().flat_map(|column| leb128(column.len() as u64)).collect();
        let contents = [lens, self.contents.concat()].concat();
        let columns = [&self.shapes.concat(), &self.parts, &self.ids, &self.dots.concat(), &self.known, &contents];
        let mut all = columns.map(|column| with_len(column)).concat();
        all.extend(&self.rest);
        put(&mut out, Bytes::new(&all));
        out
    }

    fn read(&self) -> Result<Delta, DecodeError> {
        let bytes = seal(2, &self.body());
        let read = Delta::from_bytes(&bytes);
        assert!(read.as_ref().map_or(true, |delta| delta.to_bytes() == bytes));
        read
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}

/// Kind, whether whole and how the id is told, no known siblings; of each write its field, form and place.
fn shape(kind: u8, flags: u8, writes: &[[u8; 3]]) -> Vec<u8> {
    [&[kind, flags, 0, writes.len() as u8][..], &writes.concat()].concat()
}

/// A content that shares so many bytes with the one before.
fn text(prefix: u8, rest: &str) -> Vec<u8> {
    [&[8 + prefix, rest.len() as u8], rest.as_bytes()].concat()
}

fn shorten(column: &mut Vec<u8>) {
    column.truncate(column.len() - 1);
}

const NAMED: u8 = 1 | 1 << 1;
const BY_ENDS: u8 = 1 | 2 << 1;
const BESIDE: u8 = 1 | 3 << 1;

/// The nodes "ada" and "bob", each with a label and a text; an edge between them; and a node with an id that no name gives, whose
/// number was set later.
fn good() -> Spelled {
    Spelled {
        fields: vec![b"".to_vec(), b"\x01Person".to_vec(), b"\x02n\x00\xfe\x00\x02".to_vec()],
        announced: [4, 0, 9],
        upto: 9,
        shapes: vec![
            shape(1, NAMED, &[[0, NAME, 1], [1, UNIT, 2], [1, TEXT, 3]]),
            shape(2, BY_ENDS, &[[0, ENDS, 1]]),
            shape(1, 1, &[[0, UNIT, 1], [2, NUMBER, 0]]),
        ],
        parts: vec![0, 0, 1, 2],
        ids: vec![7; 16],
        // Stamp 100 in the first; then nothing differs, but for the number, which is write 9 at stamp 101.
        dots: vec![vec![4, 0xc8, 1], vec![0], vec![0], vec![0], vec![6, 16, 0xca, 1]],
        known: vec![],
        contents: vec![
            [text(0, "ada"), text(0, "bob")].concat(),
            [&[1, 3, 0][..], &text(0, "knows")].concat(),
            vec![10],
            [text(0, "Ada"), text(0, "Bob")].concat(),
        ],
        rest: vec![],
    }
}

#[track_caller]
fn refused(spelled: &Spelled, why: &'static str) {
    assert_eq!(spelled.read(), Err(DecodeError::Malformed(why)));
}

#[track_caller]
fn not_canonical(spelled: &Spelled) {
    assert_eq!(spelled.read(), Err(DecodeError::NotCanonical));
}

#[track_caller]
fn truncated(spelled: &Spelled) {
    assert!(matches!(spelled.read(), Err(DecodeError::Truncated { .. })), "{:?}", spelled.read());
}

#[track_caller]
fn fine(spelled: &Spelled) -> Replica<Graph> {
    let delta = spelled.read().unwrap_or_else(|error| panic!("{error}"));
    let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(1));
    replica.merge(&delta).unwrap();
    replica.state().check_invariants().unwrap();
    replica
}

#[test]
fn what_is_spelled_right_is_read() {
    let replica = fine(&good());
    let graph = replica.state();
    let [ada, bob] = ["ada", "bob"].map(NodeId::named);
    assert_eq!((graph.node_count(), graph.edge_count(), graph.outgoing(ada).count()), (3, 1, 1));
    assert_eq!(graph.node(ada).unwrap().name(), Some("ada"));
    assert_eq!(graph.node(bob).unwrap().get("/n"), Some("Bob".into()));
    assert_eq!(graph.node(NodeId::from([7; 16])).unwrap().get("/n"), Some(5.into()));
}

#[test]
fn every_column_is_used_up_and_long_enough() {
    let good = good();
    refused(&good.with(|d| d.shapes.push(vec![0])), "a column that goes on");
    refused(&good.with(|d| d.parts.push(0)), "a column that goes on");
    refused(&good.with(|d| d.ids.push(7)), "a column that goes on");
    refused(&good.with(|d| d.dots.push(vec![0])), "a column that goes on");
    refused(&good.with(|d| d.known.push(0)), "a column that goes on");
    for column in 0..4 {
        assert!(matches!(good.with(|d| d.contents[column].push(0)).read(), Err(DecodeError::Trailing(1))), "{column}");
        truncated(&good.with(|d| shorten(&mut d.contents[column])));
    }
    assert!(matches!(good.with(|d| d.contents.push(vec![])).read(), Err(DecodeError::Trailing(1))));
    assert!(good.with(|d| drop(d.contents.pop())).read().is_err());
    // Runs follow the columns.
    truncated(&good.with(|d| d.rest = vec![0]));
    not_canonical(&good.with(|d| d.rest = vec![0, 0, 0]));
    assert!(matches!(good.with(|d| d.rest = vec![0, 0, 0, 0]).read(), Err(DecodeError::Trailing(1))));
    refused(&good.with(|d| shorten(&mut d.shapes[2])), "more is announced than the bytes can hold");
    truncated(&good.with(|d| shorten(&mut d.parts)));
    truncated(&good.with(|d| shorten(&mut d.ids)));
    truncated(&good.with(|d| drop(d.dots.pop())));
    // Nothing at all has no columns, not six that are empty.
    let none =
        Spelled { announced: [0; 3], fields: vec![], shapes: vec![], parts: vec![], ids: vec![], ..good.clone() };
    let none = none.with(|d| (d.dots, d.contents) = (vec![], vec![]));
    not_canonical(&none);
}

#[test]
fn a_shape_is_told_once_when_it_is_first_met() {
    let good = good();
    let again = |d: &mut Spelled| {
        d.shapes.insert(1, d.shapes[0].clone());
        d.parts = vec![0, 1, 2, 3];
    };
    not_canonical(&good.with(again));
    refused(&good.with(|d| d.parts = vec![1, 0, 0, 2]), "a shape that is not told");
    refused(&good.with(|d| d.parts = vec![0, 0, 2, 1]), "a shape that is not told");
    // More siblings than shapes that are shared have: told each time, and then that is the only way.
    let many = |shared: bool| {
        let fields: Vec<Vec<u8>> = (0..17u8).map(|n| if n == 0 { vec![] } else { vec![9, n] }).collect();
        let writes: Vec<[u8; 3]> = (0..17).map(|n| [u8::from(n > 0), UNIT, n + 1]).collect();
        let shape = shape(7, 1, &writes);
        good.with(|d| {
            (d.fields, d.announced, d.upto) = (fields, [2, 0, 34], 34);
            d.shapes = if shared { vec![shape] } else { vec![shape.clone(), shape] };
            d.parts = if shared { vec![0, 0] } else { vec![0, 1] };
            (d.ids, d.dots, d.contents) = ([[1; 16], [2; 16]].concat(), vec![vec![4, 2], vec![0]], vec![]);
        })
    };
    fine(&many(false));
    not_canonical(&many(true));
    // An unknown way of naming, and one that the kind does not have.
    let unknown = "an id that is told in an unknown way";
    refused(&good.with(|d| d.shapes[0][1] = 9), unknown);
    refused(&good.with(|d| d.shapes[1][1] = BESIDE), unknown);
    refused(&good.with(|d| d.shapes[0][1] = BY_ENDS), unknown);
    refused(&good.with(|d| d.shapes[1][1] = NAMED), unknown);
    refused(&good.with(|d| d.shapes[0][0] = 7), unknown);
    refused(&good.with(|d| d.shapes[2][7] = 3), "a field that is not listed");
    refused(&good.with(|d| d.shapes[2][3] = 100), "more is announced than the bytes can hold");
    refused(&good.with(|d| d.shapes[2][2] = 1), "more siblings than were announced");
}

#[test]
fn an_id_is_told_by_a_name_if_it_can_be_and_else_by_its_bytes() {
    let good = good();
    let ids = |d: &mut Spelled, first: &[[u8; 16]]| d.ids = [&first.concat()[..], &[7; 16]].concat();
    let [ada, bob] = ["ada", "bob"].map(|name| *NodeId::named(name).as_bytes());
    // Spelled though the name tells it.
    not_canonical(&good.with(|d| {
        d.shapes[0][1] = 1;
        ids(d, &[ada, bob]);
    }));
    // A name that tells another id is kept, and says nothing.
    let other = fine(&good.with(|d| {
        d.shapes[0][1] = 1;
        ids(d, &[[1; 16], [2; 16]]);
        d.contents[1] = [&[1, 3, 0][..], &text(0, "knows")].concat();
    }));
    assert_eq!(other.state().node(NodeId::from([1; 16])).unwrap().name(), None);
    // Told by a name or by ends that are not there.
    refused(&good.with(|d| d.shapes[2][1] = NAMED), "an id that nothing tells");
    refused(
        &good.with(|d| {
            d.shapes[1] = shape(2, BY_ENDS, &[[0, UNIT, 1]]);
            d.contents.remove(1);
        }),
        "an id that nothing tells",
    );
    // Two that are named alike: see `bomb` for such without an edge.
    assert!(good.with(|d| d.contents[0] = [text(0, "ada"), vec![0]].concat()).read().is_err());
}

#[test]
fn a_name_beside_a_part_stands_for_its_id() {
    let beside = |name: &str| {
        good().with(|d| {
            d.shapes[2][1] = BESIDE;
            d.ids = text(0, name);
        })
    };
    let eve = fine(&beside("eve"));
    let node = eve.state().node(NodeId::named("eve")).unwrap();
    // The name stands for the id in the delta alone: the root does not tell it.
    assert_eq!((node.name(), node.get("/n").is_some()), (None, true));
    fine(&beside(""));
    // Only if that takes no more than the id does.
    fine(&beside(&"x".repeat(14)));
    not_canonical(&beside(&"x".repeat(15)));
    refused(&beside(&"x".repeat(33)), "a name that is too long to stand for an id");
    truncated(&beside("eve").with(|d| shorten(&mut d.ids)));
    refused(&beside("eve").with(|d| d.ids.push(0)), "a column that goes on");
    refused(&beside("eve").with(|d| d.ids = text(1, "ve")), "a content that did not come before");
    // Two parts of one node.
    assert!(beside("ada").read().is_err());
    // Beside though the root tells it; beside though the root tells of another.
    let both = |names: [&str; 2]| {
        good().with(|d| {
            d.shapes[0][1] = BESIDE;
            d.ids = [&text(0, names[0])[..], &text(0, names[1]), &[7; 16]].concat();
            d.contents[1] = [&[1, 3, 0][..], &text(0, "knows")].concat();
        })
    };
    not_canonical(&both(["ada", "bob"]));
    fine(&both(["cyd", "dan"]));
}

#[test]
fn a_number_at_the_end_of_a_text_is_told_by_its_difference() {
    let names = |first: &str, second: &[u8]| good().with(|d| d.contents[0] = [&text(0, first), second].concat());
    let read = fine(&names("n007", &[73, 2]));
    assert!(["n007", "n008"].iter().all(|name| read.state().contains_node(NodeId::named(name))));
    fine(&names("n007", &[73, 1]));
    not_canonical(&names("n007", &text(3, "8")));
    not_canonical(&names("n007", &[73, 0]));
    let before = "a content that did not come before";
    refused(&names("n007", &[73, 15]), before);
    refused(&names("n9", &[73, 2]), before);
    refused(&names("name", &[73, 2]), before);
    refused(&good().with(|d| d.contents[0] = [&[73, 2][..], &text(0, "n1")].concat()), before);
    // Too much before the number, or too many digits.
    refused(&names(&format!("{}1", "x".repeat(65)), &[73, 2]), before);
    refused(&names(&"1".repeat(19), &[73, 2]), before);
    fine(&names(&"1".repeat(18), &[73, 2]));
    fine(&names("n9", &text(1, "10")));
}

#[test]
fn dots_are_told_by_what_differs_and_parts_stand_in_their_order() {
    let good = good();
    let dots = |dots: &[&[u8]]| good.with(|d| d.dots = dots.iter().map(|dot| dot.to_vec()).collect());
    refused(&dots(&[&[12, 0xc8, 1], &[0], &[0], &[0], &[6, 16, 0xca, 1]]), "a dot that differs in an unknown way");
    // A difference of nothing.
    not_canonical(&dots(&[&[6, 0, 0xc8, 1], &[0], &[0], &[0], &[6, 16, 0xca, 1]]));
    not_canonical(&dots(&[&[4, 0xc8, 1], &[4, 0], &[0], &[0], &[6, 16, 0xca, 1]]));
    // Longer than needed.
    assert_eq!(
        dots(&[&[4, 0xc8, 0x81, 0], &[0], &[0], &[0], &[6, 16, 0xca, 1]]).read(),
        Err(DecodeError::NotCanonical)
    );
    // A writer that is not there; one that nobody can have.
    refused(&dots(&[&[5, 1, 0xc8, 1], &[0], &[0], &[0], &[7, 1, 16, 0xca, 1]]), "a writer that is not listed");
    let far = &[5, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xc8, 1];
    refused(&dots(&[far, &[0], &[0], &[0], &[6, 16, 0xca, 1]]), "a writer that is not listed");
    // Out of order; one dot in two places.
    refused(&dots(&[&[6, 6, 0xc8, 1], &[2, 11], &[2, 6], &[0], &[6, 16, 0xca, 1]]), "parts out of order");
    refused(&dots(&[&[4, 0xc8, 1], &[2, 1], &[0], &[2, 2], &[6, 16, 0xca, 1]]), "one dot in two places");
    refused(&dots(&[&[4, 0xc8, 1], &[0], &[0], &[0], &[6, 14, 0xca, 1]]), "one dot in two places");
    // The run with the lesser dot is the part's, if both have one write.
    not_canonical(&dots(&[&[4, 0xc8, 1], &[0], &[0], &[0], &[6, 4, 0xca, 1]]));
    // A dot 0.
    refused(&dots(&[&[6, 1, 0xc8, 1], &[2, 2], &[0], &[0], &[6, 16, 0xca, 1]]), "a sibling that no write made");
    // One write is in a run though another stamp is told; another is not though it could be.
    not_canonical(&dots(&[&[4, 0xc8, 1], &[0], &[0], &[0], &[6, 16, 0xc8, 1]]));
    // The least is not the first in its run; two places are one.
    not_canonical(&good.with(|d| {
        d.shapes[0] = shape(1, NAMED, &[[0, NAME, 2], [1, UNIT, 3], [1, TEXT, 4]]);
        d.dots[4] = vec![6, 20, 0xca, 1];
    }));
    refused(
        &good.with(|d| d.shapes[0] = shape(1, NAMED, &[[0, NAME, 1], [1, UNIT, 1], [1, TEXT, 3]])),
        "one dot in two places",
    );
    // Counters that go round.
    let round = good.with(|d| {
        d.shapes[0] = [&[1, NAMED, 0, 3, 0, NAME, 1, 1, UNIT, 2, 1, TEXT][..], &[0xff; 9], &[1]].concat();
    });
    assert!(round.read().is_err());
}

#[test]
fn contents_have_the_form_that_is_theirs_and_the_shortest_spelling() {
    let good = good();
    let contents = |column: usize, bytes: &[u8]| good.with(|d| d.contents[column] = bytes.to_vec());
    let before = "a content that did not come before";
    // A reference to nothing; a prefix longer than what there is, or than may be.
    refused(&contents(3, &[vec![0], text(0, "Bob")].concat()), before);
    refused(&contents(3, &[text(0, "Ada"), vec![1]].concat()), before);
    refused(&contents(3, &[text(1, "Ada"), text(0, "Bob")].concat()), before);
    refused(&contents(3, &[text(0, "Ada"), text(4, "Bob")].concat()), before);
    let long = "x".repeat(100);
    fine(&contents(3, &[text(0, &long), text(64, &long)].concat()));
    refused(&contents(3, &[text(0, &long), text(65, &long)].concat()), before);
    // Spelled though it came before, and with a prefix that is too short.
    fine(&contents(3, &[text(0, "Ada"), vec![0]].concat()));
    not_canonical(&contents(3, &[text(0, "Ada"), text(3, "")].concat()));
    not_canonical(&contents(3, &[text(0, "Ada"), text(0, "Ada")].concat()));
    fine(&contents(3, &[text(0, "Ada"), text(2, "b")].concat()));
    not_canonical(&contents(3, &[text(0, "Ada"), text(1, "db")].concat()));
    // An empty text has a form of its own.
    not_canonical(&contents(3, &[text(0, "Ada"), text(0, "")].concat()));
    not_canonical(&good.with(|d| {
        d.shapes[0][8] = 1 + 4 * 16 + 1;
        d.contents.insert(2, [text(0, ""), vec![0]].concat());
    }));
    // Numbers: as bytes only if they are not spelled in the fewest.
    let as_form = |form: u8, column: &[u8]| {
        good.with(|d| {
            d.shapes[2][8] = form;
            d.contents[2] = column.to_vec();
        })
    };
    let bytes_of = |kind: u8| 1 + 4 * kind + 1;
    not_canonical(&as_form(bytes_of(4), &text(0, "\x05")));
    fine(&as_form(bytes_of(4), &text(0, "\0\x05")));
    // Floats: whole ones below 2⁵³ as whole numbers, −0 and others as they are.
    let fixed = |float: f64| as_form(FIXED, &float.to_be_bytes());
    fine(&as_form(WHOLE, &[9]));
    fine(&fixed(0.1));
    not_canonical(&fixed(0.5));
    // Those that end in zero bytes without these.
    let short = |bytes: &[u8]| {
        good.with(|d| {
            let len = u64::try_from(bytes.len()).unwrap();
            d.shapes[2].splice(8..9, leb128(1 + 4 * 256 + len));
            // The code of the form is greater than that of texts.
            d.contents.remove(2);
            d.contents.push(bytes.to_vec());
        })
    };
    fine(&short(&[0x80]));
    fine(&short(&0.5f64.to_be_bytes()[..2]));
    fine(&short(&0.1f64.to_be_bytes()[..6]));
    not_canonical(&short(&0.5f64.to_be_bytes()[..3]));
    not_canonical(&short(&5f64.to_be_bytes()[..2]));
    truncated(&short(&[0x80]).with(|d| d.contents[3].clear()));
    refused(&short(&0.1f64.to_be_bytes()[..7]), "a kind past 255");
    refused(&short(&[]), "a kind past 255");
    not_canonical(&fixed(-5.0));
    not_canonical(&as_form(WHOLE, &leb128(2 << 53)));
    fine(&as_form(WHOLE, &leb128((2 << 53) - 2)));
    // Forms that no kind has, and kinds that nothing has.
    refused(&as_form(1 + 4 * 6 + 2, &[0]), "a content of an unknown form");
    refused(&as_form(1 + 4 * 4 + 3, &[0]), "a content of an unknown form");
    refused(&good.with(|d| drop(d.shapes[2].splice(8..9, leb128(1 + 4 * 256)))), "a kind past 255");
}

#[test]
fn ends_are_nodes_of_the_delta_or_spelled_out() {
    let good = good();
    let ends = |ends: &[u8]| good.with(|d| d.contents[1] = [ends, &text(0, "knows")].concat());
    let no_node = "an end that is no node";
    // Beyond the parts, before them, and the edge itself.
    refused(&ends(&[1 + 8, 1, 0]), no_node);
    refused(&ends(&[1 + 1, 1, 0]), no_node);
    refused(&ends(&[1 + 4, 1, 0]), no_node);
    refused(&ends(&[&leb128(u64::MAX)[..], &[1, 0]].concat()), no_node);
    fine(&ends(&[1 + 6, 1, 0]));
    let bob = NodeId::named("bob");
    let spelled = |id: &[u8; 16]| [&[1, 0][..], id, &[0]].concat();
    not_canonical(&ends(&spelled(bob.as_bytes())));
    fine(&ends(&spelled(&[1; 16])));
    // A type that is longer than can be told in few bytes is no content of this form.
    let typed = |len: usize| good.with(|d| d.contents[1] = [&[1, 3, 0][..], &text(0, &"t".repeat(len))].concat());
    fine(&typed(64));
    refused(&typed(65), "ends whose type is too long");
    // Another payload of the kind is bytes, and so tells no id.
    let bytes = |content: &str| {
        good.with(|d| {
            d.shapes[1] = shape(2, 1, &[[0, 1 + 4 * 18 + 1, 1]]);
            d.ids = [[6; 16], [7; 16]].concat();
            d.contents[1] = text(0, content);
        })
    };
    fine(&bytes("no ends"));
    not_canonical(&bytes(&"e".repeat(45)));
    fine(&bytes(&"e".repeat(40 + 65)));
}

/// Parts of three bytes, each with sixteen writes.
fn bomb(parts: u64) -> Spelled {
    let fields: Vec<Vec<u8>> = (0..16u8).map(|n| if n == 0 { vec![] } else { vec![9, n] }).collect();
    let writes: Vec<[u8; 3]> = (0..16).map(|n| [u8::from(n > 0), if n == 0 { NAME } else { UNIT }, n + 1]).collect();
    good().with(|d| {
        (d.fields, d.announced, d.upto) = (fields, [parts, 0, 16 * parts], 16 * parts);
        (d.shapes, d.ids) = (vec![shape(1, NAMED, &writes)], vec![]);
        d.parts = vec![0; parts as usize];
        d.dots = (0..parts).map(|n| if n == 0 { vec![4, 2] } else { vec![0] }).collect();
        // The first comes after the others when they are sorted.
        let before = (b'b'..=b'z').map(|letter| char::from(letter).to_string());
        let before = before.into_iter().find(|name| NodeId::named(name).as_bytes() < NodeId::named("a").as_bytes());
        d.contents = vec![[text(0, "a"), text(0, &before.unwrap()), vec![0; parts as usize - 2]].concat()];
    })
}

#[test]
fn few_bytes_that_stand_for_many_take_no_more_memory_than_is_allowed() {
    let _alone = alone();
    let bytes = seal(2, &bomb(100_000).body());
    // All bear one name, so it is refused in the end: within 700 times its bytes.
    let (peak, error) = peak_of(|| Delta::from_bytes(&bytes).err());
    assert_eq!(error, Some(DecodeError::Malformed("entities out of order")));
    println!("{} times the bytes", peak / bytes.len());
    assert!(peak > 300 * bytes.len() && peak < 700 * bytes.len(), "{peak} for {}", bytes.len());
    let (least, error) = peak_of(|| Delta::from_bytes_within(&bytes, 10 << 20).err());
    let Some(DecodeError::Memory { needed, limit }) = error else { panic!("{error:?}") };
    assert!(limit == 10 << 20 && needed > peak as u64 && needed < 800 * bytes.len() as u64, "{needed}, took {peak}");
    assert!(least < 64 << 10, "{least}");
    assert!(error_of(&bytes, needed - 1).is_some_and(|error| error.to_string().contains("from_bytes_within")));
    assert_eq!(error_of(&bytes, needed), Some(DecodeError::Malformed("entities out of order")));
    // The default limit holds as well.
    let large = seal(2, &bomb(MAX_MEMORY / 1_700).body());
    let (peak, error) = peak_of(|| Delta::from_bytes(&large).err());
    assert!(
        matches!(error, Some(DecodeError::Memory { limit: MAX_MEMORY, .. })) && peak < 64 << 10,
        "{error:?}, {peak}"
    );
}

fn error_of(bytes: &[u8], limit: u64) -> Option<DecodeError> {
    Delta::from_bytes_within(bytes, limit).err()
}

/// Decoding a real message stays within the memory that was foreseen, too.
#[test]
fn the_memory_that_is_foreseen_is_enough() {
    let _alone = alone();
    let mut replica = Replica::<Graph>::with_environment(TestEnvironment::new(3));
    for n in 0..2_000 {
        let edit = replica.edit(|g| {
            let node = g.add_node(&format!("person:{n}"))?;
            g.label(node, "Person")?;
            g.set(node, "/name", &*format!("of the name {n}"))?;
            g.set(node, format!("/own-{}", n % 300), n)?;
            g.link(node, "knows", NodeId::named(&format!("person:{}", n / 2)))
        });
        edit.unwrap();
    }
    let delta = replica.complete();
    let bytes = delta.to_bytes();
    let (peak, read) = peak_of(|| Delta::from_bytes(&bytes).unwrap());
    assert_eq!(read, delta);
    let Some(DecodeError::Memory { needed, .. }) = error_of(&bytes, 0) else { panic!("no limit") };
    println!("{} bytes: {peak} taken, {needed} foreseen", bytes.len());
    assert!(peak as u64 <= needed && needed < 8 * peak as u64, "{peak} of {needed}");
}

/// Characters of texts are foreseen, too: in rows, and each by itself behind a long path.
#[test]
fn the_memory_that_is_foreseen_is_enough_for_texts() {
    let _alone = alone();
    for (path, every) in
        [("/t", 1), ("/t", 2), (&*format!("/{}", "p".repeat(150)), 1), (&*format!("/{}", "p".repeat(150)), 2)]
    {
        let mut replica = Replica::<Document>::with_environment(TestEnvironment::new(3));
        // Just past a power of two, where what grows by doubling is largest.
        let letters: String = ('a'..='z').cycle().take(66_000).collect();
        replica.edit(|d| d.text_mut(path).insert(0, &letters)).unwrap();
        replica
            .edit(|d| {
                let mut text = d.text_mut(path);
                (0..if every == 2 { 16_000 } else { 0 }).try_for_each(|at| text.delete(at..at + 1))
            })
            .unwrap();
        replica.prune(Prune::All);
        let delta = replica.complete();
        let bytes = delta.to_bytes();
        let (peak, read) = peak_of(|| Delta::from_bytes(&bytes).unwrap());
        assert!(read == delta);
        let taken = taken(&bytes, peak as u64);
        println!("{} bytes: {peak} taken, {taken} foreseen", bytes.len());
        // The error names the limit that was given, whichever part of the message exceeds it.
        for given in [0, taken / 8, taken / 2] {
            let error = Delta::from_bytes_within(&bytes, given).err();
            let is_told =
                matches!(error, Some(DecodeError::Memory { needed, limit }) if limit == given && needed > given);
            assert!(is_told, "{error:?} within {given}");
        }
        assert!(taken >= peak as u64, "{peak} at the peak, {taken} foreseen");
        assert!(peak < 700 * bytes.len(), "{peak} for {}", bytes.len());
    }
}

/// The least limit within which bytes are read, from so many bytes on.
fn taken(bytes: &[u8], from: u64) -> u64 {
    let (mut low, mut high) = (from / 4, 1 << 40);
    while high - low > from / 64 {
        let middle = low + (high - low) / 2;
        match Delta::from_bytes_within(bytes, middle).is_ok() {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}
