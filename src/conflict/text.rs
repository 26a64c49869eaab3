//! Three-way merge of texts that never makes a value that nobody wrote.
//!
//! diff3 (Khanna, Kunal, Pierce 2007) over the [tokens](crate::tokens) of the three texts:
//!
//! 1. Both texts are compared with the base, by Myers' algorithm without their common ends.
//! 2. A change of ours and one of theirs that have too little unchanged text between them are one conflict, unless both made
//!    of the base the same: a word, a line end, or four segments of a script without spaces must lie between. Blanks do not
//!    suffice, so a date and its time, a number and its unit, a name and a surname are not put together from two.
//! 3. Without a conflict, each change is made, and each line end is spelled as the one who changed it has it.
//!
//! The invariant: between a change of ours and one of theirs at least one token is in all three texts. So whatever stands
//! side by side in the result stands so in ours or theirs, and each word of it is a word of one of the three texts.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::tokens::{APART, Token, lines, words};

/// The most tokens that are compared, without common ends: the time of a comparison grows with the product of length and
/// difference, and this keeps the worst one well under a second.
const MAX_TOKENS: usize = 8192;

/// The reason why two texts could not be merged.
#[derive(PartialEq, Debug)]
pub(super) enum TextError {
    /// The two texts changed the same place: the merge with marks.
    Overlap(String),
    TooLong,
}

/// Merges two texts that come from one: word by word, or line by line if that is too many.
pub(super) fn merge(base: &str, ours: &str, theirs: &str) -> Result<String, TextError> {
    if ours == theirs || theirs == base {
        return Ok(ours.to_owned());
    }
    if ours == base {
        return Ok(theirs.to_owned());
    }
    let texts = [base, ours, theirs];
    let [by_word, by_line] = [words, lines].map(|split| texts.map(split));
    let merge = Merge::of(&by_word).or_else(|| Merge::of(&by_line));
    if let Some(merged) = merge.and_then(|merge| merge.text(None)) {
        return Ok(merged);
    }
    // Every line with its end, or a mark would follow on the last one.
    let ended = texts.map(|text| if text.ends_with(['\r', '\n']) { text.to_owned() } else { format!("{text}\n") });
    let tokens = ended.each_ref().map(|text| lines(text));
    let by_line = Merge::of(&tokens).ok_or(TextError::TooLong)?;
    let marked = match by_line.has_conflict() {
        true => by_line.text(Some(mark)).unwrap_or_default(),
        // Within lines that are the same on both sides; not to be told by lines.
        false => {
            let mut marked = String::new();
            mark(&mut marked, tokens.each_ref().map(|tokens| &tokens[..]));
            marked
        }
    };
    Err(TextError::Overlap(marked))
}

/// Writes a conflict of the base, ours and theirs.
type Mark = fn(&mut String, [&[Token<'_>]; 3]);

/// Writes what all three say in one place, between marks.
fn mark(marked: &mut String, [base, ours, theirs]: [&[Token<'_>]; 3]) {
    for (line, tokens) in [("<<<<<<< ours\n", ours), ("||||||| original\n", base), ("=======\n", theirs)] {
        marked.push_str(line);
        tokens.iter().for_each(|token| marked.push_str(token.text));
    }
    marked.push_str(">>>>>>> theirs\n");
}

/// A change of one side, or the same of both.
struct Change {
    base: Range<usize>,
    /// The ranges of the change in ours and in theirs, as far as they make it.
    sides: [Option<Range<usize>>; 2],
}

/// Changes that are too close together to tell apart.
struct Group {
    base: Range<usize>,
    /// The number of tokens by which ours and theirs are longer than the base, once the group is past.
    shift: [isize; 2],
    is_of: [bool; 2],
}

struct Merge<'m, 't> {
    texts: &'m [Vec<Token<'t>>; 3],
    groups: Vec<Group>,
}

impl<'m, 't> Merge<'m, 't> {
    /// Finds the changes. `None` if there is too much to compare.
    fn of(texts: &'m [Vec<Token<'t>>; 3]) -> Option<Self> {
        let [base, ours, theirs] = texts.each_ref().map(|tokens| tokens.iter().map(Token::key).collect::<Vec<_>>());
        let mut changes: Vec<Change> = Vec::new();
        let of_ours = compare(&base, &ours)?.into_iter().map(|(base, side)| Change { base, sides: [Some(side), None] });
        let of_theirs =
            compare(&base, &theirs)?.into_iter().map(|(base, side)| Change { base, sides: [None, Some(side)] });
        changes.extend(of_ours);
        changes.extend(of_theirs);
        changes.sort_by_key(|change| (change.base.start, change.base.end));
        changes.dedup_by(|next, kept| {
            let same = match (&kept.sides, &next.sides) {
                ([Some(a), None], [None, Some(b)]) => kept.base == next.base && ours[a.clone()] == theirs[b.clone()],
                _ => false,
            };
            if same {
                kept.sides[1] = next.sides[1].take();
            }
            same
        });
        let mut merge = Self { texts, groups: Vec::new() };
        changes.into_iter().for_each(|change| merge.add(&change));
        Some(merge)
    }

    /// Adds the next change: to the last group, if that is close by.
    fn add(&mut self, change: &Change) {
        let shift = self.groups.last().map_or([0; 2], |group| group.shift);
        let start = change.base.start;
        let is_close = self.groups.last().is_some_and(|group| {
            let between = self.texts[0].get(group.base.end..start).unwrap_or_default();
            between.iter().map(|token| token.weight).sum::<usize>() < APART
        });
        if !is_close {
            self.groups.push(Group { base: start..start, shift, is_of: [false; 2] });
        }
        let Some(group) = self.groups.last_mut() else { return };
        group.base.end = group.base.end.max(change.base.end);
        let is_of_both = change.sides.iter().all(Option::is_some);
        for (side, range) in change.sides.iter().enumerate() {
            if let Some(range) = range {
                group.shift[side] += range.len() as isize - change.base.len() as isize;
                group.is_of[side] |= !is_of_both;
            }
        }
    }

    /// The tokens of the base, ours and theirs where a group is.
    fn contents(&self, at: usize) -> [&'m [Token<'t>]; 3] {
        let group = &self.groups[at];
        let before = at.checked_sub(1).map_or([0; 2], |before| self.groups[before].shift);
        let [base, ours, theirs] = self.texts;
        let shifted = |tokens: &'m [Token<'t>], side: usize| {
            let start = group.base.start.saturating_add_signed(before[side]);
            let end = group.base.end.saturating_add_signed(group.shift[side]);
            tokens.get(start..end).unwrap_or_default()
        };
        [&base[group.base.clone()], shifted(ours, 0), shifted(theirs, 1)]
    }

    /// The tokens that a group becomes, unless both sides changed it, and differently.
    fn settled(&self, at: usize) -> Option<&'m [Token<'t>]> {
        let [_, ours, theirs] = self.contents(at);
        match self.groups[at].is_of {
            [false, true] => Some(theirs),
            [true, true] => ours.iter().map(Token::key).eq(theirs.iter().map(Token::key)).then_some(ours),
            _ => Some(ours),
        }
    }

    fn has_conflict(&self) -> bool {
        (0..self.groups.len()).any(|at| self.settled(at).is_none())
    }

    /// The merged text. Conflicts are written by `mark`; without one, `None` if there is any.
    fn text(&self, mark: Option<Mark>) -> Option<String> {
        let (mut text, mut done, mut shift) = (String::new(), 0, [0; 2]);
        for (at, group) in self.groups.iter().enumerate() {
            self.push_unchanged(&mut text, done..group.base.start, shift);
            match (self.settled(at), mark) {
                (Some(tokens), _) => tokens.iter().for_each(|token| text.push_str(token.text)),
                (None, Some(mark)) => mark(&mut text, self.contents(at)),
                (None, None) => return None,
            }
            (done, shift) = (group.base.end, group.shift);
        }
        self.push_unchanged(&mut text, done..self.texts[0].len(), shift);
        Some(text)
    }

    /// Tokens that all three hold, as whoever changed their spelling has them: line ends.
    fn push_unchanged(&self, text: &mut String, base: Range<usize>, shift: [isize; 2]) {
        let [of_base, ours, theirs] = self.texts;
        for at in base {
            let was = of_base[at].text;
            let spelled = |tokens: &[Token<'t>], shift| {
                at.checked_add_signed(shift).and_then(|at| tokens.get(at)).map_or(was, |token| token.text)
            };
            let of_ours = spelled(ours, shift[0]);
            text.push_str(if of_ours == was { spelled(theirs, shift[1]) } else { of_ours });
        }
    }
}

/// The differences of a text from the base: ranges of both, in order. `None` if there is too much to compare.
fn compare<T: Eq + std::hash::Hash>(base: &[T], text: &[T]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let start = base.iter().zip(text).take_while(|(a, b)| a == b).count();
    let (base, text) = (&base[start..], &text[start..]);
    let end = base.iter().rev().zip(text.iter().rev()).take_while(|(a, b)| a == b).count();
    let (base, text) = (&base[..base.len() - end], &text[..text.len() - end]);
    if base.len().max(text.len()) > MAX_TOKENS {
        return None;
    }
    let shifted = |range: Range<usize>| range.start + start..range.end + start;
    let changes = capture_diff_slices(Algorithm::Myers, base, text).into_iter();
    let changes = changes.filter(|change| !matches!(change, DiffOp::Equal { .. }));
    Some(changes.map(|change| (shifted(change.old_range()), shifted(change.new_range()))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Checks a merge, both ways round.
    fn merges(base: &str, ours: &str, theirs: &str, merged: &str) {
        assert_eq!(merge(base, ours, theirs).as_deref(), Ok(merged));
        assert_eq!(merge(base, theirs, ours).as_deref(), Ok(merged));
    }

    #[test]
    fn changes_of_different_words_are_both_kept() {
        let base = "Ada wrote the first program.\nIt was never run.";
        let ours = "Ada Lovelace wrote the first program.\nIt was never run.";
        let theirs = "Ada wrote the first published program.\nIt was never run, alas.";
        merges(base, ours, theirs, "Ada Lovelace wrote the first published program.\nIt was never run, alas.");
    }

    #[test]
    fn no_value_is_put_together_from_two() {
        let cases = [
            ("10.50", "11.50", "10.99"),
            ("It costs 10.50 now", "It costs 11.50 now", "It costs 10.99 now"),
            ("1,000,000", "2,000,000", "1,000,005"),
            ("10\u{202f}000", "11\u{202f}000", "10\u{202f}500"),
            ("10 000", "11 000", "10 500"),
            ("5 kg", "6 kg", "5 lb"),
            ("2024-05-01", "2025-05-01", "2024-05-31"),
            ("2024-05-01 10:30", "2024-05-02 10:30", "2024-05-01 11:30"),
            ("1 May 2024", "2 May 2024", "1 June 2024"),
            ("2024年5月1日", "2025年5月1日", "2024年6月1日"),
            ("10:30:00", "11:30:00", "10:30:59"),
            ("1.2.3", "2.2.3", "1.2.4"),
            ("v1.0.0-alpha.1", "v2.0.0-alpha.1", "v1.0.0-alpha.2"),
            ("ada@example.com", "eva@example.com", "ada@example.org"),
            ("https://example.com/a?b=1", "http://example.com/a?b=1", "https://example.com/a?b=2"),
            ("/home/ada/notes.md", "/home/eva/notes.md", "/home/ada/notes.txt"),
            ("C:\\Users\\ada", "D:\\Users\\ada", "C:\\Users\\eva"),
            ("192.168.0.1", "10.168.0.1", "192.168.0.2"),
            ("fe80::1:2", "fe81::1:2", "fe80::1:3"),
            ("+49 30 1234", "+43 30 1234", "+49 31 1234"),
            ("snake_case_name", "snail_case_name", "snake_case_game"),
            ("well-known", "ill-known", "well-meant"),
            ("Ada King", "Eva King", "Ada Byron"),
            // Family, skin tone, flags.
            ("👨‍👩‍👧", "👩‍👩‍👧", "👨‍👩‍👦"),
            ("👍🏽", "👎🏽", "👍🏿"),
            ("🇩🇪🇫🇷", "🇦🇹🇫🇷", "🇩🇪🇮🇹"),
            // Combining marks.
            ("e\u{301}te", "e\u{300}te", "e\u{301}te\u{301}"),
            ("नमस्ते", "नमस्तो", "समस्ते"),
            ("น้ำ", "ป้ำ", "น้า"),
            // Two changes of a few letters in a script without spaces.
            ("北京大学", "北平大学", "北京中学"),
            ("三百五十一", "四百五十一", "三百五十二"),
            // A word and what one appends to it while the other takes the space away.
            ("x ", "x y", "x"),
        ];
        for (base, ours, theirs) in cases {
            for text in [merge(base, ours, theirs), merge(base, theirs, ours)] {
                let Err(TextError::Overlap(marked)) = text else { panic!("{base}, {ours}, {theirs}: {text:?}") };
                assert!([base, ours, theirs].iter().all(|text| marked.contains(text)), "{marked}");
            }
        }
    }

    #[test]
    fn values_that_are_changed_in_different_places_are_both_kept() {
        merges(
            "from 10.50 to 20.50 now",
            "from 11.50 to 20.50 now",
            "from 10.50 to 20.99 now",
            "from 11.50 to 20.99 now",
        );
        // Lines are apart.
        merges("milk 1\neggs 6\n", "milk 2\neggs 6\n", "milk 1\neggs 12\n", "milk 2\neggs 12\n");
        merges("milk\neggs\n", "milk\neggs\nbread\n", "oat milk\neggs\n", "oat milk\neggs\nbread\n");
        merges("a b c", "a b", "a b c", "a b");
    }

    #[test]
    fn the_two_ends_of_a_sentence_without_spaces_do_not_collide() {
        merges("我们今天去公园散步。", "他们今天去公园散步。", "我们今天去公园跑步。", "他们今天去公园跑步。");
        merges(
            "私は毎日東京で働いています",
            "彼は毎日東京で働いています",
            "私は毎日東京で働いていました",
            "彼は毎日東京で働いていました",
        );
        merges("ฉันชอบกินข้าวผัด", "เธอชอบกินข้าวผัด", "ฉันชอบกินข้าวต้ม", "เธอชอบกินข้าวต้ม");
        // A value in the midst of it is whole.
        merges(
            "请在10.50前支付给我们公司",
            "请在11.50前支付给我们公司",
            "请在10.50前支付给我们银行",
            "请在11.50前支付给我们银行",
        );
    }

    #[test]
    fn other_line_ends_are_no_other_text() {
        let (base, crlf) = ("one two three\nfour\nfive\n", "one two three\r\nfour\r\nfive\r\n");
        merges(base, crlf, "one two three\nfour\nsix\n", "one two three\r\nfour\r\nsix\r\n");
        merges(base, "one\r\ntwo three\nfour\nfive\n", crlf, "one\r\ntwo three\r\nfour\r\nfive\r\n");
        // And never half of one.
        assert_eq!(merge("a\r\nb", "a\nb", "a\rb").as_deref(), Ok("a\nb"));
    }

    #[test]
    fn small_changes_of_a_long_note_are_both_kept() {
        let note: Vec<String> = (0..50_000).map(|n| format!("word{}", n % 977)).collect();
        let changed = |at: usize| {
            let mut note = note.clone();
            note[at] = "new".into();
            note
        };
        let mut both = changed(10);
        both[49_990] = "new".into();
        let [note, ours, theirs, both] = [&note, &changed(10), &changed(49_990), &both].map(|words| words.join(" "));
        merges(&note, &ours, &theirs, &both);
    }

    #[test]
    fn changes_of_the_same_word_are_marked() {
        for end in ["", "\n", "\r\n"] {
            let texts = ["a tall tree", "a small tree", "a green tree"].map(|text| format!("{text}{end}"));
            let Err(TextError::Overlap(merged)) = merge(&texts[0], &texts[1], &texts[2]) else {
                panic!("they overlap");
            };
            let lines: Vec<&str> = merged.lines().filter(|line| !line.starts_with(['<', '|', '=', '>'])).collect();
            assert_eq!(lines, ["a small tree", "a tall tree", "a green tree"]);
        }
        let Err(TextError::Overlap(merged)) = merge("a\nb\nc\nd\ne", "A\nb\nx\nd\ne", "a\nb\ny\nd\nE") else {
            panic!("they overlap");
        };
        assert_eq!(merged, "A\nb\n<<<<<<< ours\nx\n||||||| original\nc\n=======\ny\n>>>>>>> theirs\nd\nE\n");
    }

    #[test]
    fn what_is_too_long_is_refused_at_once() {
        let numbered = |of: &str| (0..10_000).map(|n| format!("{of}{n}\n")).collect::<String>();
        assert_eq!(merge(&numbered("a"), &numbered("b"), &numbered("c")), Err(TextError::TooLong));
    }

    /// The words and segments of a text.
    fn parts(text: &str) -> BTreeSet<&str> {
        words(text).into_iter().map(|token| token.text).filter(|text| !text.trim().is_empty()).collect()
    }

    fn any_text() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "a", "b", "1", "2", ".", ",", "-", "@", "/", " ", " ", " ", "\n", "\r\n", "\r", "\u{a0}", "\u{301}", "北",
            "京", "大", "学", "。", "タ", "ワ", "น", "้", "ำ", "👩", "\u{200d}", "🏽", "🇩", "🇪", "é", "한",
        ]);
        prop::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
    }

    /// A text with a few parts replaced, removed and put in.
    fn edited(text: &str, edits: &[(prop::sample::Index, u8, String)]) -> String {
        let mut tokens: Vec<&str> = words(text).into_iter().map(|token| token.text).collect();
        for (at, what, new) in edits {
            let at = at.index(tokens.len() + 1);
            match what % 3 {
                0 => tokens.insert(at, new),
                _ if at == tokens.len() => {}
                1 => tokens[at] = new,
                _ => drop(tokens.remove(at)),
            }
        }
        tokens.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        #[test]
        fn every_word_of_a_merge_was_written_by_somebody(
            base in prop::collection::vec(any_text(), 1..6).prop_map(|texts| texts.join(" ")),
            [ours, theirs] in [0, 1].map(|_| prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any_text()), 1..4)),
        ) {
            let [ours, theirs] = [&ours, &theirs].map(|edits| edited(&base, edits));
            if let Ok(merged) = merge(&base, &ours, &theirs) {
                let texts = [&base, &ours, &theirs];
                let written: BTreeSet<&str> = texts.iter().flat_map(|text| parts(text)).collect();
                for part in parts(&merged) {
                    prop_assert!(written.contains(part), "{part:?} of {merged:?} out of {texts:?}");
                }
                // By an account that knows nothing of tokens: where there are no scripts without spaces.
                if !base.contains(['北', '京', '大', '学', 'タ', 'ワ', 'น']) && texts.iter().all(|text| text.is_ascii()) {
                    let written: BTreeSet<&str> = texts.iter().flat_map(|text| text.split_whitespace()).collect();
                    prop_assert!(merged.split_whitespace().all(|run| written.contains(run)), "{merged:?} out of {texts:?}");
                }
            }
        }

        #[test]
        fn tokens_are_the_whole_text(text in any_text()) {
            prop_assert_eq!(words(&text).iter().map(|token| token.text).collect::<String>(), text.clone());
            prop_assert_eq!(lines(&text).iter().map(|token| token.text).collect::<String>(), text);
        }

        #[test]
        fn whoever_changed_nothing_gets_the_other(base in any_text(), other in any_text()) {
            prop_assert_eq!(merge(&base, &other, &base).ok(), Some(other.clone()));
            prop_assert_eq!(merge(&base, &base, &other).ok(), Some(other.clone()));
            prop_assert_eq!(merge(&base, &other, &other).ok(), Some(other));
        }
    }
}
