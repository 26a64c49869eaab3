//! A fingerprint of the live state, kept up in O(1) per change.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::bugs::{Bug, is};
use crate::kernel::key::{Entity, Field, Sibling};

/// The sum, modulo 2¹²⁸, of a hash of each live sibling with its address: equal live states have equal fingerprints, in
/// whatever order they came about (Bellare, Micciancio: *A New Paradigm for Collision-Free Hashing*, 1997, on sums of
/// hashes of a multiset).
///
/// It finds bit rot and one dot with two contents. It is no defence against a peer who *looks* for a collision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint as bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(crate) fn add(&mut self, entity: Entity, field: &Field, sibling: &Sibling) {
        self.0 = self.0.wrapping_add(hash(entity, field, sibling));
    }

    pub(crate) fn subtract(&mut self, entity: Entity, field: &Field, sibling: &Sibling) {
        self.0 = self.0.wrapping_sub(hash(entity, field, sibling));
    }
}

/// XXH3-128 of a live sibling; 0 for a tombstone, which does not count.
fn hash(entity: Entity, field: &Field, sibling: &Sibling) -> u128 {
    let Some(payload) = &sibling.payload else { return 0 };
    // Fixed-width parts first, with the length of the one variable part that another follows: no two siblings spell
    // the same bytes.
    let mut head = [0; 48];
    head[0] = entity.kind();
    head[1..17].copy_from_slice(entity.id());
    head[17..27].copy_from_slice(sibling.dot.writer.as_bytes());
    head[27..35].copy_from_slice(&sibling.dot.counter.to_be_bytes());
    head[35..43].copy_from_slice(&sibling.stamp.to_bits().to_be_bytes());
    head[43] = payload.kind();
    head[44..48].copy_from_slice(&(field.as_bytes().len() as u32).to_be_bytes());
    let (name, content) = (field.as_bytes(), if is(Bug::FingerprintBlind) { &[][..] } else { payload.bytes() });
    // Most siblings fit in a small buffer, and hashing one slice is several times faster than feeding a hasher.
    let mut all = [0; 240];
    let end = head.len() + name.len() + content.len();
    if end <= all.len() {
        all[..head.len()].copy_from_slice(&head);
        all[head.len()..head.len() + name.len()].copy_from_slice(name);
        all[head.len() + name.len()..end].copy_from_slice(content);
        return xxhash_rust::xxh3::xxh3_128(&all[..end]);
    }
    let mut hasher = Xxh3::new();
    hasher.update(&head);
    hasher.update(name);
    hasher.update(content);
    hasher.digest128()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::id::{Dot, WriterId};
    use crate::kernel::key::Payload;

    fn sibling(counter: u64, content: &[u8]) -> Sibling {
        Sibling {
            dot: Dot { writer: WriterId::from([1; 10]), counter },
            stamp: Stamp::new(5, 0),
            payload: Some(Payload::new(1, content)),
        }
    }

    fn of(entity: Entity, field: &[u8], sibling: &Sibling) -> Fingerprint {
        let mut f = Fingerprint::default();
        f.add(entity, &Field::new(field), sibling);
        f
    }

    #[test]
    fn nothing_that_a_reader_sees_is_left_out() {
        let base = of(Entity::SELF, b"name", &sibling(1, b"x"));
        assert_ne!(base, of(Entity::new(1, [0; 16]), b"name", &sibling(1, b"x")));
        assert_ne!(base, of(Entity::SELF, b"nam", &sibling(1, b"ex")));
        assert_ne!(base, of(Entity::SELF, b"name", &sibling(2, b"x")));
        assert_ne!(base, of(Entity::SELF, b"name", &sibling(1, b"y")));
        assert_ne!(base, of(Entity::SELF, b"name", &Sibling { stamp: Stamp::new(5, 1), ..sibling(1, b"x") }));
        let kind = Sibling { payload: Some(Payload::new(2, b"x")), ..sibling(1, b"x") };
        assert_ne!(base, of(Entity::SELF, b"name", &kind));
    }

    #[test]
    fn tombstones_do_not_count_and_order_does_not_matter() {
        let (a, b) = (sibling(1, b"x"), sibling(2, &[7; 300]));
        let dead = Sibling { payload: None, ..sibling(3, b"") };
        let field = Field::new(b"f");
        let mut f = Fingerprint::default();
        f.add(Entity::SELF, &field, &a);
        f.add(Entity::SELF, &field, &dead);
        f.add(Entity::SELF, &field, &b);
        f.subtract(Entity::SELF, &field, &a);
        assert_eq!(f, of(Entity::SELF, b"f", &b));
    }

    #[test]
    fn short_and_long_siblings_hash_by_the_same_rule() {
        // One byte below and above the buffer: the value must not depend on which way it was computed.
        for len in [189, 190, 191, 192] {
            let s = sibling(1, &vec![3; len]);
            let mut whole = Vec::new();
            whole.push(0);
            whole.extend_from_slice(&[0; 16]);
            whole.extend_from_slice(&[1; 10]);
            whole.extend_from_slice(&1u64.to_be_bytes());
            whole.extend_from_slice(&Stamp::new(5, 0).to_bits().to_be_bytes());
            whole.push(1);
            whole.extend_from_slice(&1u32.to_be_bytes());
            whole.push(b'f');
            whole.extend_from_slice(&vec![3; len]);
            let expected = Fingerprint(xxhash_rust::xxh3::xxh3_128(&whole));
            assert_eq!(of(Entity::SELF, b"f", &s), expected);
        }
    }
}
