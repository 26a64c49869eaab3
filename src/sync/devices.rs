//! Who has seen what, and which tombstones can go.

use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::codec::{DecodeError, decode_devices, encode_devices};
use crate::kernel::Crdt;
use crate::replica::Replica;
use crate::standing::Standing;
use crate::version::Version;

/// The devices that a replica syncs with, and what each has last acknowledged: which tombstones can go.
///
/// A tombstone that every known device has seen costs nobody anything to prune. One that a device has not seen makes that
/// device [reconcile](crate::sync::Reconciling) when it comes back; nothing is lost by it. So a device that stays away
/// holds tombstones up only until the [`Budget`] is exceeded, and forgetting one that comes back after all is no harm.
///
/// ```
/// use driftless::sync::Devices;
/// use driftless::{Budget, Graph, NodeId, Prune, Replica};
/// let (mut laptop, mut phone) = (Replica::<Graph>::new(), Replica::<Graph>::new());
/// laptop.edit(|g| g.add_node("person:ada"))?;
/// let (_, removal) = laptop.edit(|g| g.remove_node(NodeId::named("person:ada")))?;
///
/// let mut devices = Devices::new();
/// devices.acknowledge("phone", phone.version().clone());
/// let now_ms = 1_800_000_000_000;
/// let budget = Budget { age: std::time::Duration::MAX, ..Budget::default() };
/// let plan = devices.plan(&laptop, &budget, now_ms);
/// assert_eq!(laptop.prune(Prune::Upto(&plan)), 0); // the phone has not heard of it
///
/// phone.merge(&laptop.delta_since(phone.version())?)?;
/// devices.acknowledge("phone", phone.version().clone());
/// let plan = devices.plan(&laptop, &budget, now_ms);
/// assert_eq!(laptop.prune(Prune::Upto(&plan)), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    known: BTreeMap<String, Standing>,
}

impl Devices {
    /// No device is known: nobody has to be told of any removal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers that a device has seen this much, durably. The last word counts, even if it is less than the one before:
    /// the device may have been restored from a backup.
    ///
    /// A device that has acknowledged nothing yet is made known by an empty version. Given what a
    /// [`Session`](crate::sync::Session::standing) ended with, the next one with that device tells only what differs from it.
    pub fn acknowledge(&mut self, device: impl Into<String>, standing: impl Into<Standing>) {
        self.known.insert(device.into(), standing.into());
    }

    /// Waits for a device no longer, and returns what it had seen. It may come back at any time and reconcile.
    pub fn forget(&mut self, device: &str) -> Option<Standing> {
        self.known.remove(device)
    }

    /// What a device has last acknowledged.
    pub fn acknowledged(&self, device: &str) -> Option<&Standing> {
        self.known.get(device)
    }

    /// The known devices by name, with what each has last acknowledged.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Standing)> {
        self.known.iter().map(|(device, standing)| (&device[..], standing))
    }

    /// What all known devices have acknowledged, of what has been seen here. O(devices · heads · log writers).
    pub fn seen_by_all(&self, ours: &Version) -> Version {
        self.known.values().fold(ours.clone(), |seen, standing| seen.meet(standing.version()))
    }

    /// Which tombstones to prune: give it to [`Prune::Upto`](crate::Prune::Upto). All that every known device has
    /// acknowledged; and, while the rest exceeds the budget, the oldest of it. `now_ms` is the time in milliseconds since
    /// 1970. O(tombstones · log n).
    ///
    /// With a tombstone go all earlier ones of its path: a device that has not seen those has not seen it, and has to
    /// reconcile because of it anyway.
    pub fn plan<T: Crdt>(&self, replica: &Replica<T>, budget: &Budget, now_ms: u64) -> Version {
        let mut plan = self.seen_by_all(replica.version());
        let oldest = budget.oldest(replica.state().state(), &plan, now_ms);
        plan.observe_all(oldest);
        plan
    }

    /// The list as bytes, to keep beside the state.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode_devices(&self.known)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error, found within bounded memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { known: decode_devices(bytes)? })
    }
}
