//! A vector rounded to eight bits, with a bound for what the rounding hides.
//!
//! A search compares the query with these first: a quarter of the memory of f32, whole numbers alone, in a loop that the
//! compiler vectorises. It computes the exact score only where the rounded one leaves open whether the vector is among
//! the nearest. That is the vector-approximation file (Weber, Schek, Blott 1998), with bounds by norms:
//!
//! 1. A vector *v* is kept as whole numbers *w* and a scale *s*, with ρ ≥ ‖v − s·w‖. For a vector of i8, ρ is 0.
//! 2. A query *q* is rounded to whole numbers *u* of 14 bits and a scale *t*, with δ ≥ ‖q − t·u‖.
//! 3. By Cauchy and Schwarz, |q·v − s·t·(u·w)| ≤ δ·(‖v‖ + ρ) + ‖q‖·ρ. The sum u·w is exact.
//!
//! Invariant: [`CoarseQuery::upper`] is at least the nearness of the exact score, or NaN. So whoever skips only vectors
//! whose upper bound is *less* than the nearness of the worst result finds what a look at every vector finds.

use crate::vector::compare::{Metric, Query};
use crate::vector::embedding::Embedding;
use crate::vector::quantise;
use crate::vector::spelling::{F16, F32, Precision, Spelling};

/// The whole numbers of a row are padded with zeros to a multiple of this: one load of 128 bits.
const LANES: usize = 16;

/// The greatest whole number of a query. More bits bound tighter, and fewer numbers add up before a sum of 32 bits is full.
const GREATEST: f64 = 8191.0;

/// So many chunks of [`LANES`] products of 127 · 8191 at most add up in 32 bits.
const CHUNKS: usize = 128;

/// A bound for rounding in f64, relative to the product of both norms: some thousand times that of four million terms.
const SLACK: f64 = 1e-9;

/// The number of bytes that the rounded numbers of a vector take.
pub(crate) fn stride(dimension: usize) -> usize {
    dimension.next_multiple_of(LANES)
}

/// The part of a row beside the rounded numbers of its vector.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Coarse {
    norm: f64,
    scale: f32,
    /// At least the norm of what the rounding took away.
    rest: f32,
}

impl Coarse {
    /// Rounds a vector, and writes its numbers to a row of [`stride`] bytes. O(dimension).
    pub(crate) fn round(vector: &Embedding<'_>, row: &mut [i8]) -> Self {
        let (numbers, norm) = (vector.numbers(), vector.norm());
        row.fill(0);
        let (scale, rest) = match numbers.precision {
            Precision::F32 => round(F32, numbers.bytes, row),
            Precision::F16 => round(F16, numbers.bytes, row),
            Precision::I8 => {
                row.iter_mut().zip(numbers.bytes).for_each(|(whole, byte)| *whole = *byte as i8);
                (numbers.scale, 0.0)
            }
        };
        Self { norm, scale, rest }
    }
}

/// Writes the rounded numbers, and returns their scale and at least the norm of what the rounding took away.
fn round<S: Spelling>(spelling: S, bytes: &[u8], row: &mut [i8]) -> (f32, f32) {
    /// Added to a small number it leaves a whole one in the lowest bits.
    const WHOLE: f32 = (3 << 22) as f32;
    let numbers = S::split(bytes);
    // The bits of numbers without their signs sort as the numbers do, and vectorise.
    let magnitude = |number: &S::Number| spelling.number(*number).to_bits() & !(1 << 31);
    let scale = quantise::scale(f32::from_bits(numbers.iter().map(magnitude).max().unwrap_or_default()));
    let mut rest = 0.0;
    for (whole, number) in row.iter_mut().zip(numbers) {
        let number = spelling.number(*number);
        if scale > 0.0 {
            *whole = (number / scale + WHOLE).to_bits() as i8;
        }
        rest += (f64::from(number) - f64::from(*whole) * f64::from(scale)).powi(2);
    }
    (scale, ((rest.sqrt() * (1.0 + SLACK)) as f32).next_up())
}

/// A query, rounded.
pub(crate) struct CoarseQuery {
    metric: Metric,
    numbers: Vec<i16>,
    scale: f64,
    norm: f64,
    /// At least the norm of what the rounding took away.
    rest: f64,
}

impl CoarseQuery {
    pub(crate) fn new(query: &Query) -> Self {
        let exact: Vec<f64> = query.iter().map(f64::from).collect();
        let scale = exact.iter().fold(0.0, |greatest: f64, number| greatest.max(number.abs())) / GREATEST;
        let whole = |number: &f64| if scale == 0.0 { 0 } else { (number / scale).round() as i16 };
        let mut numbers: Vec<i16> = exact.iter().map(whole).collect();
        let rest: f64 = exact.iter().zip(&numbers).map(|(q, u)| (q - f64::from(*u) * scale).powi(2)).sum();
        numbers.resize(stride(exact.len()), 0);
        Self { metric: query.metric(), numbers, scale, norm: query.norm(), rest: rest.sqrt() * (1.0 + SLACK) }
    }

    /// At least the [nearness](Query::nearness) of the vector that a row was rounded from; NaN if nothing is known, because
    /// the vector is too long for an f32. O(dimension).
    pub(crate) fn upper(&self, row: &[i8], coarse: Coarse) -> f32 {
        let (query, norm, rest) = (self.norm, coarse.norm, f64::from(coarse.rest));
        let error = self.rest * (norm + rest) + query * rest;
        let dot = self.scale * f64::from(coarse.scale) * product(&self.numbers, row) as f64;
        let dot = dot + error * (1.0 + SLACK) + SLACK * query * norm;
        match self.metric {
            Metric::Cosine if query == 0.0 || norm == 0.0 => 0.0,
            // Like the score: without −0, and never beyond 1.
            Metric::Cosine => (dot / (query * norm)).min(1.0) as f32,
            Metric::Dot => dot as f32,
            Metric::Euclidean => {
                let squares = query * query + norm * norm;
                -((squares * (1.0 - SLACK) - 2.0 * dot).max(0.0).sqrt() as f32)
            }
        }
    }
}

/// The exact sum of the products, of two slices of one length.
fn product(query: &[i16], row: &[i8]) -> i64 {
    let (query, row) = (query.as_chunks::<LANES>().0, row.as_chunks::<LANES>().0);
    query.chunks(CHUNKS).zip(row.chunks(CHUNKS)).map(|(query, row)| i64::from(short_product(query, row))).sum()
}

/// Not inlined: within another loop the compiler finds no use for the instruction that adds products in pairs, and takes twice
/// as long.
#[inline(never)]
fn short_product(query: &[[i16; LANES]], row: &[[i8; LANES]]) -> i32 {
    let mut sums = [0; LANES / 2];
    for (u, w) in query.iter().zip(row) {
        let w = w.map(i16::from);
        for lane in 0..LANES / 2 {
            let other = lane + LANES / 2;
            sums[lane] += i32::from(u[lane]) * i32::from(w[lane]) + i32::from(u[other]) * i32::from(w[other]);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vector::{Model, Vector};

    const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclidean];

    /// The upper bounds of a vector in each precision, with the exact nearness.
    fn bounds(vector: &[f32], query: &[f32], metric: Metric) -> Vec<(f32, f32)> {
        let model = Model::new("m", query.len()).unwrap();
        let query = Query::new(&model, query, metric).unwrap();
        let coarse_query = CoarseQuery::new(&query);
        let made = [Vector::f32(vector), Vector::f16(vector), Vector::i8(vector)];
        let bound = |vector: Vector| {
            let payload = vector.to_payload();
            let embedding = Embedding::from_payload("m", vector.dimension(), &payload).unwrap();
            let mut row = vec![1; stride(vector.dimension())];
            let coarse = Coarse::round(&embedding, &mut row);
            (coarse_query.upper(&row, coarse), query.nearness(embedding.score_of(&query)))
        };
        made.into_iter().flatten().map(bound).collect()
    }

    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            6 => -2.0f32..2.0,
            1 => -1e-3f32..1e-3,
            1 => Just(0.0),
            1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL,
            1 => prop::sample::select(vec![f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1)]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_vector_is_nearer_than_its_upper_bound(pairs in prop::collection::vec((number(), number()), 1..50)) {
            let (vector, query): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            for metric in METRICS {
                for (upper, nearness) in bounds(&vector, &query, metric).into_iter().chain(bounds(&query, &query, metric)) {
                    prop_assert!(upper.is_nan() || upper >= nearness, "{metric:?}: {upper} {nearness}");
                }
            }
        }

        /// A bound that bounds nothing would have every vector looked at.
        #[test]
        fn the_upper_bound_of_a_usual_vector_is_near(pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 40..80)) {
            let (vector, query): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            for (upper, cosine) in bounds(&vector, &query, Metric::Cosine) {
                prop_assert!(upper - cosine < 0.02, "{upper} {cosine}");
            }
        }
    }

    #[test]
    fn sums_of_the_greatest_products_do_not_overflow() {
        let len = LANES * (2 * CHUNKS + 3);
        let least = product(&vec![-8191; len], &vec![127; len]);
        assert_eq!(least, -8191 * 127 * len as i64);
    }
}
