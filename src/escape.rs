//! Text of peers, made fit to be printed.

use std::fmt::{self, Display, Formatter, Write};

/// Displays something with its control characters escaped, as `\u{1b}` and the like.
///
/// Names, paths, values and device names come from peers. Printed as they are, they could move the cursor, forge lines of
/// a log, or turn the direction of text. Escaped are the control characters (C0, DEL, C1), the separators of lines and
/// paragraphs, the marks of direction, and the byte order mark. Everything else is printed as it is, joiners and
/// combining marks included, so text in any script stays readable.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_control) {
            let (plain, tail) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut tail = tail.chars();
            if let Some(control) = tail.next() {
                write!(self.0, "{}", control.escape_default())?;
            }
            rest = tail.as_str();
        }
        self.0.write_str(rest)
    }
}

fn is_control(c: char) -> bool {
    let of_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || of_direction || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out_and_every_script_is_left_alone() {
        let escaped = |text: &str| Escaped(text).to_string();
        assert_eq!(escaped("a\u{1b}[2Jb\r\n\u{9b}\u{7f}\0"), r"a\u{1b}[2Jb\r\n\u{9b}\u{7f}\u{0}");
        assert_eq!(escaped("\u{202e}exe.\u{2028}\u{feff}"), r"\u{202e}exe.\u{2028}\u{feff}");
        for text in ["", "Zoë's \"notes\" \\ 1", "नमस्ते", "می‌خواهم", "👩‍👧", "e\u{301}"]
        {
            assert_eq!(escaped(text), text);
        }
    }
}
