//! Vectors of texts from their words, in place of a model: each word adds to a few numbers that its hash names.

use driftless::{Model, Vector, VectorError};

pub(crate) const DIMENSION: usize = 64;

pub(crate) fn model() -> Result<Model, VectorError> {
    Model::new("words", DIMENSION)
}

/// The words of a text, in lower case.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// The numbers of a text; none if it has no word.
pub(crate) fn numbers(text: &str) -> Option<Vec<f32>> {
    let mut numbers = vec![0.0; DIMENSION];
    for word in words(text) {
        // FNV-1a: the same on every device.
        let hash = word
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        for part in 0..4 {
            let bits = (hash >> (part * 16)) as u16;
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            numbers[usize::from(bits) % DIMENSION] += sign;
        }
    }
    numbers.iter().any(|number| *number != 0.0).then_some(numbers)
}

pub(crate) fn vector(text: &str) -> Option<Result<Vector, VectorError>> {
    Some(Vector::i8(&numbers(text)?).map(|vector| vector.of_text(text)))
}
