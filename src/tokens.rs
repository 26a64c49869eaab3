//! The parts of a text that a merge takes as wholes.
//!
//! A word is a maximal run without spaces, with all its punctuation: a number, a date, an address, a version is one word
//! and is never put together from two. Within a run in a script without spaces (Chinese, Japanese, Thai, …) it ends between
//! two letters where [UAX #29] ends a word, unless the run has a joint (a dot, a slash, an @) next to a letter within: then
//! it is an address or a value, and whole. Grapheme clusters are never split, and a no-break space is part of a word.
//!
//! [UAX #29]: https://unicode.org/reports/tr29/

use unicode_segmentation::UnicodeSegmentation;

/// How much unchanged text must lie between a change of ours and one of theirs, in [`Token::weight`]s.
pub(crate) const APART: usize = 4;

/// Characters that make one value of what they join.
const JOINTS: [char; 18] =
    ['.', '/', '\\', '@', '_', ':', '=', '&', '#', '%', '+', '~', '-', '$', '．', '／', '＠', '＿'];

/// Spaces at which no line may break: they hold a value together (`10 000`).
const NO_BREAK: [char; 3] = ['\u{a0}', '\u{2007}', '\u{202f}'];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'t> {
    pub(crate) text: &'t str,
    /// How far it keeps two changes apart: a word and a line end suffice alone, blanks count for nothing, of the segments of
    /// a run without spaces it takes [`APART`].
    pub(crate) weight: usize,
}

impl<'t> Token<'t> {
    /// By which it is compared: all line ends are one.
    pub(crate) fn key(&self) -> (&'t str, bool) {
        let line = self.text.trim_end_matches(['\r', '\n']);
        (line, line.len() < self.text.len())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    LineEnd,
    Blank,
    Word,
}

fn class(cluster: &str) -> Class {
    match cluster {
        "\n" | "\r" | "\r\n" => Class::LineEnd,
        _ if cluster.chars().all(|c| c.is_whitespace() && !NO_BREAK.contains(&c)) => Class::Blank,
        _ => Class::Word,
    }
}

/// Words, the blanks between them, and line ends. Together they are the text.
pub(crate) fn words(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut run: Option<(usize, Class)> = None;
    let mut end = |run: Option<(usize, Class)>, at: usize| match run {
        Some((start, Class::Word)) => segments(&text[start..at], &mut tokens),
        Some((start, Class::Blank)) => tokens.push(Token { text: &text[start..at], weight: 0 }),
        Some((start, Class::LineEnd)) => tokens.push(Token { text: &text[start..at], weight: APART }),
        None => {}
    };
    for (at, cluster) in text.grapheme_indices(true) {
        let class = class(cluster);
        if class == Class::LineEnd || run.is_none_or(|(_, of)| of != class) {
            end(run.replace((at, class)), at);
        }
    }
    end(run, text.len());
    tokens
}

/// Lines with their ends.
pub(crate) fn lines(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = match rest.find(['\r', '\n']) {
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, after) = rest.split_at(end);
        tokens.push(Token { text: line, weight: APART });
        rest = after;
    }
    tokens
}

/// One word, or the segments of a run in a script without spaces.
fn segments<'t>(run: &'t str, tokens: &mut Vec<Token<'t>>) {
    let (first, mut start) = (tokens.len(), 0);
    if !run.is_ascii() && !has_joint(run) {
        let mut bounds = run.split_word_bound_indices().map(|(at, _)| at).peekable();
        let mut before = "";
        for (at, cluster) in run.grapheme_indices(true) {
            while bounds.next_if(|bound| *bound < at).is_some() {}
            if bounds.peek() == Some(&at) && is_letter(before) && is_letter(cluster) {
                tokens.push(Token { text: &run[start..at], weight: 1 });
                start = at;
            }
            before = cluster;
        }
    }
    let weight = if tokens.len() == first { APART } else { 1 };
    tokens.push(Token { text: &run[start..], weight });
}

/// True if a joint lies within a run, next to a letter: what numbers hold needs none, since they are never split.
fn has_joint(run: &str) -> bool {
    let chars: Vec<char> = run.chars().collect();
    let joins = |c: char| c.is_alphanumeric() || JOINTS.contains(&c);
    chars.windows(3).any(|around| match around {
        [before, joint, after] => {
            let has_letter = before.is_alphabetic() || after.is_alphabetic();
            JOINTS.contains(joint) && has_letter && joins(*before) && joins(*after)
        }
        _ => false,
    })
}

fn is_letter(cluster: &str) -> bool {
    cluster.chars().next().is_some_and(|c| c.is_alphabetic() && !c.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: &[Token<'_>]) -> Vec<String> {
        tokens.iter().map(|token| token.text.to_owned()).collect()
    }

    #[test]
    fn values_and_clusters_are_whole_and_sentences_without_spaces_are_not() {
        let one = [
            "10.50",
            "2024-05-01",
            "v1.2.3-rc.1",
            "12:30:05",
            "ada@example.com",
            "https://例え.jp/道路?a=1",
            "C:\\a b".split(' ').next().unwrap_or_default(),
            "10\u{a0}000,50",
            "192.168.0.1",
            "don't",
            "(well,",
            "👩‍👩‍👧",
            "🇩🇪🇫🇷",
            "👍🏽👍",
            "é",
            "e\u{301}te\u{301}",
            "한국어",
            "ἀρχή",
            "नमस्ते",
            "コンピュータ",
            "１０．５０",
            "5月",
            "2024年5月1日",
        ];
        for text in one {
            assert_eq!(texts(&words(text)), [text]);
        }
        let many = [
            ("我喜欢苹果。", "我|喜|欢|苹|果。"),
            ("在2024年5月1日出版", "在2024年5月1日|出|版"),
            ("写信给ada@example.com", "写信给ada@example.com"),
            ("在10.50前付", "在10.50前|付"),
            ("用iPhone打", "用|iPhone|打"),
            ("東京タワーへ行く", "東|京|タワー|へ|行|く"),
            ("น้ำดี", "น้ำ|ดี"),
            ("a\r\n\r\nb\n\rc", "a|\r\n|\r\n|b|\n|\r|c"),
            (" a \t b", " |a| \t |b"),
        ];
        for (text, parts) in many {
            assert_eq!(texts(&words(text)).join("|"), parts);
        }
        assert_eq!(texts(&lines("a\r\n\nb\rc")), ["a\r\n", "\n", "b\r", "c"]);
    }
}
