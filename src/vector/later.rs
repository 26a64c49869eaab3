//! The later text of a vector: a record that a text was embedded anew and gave hardly another vector.
//!
//! Where a writer suppresses a vector that hardly differs, only the hash of the new text is written, in a cell of its own
//! beside the vector. The payload, of kind 21, is 32 bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | XXH3-128 of the later text, big-endian |
//! | 16 | XXH3-128 of the payload of the vector, big-endian |
//!
//! The second hash ties the record to one vector: beside any other, set concurrently or later, it says nothing.

use xxhash_rust::xxh3::xxh3_128;

use crate::kernel::{Payload, PayloadRef};
use crate::kinds::payload::LATER_TEXT;

/// Records that a vector, as it is spelled in a payload, stands for a text of this hash.
pub(crate) fn later_text<'a>(text: u128, vector: impl Into<PayloadRef<'a>>) -> Payload {
    Payload::new(LATER_TEXT, &[text.to_be_bytes(), xxh3_128(vector.into().bytes()).to_be_bytes()].concat())
}

/// The hash of the text that a record gives a vector, if it is a record about this vector.
pub(crate) fn later_text_in<'a, 'b>(
    record: impl Into<PayloadRef<'a>>,
    vector: impl Into<PayloadRef<'b>>,
) -> Option<u128> {
    let (record, vector) = (record.into(), vector.into());
    if record.kind() != LATER_TEXT {
        return None;
    }
    let (text, of) = record.bytes().split_first_chunk::<16>()?;
    (*of == xxh3_128(vector.bytes()).to_be_bytes()).then_some(u128::from_be_bytes(*text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Vector;

    #[test]
    fn a_record_says_nothing_about_another_vector() {
        let [one, other] = [[1.0, 0.5], [0.5, 1.0]].map(|numbers| Vector::f32(&numbers).unwrap().to_payload());
        let record = later_text(7, &one);
        assert_eq!((later_text_in(&record, &one), later_text_in(&record, &other)), (Some(7), None));
        for bytes in [&record.bytes()[..31], &[record.bytes(), &[0]].concat()] {
            assert_eq!(later_text_in(&Payload::new(LATER_TEXT, bytes), &one), None);
        }
        assert_eq!(later_text_in(&Payload::new(6, record.bytes()), &one), None);
    }
}
