//! Dot product, cosine, distance, over the stored bytes.
//!
//! The product of two f32 is exact in an f64, and 4 million of the greatest ones do not overflow it: so no result is NaN,
//! and each is right to the last digits of an f32 whatever the order of the sum. That order is fixed all the same, in
//! eight sums that need not wait for each other, so the result is the same on every machine.

use crate::error::VectorError;
use crate::vector::make::Vector;
use crate::vector::model::Model;
use crate::vector::spelling::{F16, F32, I8, Numbers, Precision, Spelling};

/// How many numbers are added up at once: a few vector registers full on any machine.
const LANES: usize = 8;

/// How near two vectors are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Metric {
    /// The cosine of the angle between them, from −1 to 1; the greater, the nearer. 0 with a vector of zeros.
    Cosine,
    /// Their dot product; the greater, the nearer. The cosine of vectors of length 1.
    Dot,
    /// Their Euclidean distance; the smaller, the nearer.
    Euclidean,
}

impl Metric {
    /// The score of two vectors of one length.
    pub(super) fn score(self, a: Numbers<'_>, b: Numbers<'_>) -> f32 {
        match self {
            Self::Cosine => {
                let [dot, aa, bb] = sums(a, b, |a, b| [a * b, a * a, b * b]);
                cosine(dot, aa, bb)
            }
            Self::Dot => sums(a, b, |a, b| [a * b])[0] as f32 + 0.0,
            Self::Euclidean => sums(a, b, |a, b| [(a - b) * (a - b)])[0].sqrt() as f32,
        }
    }

    /// Greater is nearer.
    fn nearness(self, score: f32) -> f32 {
        match self {
            Self::Cosine | Self::Dot => score,
            Self::Euclidean => -score,
        }
    }
}

/// The sum of the squares.
pub(super) fn square(numbers: Numbers<'_>) -> f64 {
    sums(numbers, numbers, |a, b| [a * b])[0]
}

fn cosine(dot: f64, aa: f64, bb: f64) -> f32 {
    match aa == 0.0 || bb == 0.0 {
        true => 0.0,
        // Adding 0 turns −0 into 0, or they would sort apart.
        false => (dot / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0) as f32 + 0.0,
    }
}

/// What many vectors are to be compared with.
pub(crate) struct Query {
    vector: Vector,
    metric: Metric,
    square: f64,
}

impl Query {
    /// Refuses one that is not of the model's length, or not finite.
    pub(crate) fn new(model: &Model, numbers: &[f32], metric: Metric) -> Result<Self, VectorError> {
        model.check_len(numbers.len())?;
        let vector = Vector::f32(numbers)?;
        let square = square(vector.numbers());
        Ok(Self { vector, metric, square })
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        self.vector.numbers().iter()
    }

    pub(super) fn norm(&self) -> f64 {
        self.square.sqrt()
    }

    pub(super) fn score(&self, numbers: Numbers<'_>) -> f32 {
        let query = self.vector.numbers();
        match self.metric {
            Metric::Cosine => {
                let [dot, square] = sums(query, numbers, |a, b| [a * b, b * b]);
                cosine(dot, self.square, square)
            }
            metric => metric.score(query, numbers),
        }
    }

    /// Greater is nearer.
    pub(crate) fn nearness(&self, score: f32) -> f32 {
        self.metric.nearness(score)
    }
}

/// Adds up terms of two vectors' numbers, pair by pair.
fn sums<const N: usize>(a: Numbers<'_>, b: Numbers<'_>, terms: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
    match a.precision {
        Precision::F32 => sums_with(F32, a, b, terms),
        Precision::F16 => sums_with(F16, a, b, terms),
        Precision::I8 => sums_with(I8 { scale: a.scale }, a, b, terms),
    }
}

fn sums_with<A: Spelling, const N: usize>(
    spelling: A,
    a: Numbers<'_>,
    b: Numbers<'_>,
    terms: impl Fn(f64, f64) -> [f64; N],
) -> [f64; N] {
    match b.precision {
        Precision::F32 => sums_of((spelling, a.bytes), (F32, b.bytes), terms),
        Precision::F16 => sums_of((spelling, a.bytes), (F16, b.bytes), terms),
        Precision::I8 => sums_of((spelling, a.bytes), (I8 { scale: b.scale }, b.bytes), terms),
    }
}

fn sums_of<A: Spelling, B: Spelling, const N: usize>(
    a: (A, &[u8]),
    b: (B, &[u8]),
    terms: impl Fn(f64, f64) -> [f64; N],
) -> [f64; N] {
    let mut sums = [[0.0; LANES]; N];
    let mut add = |x: [A::Number; LANES], y: [B::Number; LANES]| {
        let (x, y) = (x.map(|number| a.0.number(number)), y.map(|number| b.0.number(number)));
        for lane in 0..LANES {
            let terms = terms(x[lane].into(), y[lane].into());
            (0..N).for_each(|n| sums[n][lane] += terms[n]);
        }
    };
    let ((chunks_a, rest_a), (chunks_b, rest_b)) = (A::split(a.1).as_chunks(), B::split(b.1).as_chunks());
    chunks_a.iter().zip(chunks_b).for_each(|(x, y)| add(*x, *y));
    add(padded(rest_a), padded(rest_b));
    sums.map(|lanes| lanes.iter().sum())
}

/// With zero bytes, which spell zeros.
fn padded<T: Copy + Default>(rest: &[T]) -> [T; LANES] {
    let mut lanes = [T::default(); LANES];
    lanes.iter_mut().zip(rest).for_each(|(lane, number)| *lane = *number);
    lanes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(a: &[f32], b: &[f32]) -> [f64; 3] {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        let (aa, bb): (f64, f64) = (pairs().map(|(a, _)| a * a).sum(), pairs().map(|(_, b)| b * b).sum());
        let cosine = if aa * bb == 0.0 { 0.0 } else { dot / (aa.sqrt() * bb.sqrt()) };
        [cosine, dot, pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()]
    }

    proptest! {
        #[test]
        fn scores_are_those_of_the_numbers_read_out(
            pairs in prop::collection::vec((-3.0f32..3.0, -3.0f32..3.0), 1..70),
            which in (0usize..3, 0usize..3),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let make = |which, numbers: &[f32]| match which {
                0 => Vector::f32(numbers).unwrap(),
                1 => Vector::f16(numbers).unwrap(),
                _ => Vector::i8(numbers).unwrap(),
            };
            let model = Model::new("m", a.len()).unwrap();
            let (stored, other) = (make(which.0, &a), make(which.1, &b));
            for (metric, expected) in
                [Metric::Cosine, Metric::Dot, Metric::Euclidean].into_iter().zip(naive(&stored.to_vec(), &other.to_vec()))
            {
                let score = metric.score(stored.numbers(), other.numbers());
                prop_assert!((f64::from(score) - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{score} {expected}");
                prop_assert_eq!(score, metric.score(other.numbers(), stored.numbers()));
                let query = Query::new(&model, &other.to_vec(), metric).unwrap();
                prop_assert_eq!(query.score(stored.numbers()), score);
            }
        }
    }

    #[test]
    fn neither_the_greatest_nor_the_smallest_numbers_make_a_score_nan() {
        for numbers in [[f32::MAX, -f32::MAX, f32::MAX], [f32::from_bits(1), 0.0, f32::from_bits(1)]] {
            let vector = Vector::f32(&numbers).unwrap();
            let score = |metric: Metric| metric.score(vector.numbers(), vector.numbers());
            assert_eq!((score(Metric::Cosine), score(Metric::Euclidean)), (1.0, 0.0));
            assert!(score(Metric::Dot) >= 0.0);
        }
        let zero = Vector::f32(&[0.0; 3]).unwrap();
        assert_eq!(Metric::Cosine.score(zero.numbers(), zero.numbers()), 0.0);
    }
}
