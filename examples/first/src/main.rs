//! A first merge: two replicas of a graph are edited apart, merged, and disagree on one name until somebody settles it.
//!
//! It needs the library and nothing else, so it is built in seconds.

use std::error::Error;

use driftless::{Delta, Graph, NodeId, Replica};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
    let ada = NodeId::named("person:ada");

    let (_, delta) = laptop.edit(|g| {
        g.add_node("person:ada")?;
        g.label(ada, "Person")?;
        g.set(ada, "/name", "Ada Lovelace")?;
        let note = g.add_node("note:g")?;
        g.link(ada, "wrote", note)
    })?;
    let message = delta.to_bytes();
    phone.merge(&Delta::from_bytes(&message)?)?;
    assert_eq!(laptop.state(), phone.state());
    println!("The laptop writes two nodes and an edge. The phone merges the delta ({} bytes).", message.len());

    println!("\nBoth go offline. The laptop writes the name \"Augusta Ada King\", the phone \"Countess of Lovelace\".");
    laptop.edit(|g| g.set(ada, "/name", "Augusta Ada King"))?;
    phone.edit(|g| g.set(ada, "/name", "Countess of Lovelace"))?;

    let (for_phone, for_laptop) = (laptop.delta_since(phone.version())?, phone.delta_since(laptop.version())?);
    let (a, b) = (for_phone.to_bytes().len(), for_laptop.to_bytes().len());
    phone.merge(&for_phone)?;
    laptop.merge(&for_laptop)?;
    assert_eq!(laptop.state(), phone.state());
    println!(
        "Online again, each sends what the other lacks ({a} and {b} bytes). Both hold the same, and list one conflict:"
    );
    for conflict in phone.state().conflicts() {
        println!("\n{conflict}");
    }

    println!("\nBoth names are kept until somebody who has seen both writes. The phone does:");
    let (_, settled) = phone.edit(|g| g.set(ada, "/name", "Ada King, Countess of Lovelace"))?;
    laptop.merge(&settled)?;
    assert_eq!(laptop.state(), phone.state());
    assert_eq!(laptop.state().conflicts().count(), 0);
    let name = laptop.state().node(ada).and_then(|node| node.get("/name")).ok_or("the node has a name")?;
    println!("the name is \"{}\" on both, and no conflict is left.", name.as_str().ok_or("it is a text")?);

    let (bytes, _) = laptop.save();
    assert_eq!(Replica::<Graph>::load(&bytes)?.state(), laptop.state());
    println!("\nThe laptop's replica is saved in {} bytes, and loaded again.", bytes.len());
    Ok(())
}
