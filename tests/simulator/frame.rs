//! What can be told of a frame by looking at it, for the tally.

/// What a frame begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begins {
    /// A stream of this many bytes, of this form.
    Stream {
        total: u64,
        form: u8,
        parts: bool,
    },
    Round,
}

pub(crate) const RESUMED: u8 = 1;

const KINDS: [&str; 8] = ["?", "hello", "announce", "need", "part", "ask", "turn", "bye"];

pub(crate) fn kind(frame: &[u8]) -> &'static str {
    KINDS[usize::from(frame.first().map_or(0, |kind| kind & 7))]
}

pub(crate) fn begins(frame: &[u8]) -> Option<Begins> {
    let mut rest = frame.get(5..)?;
    match kind(frame) {
        "part" => {
            let (_, total, offset) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
            let parts = (rest.len() as u64) < total + 4;
            (offset == 0).then_some(Begins::Stream { total, form: *rest.first()?, parts })
        }
        "turn" => (rest.first()? & 2 != 0).then_some(Begins::Round),
        _ => None,
    }
}

/// LEB128.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(first & 0x7f) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
}
