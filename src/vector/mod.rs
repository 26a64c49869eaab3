//! Vectors: how they are made from numbers, spelled in payloads, read and compared.
//!
//! A payload of kind 19 is laid out so:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | precision: 1 is f32, 2 is f16 (IEEE 754), 3 is i8 |
//! | 1 | flags: 1 if a hash of the text follows; no other is known |
//! | 16, if flagged | XXH3-128 of the text that the vector was made from, big-endian |
//! | 4, if i8 | the scale: an f32, little-endian |
//! | 4, 2 or 1 for each number | the numbers, little-endian; of i8 each is to be multiplied by the scale |
//!
//! Every number is finite, and 0 is never −0. How the scale of i8 follows from the numbers stands in `quantise`. No two
//! payloads spell the same vector of the same precision and text; one that is spelled in another way is kept and sent
//! on, and not read.
//!
//! | file | idea |
//! |---|---|
//! | `model` | whose vectors they are |
//! | `make` | from a caller's numbers to a vector that can be written |
//! | `quantise` | to eight bits and back without moving again |
//! | `spelling` | numbers as bytes |
//! | `payload` | a vector as a payload, and what is none |
//! | `compare` | dot product, cosine, distance, over the stored bytes |
//! | `coarse` | a vector rounded to eight bits, with a bound for what the rounding hides |
//! | `embedding` | a vector as it is read |
//! | `later` | a later text of a vector that was not written anew |

mod coarse;
mod compare;
mod embedding;
mod later;
mod make;
mod model;
mod payload;
mod quantise;
mod spelling;

pub use compare::Metric;
pub use embedding::Embedding;
pub use make::Vector;
pub use model::{MAX_DIMENSION, MAX_MODEL_NAME_LEN, Model};
pub use spelling::Precision;

pub(crate) use coarse::{Coarse, CoarseQuery, stride};
pub(crate) use compare::Query;
pub(crate) use later::{later_text, later_text_in};
pub(crate) use make::hash;
