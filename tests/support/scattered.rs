//! Ids and numbers without a pattern, the same in each run.

use driftless::NodeId;
use uuid::Uuid;

/// Random, as ids that come from names are: the worst case for an index.
pub(crate) fn id(n: usize) -> NodeId {
    NodeId::from(Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
}

/// Numbers below a bound in an order without a pattern.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
