//! Fields spelled by hand, so that tests can write what no version would.
#![allow(dead_code, reason = "each test takes what it needs")]

/// Kinds of what is at a path.
pub(crate) const MAP: u8 = 1;
pub(crate) const REGISTER: u8 = 2;
pub(crate) const COUNTER: u8 = 3;
pub(crate) const SET: u8 = 4;
pub(crate) const MAX: u8 = 5;
/// No version so far has it.
pub(crate) const LATER: u8 = 9;

/// Kinds of payloads.
pub(crate) const NULL: u8 = 1;
pub(crate) const FALSE: u8 = 2;
pub(crate) const INT: u8 = 4;
pub(crate) const STR: u8 = 6;
pub(crate) const ARRAY: u8 = 8;
pub(crate) const UNIT: u8 = 16;
/// What one replica added to a counter and took away: 8 bytes each.
pub(crate) const TOTALS: u8 = 36;

/// The field of a property: segments of any bytes, a kind, a key.
pub(crate) fn field(segments: &[&[u8]], kind: u8, key: &[u8]) -> Vec<u8> {
    let mut field = vec![2];
    for segment in segments {
        for byte in *segment {
            field.push(*byte);
            if *byte == 0 {
                field.push(0xff);
            }
        }
        field.extend([0, 0xfe]);
    }
    field.extend([0, kind]);
    field.extend(key);
    field
}
