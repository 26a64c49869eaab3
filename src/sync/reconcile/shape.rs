//! The tree of stretches that a reconciliation descends. Both sides derive the same one from how many blocks there are.

use std::ops::Range;

/// The levels from the first question down to single blocks, at most. With them, the words, the difference and one
/// whole bitmap if the check fails make eight turns: four round trips.
const LEVELS: u32 = 5;

/// The most stretches that the first question is about, unless [`LEVELS`] and the least fan-out make fewer of them.
const FIRST: u64 = 128;

/// The least fan-out, as a power of two. A difference costs a path of fan-out × levels fingerprints, which two, three and
/// four make about equally many; four takes half the levels that two does.
const LEAST_FAN: u32 = 2;

/// The first question is about stretches of sixteen blocks at least: asked about smaller ones it would cost a fifth of
/// the bitmap or more.
const LEAST_FIRST: u32 = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    blocks: u64,
    /// How many children a stretch has, as a power of two.
    fan: u32,
    /// Where the descent begins; level 0 are the blocks.
    pub(super) top: u32,
    /// Bytes of a fingerprint.
    pub(super) width: usize,
}

impl Shape {
    pub(super) fn new(blocks: u64) -> Self {
        let enough = |fan: &u32| blocks.div_ceil(1 << (fan * (LEVELS - 1))) <= FIRST;
        let fan = (LEAST_FAN..13).find(enough).unwrap_or(13);
        let small = |top: &u32| blocks.div_ceil(1 << (fan * top)) <= FIRST;
        let top = (LEAST_FIRST..LEVELS - 1).find(small).unwrap_or(LEVELS - 1);
        // Were all stretches to differ, of which there are fewer than 1.5 times the blocks, one of them would seem equal
        // in less than one descent of a hundred and seventy; with a thousand that differ on four levels, in one of five
        // thousand. The check finds it, and what it costs is a whole bitmap.
        let width = (3..8).find(|width| blocks < 1 << (8 * (width - 1))).unwrap_or(8);
        Self { blocks, fan, top, width }
    }

    /// How many stretches a level has.
    pub(super) fn count(&self, level: u32) -> u64 {
        self.blocks.div_ceil(self.size(level))
    }

    /// How many blocks a stretch has, but perhaps the last.
    pub(super) fn size(&self, level: u32) -> u64 {
        1 << (self.fan * level)
    }

    /// The blocks of a stretch.
    pub(super) fn blocks(&self, level: u32, stretch: u64) -> Range<u64> {
        let size = self.size(level);
        stretch * size..((stretch + 1) * size).min(self.blocks)
    }

    /// The stretches of the next level within one.
    pub(super) fn children(&self, level: u32, stretch: u64) -> Range<u64> {
        stretch << self.fan..((stretch + 1) << self.fan).min(self.count(level - 1))
    }

    /// How many times smaller the stretches of the next level are.
    pub(super) fn fan(&self) -> u64 {
        1 << self.fan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_covered_by_every_level() {
        for blocks in [0, 1, 15, 16, 17, 2000, 2048, 2049, 19_532, 32_768, 32_769, 1 << 20, 1 << 30, (1 << 57) - 1] {
            let shape = Shape::new(blocks);
            assert!(shape.top < LEVELS && shape.count(shape.top) <= FIRST, "{shape:?}");
            assert!(shape.width == 8 || blocks << 8 < 1 << (8 * shape.width), "{shape:?}");
            assert_eq!(shape.count(0), blocks);
            for level in 0..=shape.top {
                let last = shape.count(level).saturating_sub(1);
                for stretch in [0, last / 2, last].into_iter().filter(|_| blocks > 0) {
                    let range = shape.blocks(level, stretch);
                    assert!(range.end <= blocks && !range.is_empty(), "{shape:?} {level} {range:?}");
                    if level > 0 {
                        let children = shape.children(level, stretch);
                        assert_eq!(shape.blocks(level - 1, children.start).start, range.start);
                        assert_eq!(shape.blocks(level - 1, children.end - 1).end, range.end);
                    }
                }
            }
        }
    }
}
