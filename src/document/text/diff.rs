//! The changes that make one string of another.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::tokens::{Token, lines, words};

/// The most words, or lines, that are compared.
const MAX_TOKENS: usize = 8192;

/// A range of the old string, in scalars, and the characters that take its place.
#[derive(PartialEq, Debug)]
pub(super) struct Change {
    pub(super) range: Range<usize>,
    pub(super) inserted: Vec<char>,
}

/// The changes from the left: what both strings have in common at their ends stays, and so do equal words between.
pub(super) fn changes(old: &str, new: &str) -> Vec<Change> {
    let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let [old_rest, new_rest] = [&old[head..], &new[head..]];
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let [old_middle, new_middle] =
        [old_rest, new_rest].map(|rest| rest[..rest.len() - tail].iter().collect::<String>());
    let (mut at, mut changes) = (head, Vec::new());
    for (gone, come) in compared(&old_middle, &new_middle) {
        let len = gone.chars().count();
        if gone != come {
            changes.push(Change { range: at..at + len, inserted: come.chars().collect() });
        }
        at += len;
    }
    changes
}

/// The two strings in pieces that are equal, or take each other's place.
fn compared<'t>(old: &'t str, new: &'t str) -> Vec<(&'t str, &'t str)> {
    if old.is_empty() || new.is_empty() {
        return vec![(old, new)];
    }
    let split = [words, lines].iter().map(|split| [split(old), split(new)]);
    let Some([old_tokens, new_tokens]) = split.into_iter().find(|[old, new]| old.len().max(new.len()) <= MAX_TOKENS)
    else {
        return vec![(old, new)];
    };
    let texts = |tokens: &[Token<'t>]| tokens.iter().map(|token| token.text).collect::<Vec<_>>();
    let ops = capture_diff_slices(Algorithm::Myers, &texts(&old_tokens), &texts(&new_tokens));
    let (old_ends, new_ends) = (ends(&old_tokens), ends(&new_tokens));
    let piece = |op: &DiffOp| {
        let (from, to) = (op.old_range(), op.new_range());
        (&old[old_ends[from.start]..old_ends[from.end]], &new[new_ends[to.start]..new_ends[to.end]])
    };
    ops.iter().map(piece).collect()
}

/// The offset in bytes before each token, and at the end.
fn ends(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut at = 0;
    let ends = tokens.iter().map(|token| {
        at += token.text.len();
        at
    });
    [0].into_iter().chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(old: &str, changes: &[Change]) -> String {
        let mut letters: Vec<char> = old.chars().collect();
        for Change { range, inserted } in changes.iter().rev() {
            letters.splice(range.clone(), inserted.iter().copied());
        }
        letters.into_iter().collect()
    }

    proptest! {
        #[test]
        fn changes_make_the_new_string(old in "[ab \\n🌱é]{0,24}", new in "[ab \\n🌱é]{0,24}") {
            prop_assert_eq!(applied(&old, &changes(&old, &new)), new);
        }
    }

    #[test]
    fn what_stays_is_not_touched() {
        let found = changes("the quick fox jumps over the dog", "the slow fox jumps over a dog");
        let of: Vec<_> = found.iter().map(|c| (c.range.clone(), c.inserted.iter().collect::<String>())).collect();
        assert_eq!(of, [(4..9, "slow".into()), (25..28, "a".into())]);
        assert_eq!(changes("same", "same"), []);
    }
}
