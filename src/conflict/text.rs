//! Three-way merge of texts.

use std::fmt::Write;

/// More tokens than this are not told apart: the time that a comparison takes grows with the product of length and
/// difference, and this keeps the worst one well under a second.
const MAX_TOKENS: usize = 8192;

/// Why two texts could not be merged.
#[derive(PartialEq, Debug)]
pub(super) enum TextError {
    /// Both changed the same place: the merge with marks.
    Overlap(String),
    TooLong,
}

/// Merges two texts that come from one: word by word, or line by line if that is too many.
pub(super) fn merge(base: &str, ours: &str, theirs: &str) -> Result<String, TextError> {
    let texts = [base, ours, theirs];
    let fits = |split: fn(&str) -> usize| texts.iter().all(|text| split(text) <= MAX_TOKENS);
    if fits(|text| words(text).count()) {
        let [base, ours, theirs] = texts.map(to_lines);
        if let Ok(merged) = diffy::merge(&base, &ours, &theirs) {
            return Ok(from_lines(&merged));
        }
    }
    if !fits(|text| text.lines().count()) {
        return Err(TextError::TooLong);
    }
    // Every line with its end, or a mark would follow on the last one.
    let ended = texts.map(|text| if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") });
    let [base, ours, theirs] = &ended;
    let is_open = texts.iter().any(|text| !text.ends_with('\n'));
    match diffy::merge(base, ours, theirs) {
        Ok(mut merged) => {
            if is_open && merged.ends_with('\n') {
                merged.pop();
            }
            Ok(merged)
        }
        Err(marked) => Err(TextError::Overlap(marked)),
    }
}

/// Runs of letters and digits, and each other character by itself.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let len = match first.is_alphanumeric() {
            true => rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(len);
        rest = after;
        Some(word)
    })
}

/// One word a line, for a merge that works on lines. A line's end is spelled out.
fn to_lines(text: &str) -> String {
    let mut lines = String::with_capacity(2 * text.len());
    for word in words(text) {
        // Writing to a string does not fail.
        let _ = match word {
            "\n" => writeln!(lines, "\\n"),
            "\r" => writeln!(lines, "\\r"),
            word => writeln!(lines, "={word}"),
        };
    }
    lines
}

fn from_lines(lines: &str) -> String {
    lines
        .split_terminator('\n')
        .map(|line| match line {
            "\\n" => "\n",
            "\\r" => "\r",
            word => word.strip_prefix('=').unwrap_or(word),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_of_different_words_are_both_kept() {
        let base = "Ada wrote the first program.\nIt was never run.";
        let ours = "Ada Lovelace wrote the first program.\nIt was never run.";
        let theirs = "Ada wrote the first published program.\nIt was never run, alas.";
        let merged = "Ada Lovelace wrote the first published program.\nIt was never run, alas.";
        assert_eq!(merge(base, ours, theirs).as_deref(), Ok(merged));
        assert_eq!(merge(base, theirs, ours).as_deref(), Ok(merged));
    }

    #[test]
    fn changes_of_the_same_word_are_marked() {
        for end in ["", "\n"] {
            let texts = ["a tall tree", "a small tree", "a green tree"].map(|text| format!("{text}{end}"));
            let Err(TextError::Overlap(merged)) = merge(&texts[0], &texts[1], &texts[2]) else {
                panic!("they overlap");
            };
            let lines: Vec<&str> = merged.lines().filter(|line| !line.starts_with(['<', '|', '=', '>'])).collect();
            assert_eq!(lines, ["a small tree", "a tall tree", "a green tree"]);
        }
    }

    #[test]
    fn what_is_too_long_is_refused_at_once() {
        let (base, other) = ("\n".repeat(10_000), "x\n".repeat(10_000));
        assert_eq!(merge(&base, &other, &base), Err(TextError::TooLong));
    }

    proptest! {
        #[test]
        fn words_survive_as_lines(text in "[ab\\\\=\r\n é]{0,30}") {
            prop_assert_eq!(from_lines(&to_lines(&text)), text);
        }

        #[test]
        fn whoever_changed_nothing_gets_the_other(base in "[ab \n]{0,30}", other in "[ab \n]{0,30}") {
            prop_assert_eq!(merge(&base, &other, &base).ok(), Some(other.clone()));
            prop_assert_eq!(merge(&base, &base, &other).ok(), Some(other.clone()));
            prop_assert_eq!(merge(&base, &other, &other).ok(), Some(other));
        }
    }
}
