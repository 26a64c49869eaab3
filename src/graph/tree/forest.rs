//! Rooted trees that are cut and joined, with the greatest value on the way to a root: link-cut trees (Sleator, Tarjan 1983).

/// Trees over numbers from 0. Each operation is O(log n) amortised.
#[derive(Default)]
pub(super) struct Forest<V> {
    knots: Vec<Knot<V>>,
}

/// One node. Ways towards a root lie in splay trees, sorted from the root down.
struct Knot<V> {
    /// The parent in the splay tree; of the top of one, what hangs above its way.
    up: Option<usize>,
    below: [Option<usize>; 2],
    value: V,
    /// The node of the greatest value in this part of the splay tree.
    greatest: usize,
}

impl<V: Ord> Forest<V> {
    /// Adds a tree of one, and returns its number.
    pub(super) fn add(&mut self, value: V) -> usize {
        let number = self.knots.len();
        self.knots.push(Knot { up: None, below: [None, None], value, greatest: number });
        number
    }

    /// Gives a root another value.
    pub(super) fn set(&mut self, root: usize, value: V) {
        self.expose(root);
        self.knots[root].value = value;
        self.pull(root);
    }

    /// Hangs a root and all that is below it from a node of another tree.
    pub(super) fn link(&mut self, root: usize, parent: usize) {
        self.expose(root);
        self.knots[root].up = Some(parent);
    }

    /// Makes a node a root, with all that is below it.
    pub(super) fn cut(&mut self, node: usize) {
        self.expose(node);
        if let Some(above) = self.knots[node].below[0].take() {
            self.knots[above].up = None;
        }
        self.pull(node);
    }

    pub(super) fn root(&mut self, node: usize) -> usize {
        self.expose(node);
        let mut root = node;
        while let Some(above) = self.knots[root].below[0] {
            root = above;
        }
        // The splay keeps a long way from being gone again each time.
        self.expose(root);
        root
    }

    /// The node of the greatest value on the way from a node to its root, both included.
    pub(super) fn greatest(&mut self, node: usize) -> usize {
        self.expose(node);
        self.knots[node].greatest
    }

    /// Makes the way from the root to a node one splay tree, with the node at its top.
    fn expose(&mut self, node: usize) {
        let (mut last, mut at) = (None, Some(node));
        while let Some(here) = at {
            self.splay(here);
            self.knots[here].below[1] = last;
            self.pull(here);
            last = Some(here);
            at = self.knots[here].up;
        }
        self.splay(node);
    }

    fn side(&self, node: usize) -> Option<(usize, usize)> {
        let up = self.knots[node].up?;
        let side = self.knots[up].below.iter().position(|below| *below == Some(node))?;
        Some((up, side))
    }

    fn splay(&mut self, node: usize) {
        while let Some((up, side)) = self.side(node) {
            if let Some((_, above)) = self.side(up) {
                self.rotate(if side == above { up } else { node });
            }
            self.rotate(node);
        }
    }

    fn rotate(&mut self, node: usize) {
        let Some((up, side)) = self.side(node) else { return };
        let above = self.side(up);
        let inner = self.knots[node].below[1 - side];
        self.knots[up].below[side] = inner;
        if let Some(inner) = inner {
            self.knots[inner].up = Some(up);
        }
        self.knots[node].below[1 - side] = Some(up);
        self.knots[node].up = self.knots[up].up;
        self.knots[up].up = Some(node);
        if let Some((top, side)) = above {
            self.knots[top].below[side] = Some(node);
        }
        self.pull(up);
        self.pull(node);
    }

    fn pull(&mut self, node: usize) {
        let below = self.knots[node].below.into_iter().flatten().map(|below| self.knots[below].greatest);
        let greatest = below.chain([node]).max_by_key(|number| &self.knots[*number].value);
        self.knots[node].greatest = greatest.unwrap_or(node);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_plain_parents_do(acts in prop::collection::vec((0..3u8, 0..12usize, 0..12usize, 0..99u32), 1..200)) {
            let (mut forest, mut parents, mut values) = (Forest::default(), [None; 12], [0u32; 12]);
            // No two values are equal.
            (0..12).for_each(|i| { forest.add((0, i)); });
            let way = |parents: &[Option<usize>; 12], from| std::iter::successors(Some(from), |at: &usize| parents[*at]).collect::<Vec<_>>();
            for (act, a, b, value) in acts {
                match act {
                    0 if parents[a].is_none() && !way(&parents, b).contains(&a) => {
                        forest.link(a, b);
                        parents[a] = Some(b);
                    }
                    1 => {
                        forest.cut(a);
                        parents[a] = None;
                    }
                    _ if parents[a].is_none() => {
                        forest.set(a, (value, a));
                        values[a] = value;
                    }
                    _ => {}
                }
                let to_root = way(&parents, b);
                prop_assert_eq!(Some(&forest.root(b)), to_root.last());
                prop_assert_eq!(Some(forest.greatest(b)), to_root.into_iter().max_by_key(|at| (values[*at], *at)));
            }
        }
    }
}
