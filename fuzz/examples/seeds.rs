//! Writes the seeds of the corpus: few and small, the same each time.
//!
//! `cargo run --example seeds`, here.

use std::fs;
use std::io;
use std::path::Path;

use driftless::testing::TestEnvironment;
use driftless::{Document, Graph, NodeId, Prune, Replica};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let seed = |target: &str, name: &str, bytes: &[u8]| {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), bytes)
    };

    let scenes =
        ["equal", "both-ways", "pruned-here", "pruned-there", "pruned", "contradiction", "newcomer", "new-peer"];
    for (n, scene) in scenes.iter().enumerate() {
        // So many frames into the conversation; then steps at random.
        seed("frame", scene, &[&[n as u8, n as u8 * 5 % 16][..], &noise(n as u64, 150)].concat())?;
    }

    for (n, world) in ["honest", "persisted", "copies", "lies"].iter().enumerate() {
        let options = [0, 13, 2, 3][n];
        // Writes on either side, and a good network for a while between them.
        let mut steps = vec![options];
        let mut random = noise(n as u64 + 10, 120).into_iter();
        while let (Some(how), Some(place)) = (random.next(), random.next()) {
            steps.extend([how & 0x80, place, how, how, place, 20, 12]);
        }
        seed("sessions", world, &steps)?;
    }

    for n in 0..6 {
        let name = format!("{}-{}", ["document", "graph"][n % 2], n / 2 + 1);
        seed("wellformed", &name, &[&[n as u8 % 2][..], &noise(n as u64 + 20, 200)].concat())?;
    }

    let models = [
        "graph",
        "document",
        "vectors",
        "lww-register",
        "mv-register",
        "max-register",
        "min-register",
        "ew-flag",
        "dw-flag",
        "or-set",
        "rw-set",
        "or-map",
        "g-counter",
        "pn-counter",
    ];
    let places = [0, 4].into_iter().chain(8..20);
    for (place, model) in places.zip(models) {
        seed("ops", model, &[&[place][..], &noise(u64::from(place) + 40, 120)].concat())?;
    }

    let texts = [
        (
            "persona",
            r#"{"name":"Ada","likes":["tea",{"n":[1,-1,2.5]}],"address":{"city":"London","empty":{}},"age":null}"#,
        ),
        (
            "numbers",
            r#"{"n":[0,-0.0,1e300,18446744073709551615,-9223372036854775808,0.1,1E-7]} {"n":{"a":18446744073709551615}}"#,
        ),
        ("keys", r#"{"":{"a/b":1,"m~n":2,"\u0000":3},"é":{"\ud83d\ude00":"\u0000\u0001"}} {"":7}"#),
        ("scalar", r#""text" [[[[[]]]]]"#),
    ];
    for (name, text) in texts {
        seed("json", name, &[b"\x02", text.as_bytes()].concat())?;
    }
    // An array as it is spelled in a cell: bytes, a text, a map, numbers.
    let array = b"\x95\xc4\x02\x01\x02\xa1a\x81\xa1k\xcd\x01\x00\xd0\x80\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00";
    seed("json", "array", &[b"\x01", &array[..]].concat())?;
    seed("json", "bytes", b"\x00\x07any")?;

    // Real messages, from a graph of two devices that have collided and pruned.
    let [mut one, mut other] = [1, 2].map(|seed| Replica::<Graph>::with_environment(TestEnvironment::new(seed)));
    one.set_device("laptop");
    one.edit(|g| g.add_node("ada").and_then(|ada| g.set(ada, "/name", "Ada"))).expect("a plain edit");
    other.merge(&one.complete()).expect("a plain delta");
    let (version, live) = (other.version().clone(), other.live_dots());
    let ada = NodeId::named("ada");
    other.edit(|g| g.set(ada, "/name", "Countess")).expect("a plain edit");
    let (_, incremental) = one.edit(|g| g.set(ada, "/name", "Augusta")).expect("a plain edit");
    one.merge(&other.complete()).expect("a plain delta");
    one.edit(|g| g.unset(ada, "/name")).expect("a plain edit");
    one.prune(Prune::All);
    seed("delta", "incremental", &incremental.to_bytes())?;
    seed("delta", "complete", &one.complete().to_bytes())?;
    seed("delta", "reconciled", &one.reconcile(&version, &live).to_bytes())?;
    seed("state", "graph", &one.save())?;
    seed("delta", "compressed", &one.complete().to_bytes_compressed())?;
    seed("state", "compressed", &one.save_compressed())?;

    let [mut one, mut other] = [3, 4].map(|seed| Replica::<Document>::with_environment(TestEnvironment::new(seed)));
    one.edit(|d| d.text_mut("/t").update("typed 🌱\ntext")).expect("a plain edit");
    other.merge(&one.complete()).expect("a plain delta");
    let version = one.version().clone();
    other.edit(|d| d.text_mut("/t").insert(3, "é語")).expect("a plain edit");
    one.edit(|d| d.text_mut("/t").delete(2..6)).expect("a plain edit");
    one.edit(|d| d.text_mut("/other").insert(0, "x")).expect("a plain edit");
    one.merge(&other.complete()).expect("a plain delta");
    seed("delta", "texts", &one.delta_since(&version).expect("nothing was pruned").to_bytes())?;
    seed("delta", "texts-complete", &one.complete().to_bytes())?;

    let [mut one, mut other] = [5, 6].map(|seed| Replica::<Document>::with_environment(TestEnvironment::new(seed)));
    one.edit(|d| (0..3).try_for_each(|n| d.list_mut("/l").push(&n))).expect("a plain edit");
    other.merge(&one.complete()).expect("a plain delta");
    let version = one.version().clone();
    other.edit(|d| d.list_mut("/l").move_to(0, 2)).expect("a plain edit");
    one.edit(|d| d.list_mut("/l").remove(0)).expect("a plain edit");
    one.edit(|d| d.update("/l/0", &[1, 2]).map(drop)).expect("a plain edit");
    one.edit(|d| d.make_list("/l/0").map(drop)).expect("a plain edit");
    one.merge(&other.complete()).expect("a plain delta");
    seed("delta", "lists", &one.delta_since(&version).expect("nothing was pruned").to_bytes())?;
    seed("delta", "lists-complete", &one.complete().to_bytes())?;

    for n in 0..6 {
        seed("folder_file", &format!("files-{}", n + 1), &noise(n + 80, 160))?;
    }
    Ok(())
}

/// Xorshift (Marsaglia 2003).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
