//! What happens when a fingerprint collides: no key can be found that makes one do so, so turns are altered to look as if.

use crate::id::{Dot, WriterId};
use crate::kernel::DotSet;
use crate::sync::reconcile::bits::Bits;
use crate::sync::reconcile::descent::{Difference, ReconcileError, Reconciling, Step};
use crate::sync::reconcile::turn::{Says, Turn};
use crate::version::Version;

const ALL: u64 = 100_000;

fn dots(keep: impl Fn(u64) -> bool) -> DotSet {
    let writer = WriterId::from([1; 10]);
    (1..=ALL).filter(|counter| keep(*counter)).map(|counter| Dot { writer, counter }).collect()
}

/// Lets two talk, with some turns altered on the way, and returns what both learn and how many turns it took.
fn talk(mut alter: impl FnMut(&mut Turn)) -> Result<(Difference, Difference, usize), ReconcileError> {
    let version = Version::rooted([(WriterId::from([1; 10]), ALL)]);
    let (a, b) = (dots(|c| c % 7 > 0), dots(|c| c % 7 > 0 && c != 50_000 || c == 70_000));
    let (mut asking, first) = Reconciling::ask(&a, &version, &version, [0; 16])?;
    let (mut answering, mut step) = Reconciling::answer(&b, &version, &version, &first)?;
    let (mut turns, mut learnt) = (1, Vec::new());
    loop {
        let (turn, difference) = match step {
            Step::Say(turn) => (Some(turn), None),
            Step::Done { difference, last } => (last, Some(difference)),
        };
        learnt.extend(difference);
        let Some(mut turn) = turn else { break };
        alter(&mut turn);
        let hearing = if turns % 2 == 1 { &mut asking } else { &mut answering };
        step = hearing.handle(&turn)?;
        turns += 1;
    }
    let (second, first) = (learnt.pop().unwrap(), learnt.pop().unwrap());
    Ok((first, second, turns))
}

fn assert_found((one, other, turns): (Difference, Difference, usize)) {
    assert_eq!((one.only_here(), one.only_there()), (other.only_there(), other.only_here()));
    let mut sizes = [one.only_here().len(), one.only_there().len()];
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1]);
    assert!(turns <= 8, "{turns}");
}

/// A word of what differs was missed on the way down: the check finds it, and everything is said.
#[test]
fn a_difference_that_was_missed_is_found_by_the_check() {
    let mut whole = false;
    let mut altered = false;
    let found = talk(|turn| match &mut turn.says {
        Says::Words { words, .. } => {
            *words = Bits::from_words(words.words().iter().map(|(place, word)| (*place, word & (word - 1))));
            altered = true;
        }
        Says::Whole { .. } => whole = true,
        _ => {}
    });
    assert!(altered && whole);
    assert_found(found.unwrap());
}

/// A stretch differs and none of its parts seems to: everything is said.
#[test]
fn a_stretch_of_which_no_part_differs_makes_both_say_everything() {
    let version = Version::rooted([(WriterId::from([1; 10]), ALL)]);
    let (a, b) = (dots(|c| c % 7 > 0), dots(|c| c % 7 > 0 && c != 50_000));
    let (mut asking, first) = Reconciling::ask(&a, &version, &version, [0; 16]).unwrap();
    let (mut answering, step) = Reconciling::answer(&b, &version, &version, &first).unwrap();
    // The same marks, with the fingerprints that the one who asks has itself.
    let of_a =
        Reconciling::answer(&a, &version, &version, &Turn { check: Some(0), ..same_but_first(&first, &b) }).unwrap();
    let (Step::Say(mut turn), Step::Say(own)) = (step, of_a.1) else { panic!() };
    let (Says::Fingerprints { fingerprints, .. }, Says::Fingerprints { fingerprints: same, .. }) =
        (&mut turn.says, own.says)
    else {
        panic!()
    };
    *fingerprints = same;
    let Step::Say(turn) = asking.handle(&turn).unwrap() else { panic!() };
    assert!(matches!(turn.says, Says::Whole { .. }));
    let Step::Done { difference: one, last: Some(last) } = answering.handle(&turn).unwrap() else { panic!() };
    let Step::Done { difference: other, last: None } = asking.handle(&last).unwrap() else { panic!() };
    assert_eq!((one.only_there(), other.only_here()), (&dots(|c| c == 50_000), &dots(|c| c == 50_000)));
}

/// The first turn of a peer with other dots, for the same nonce.
fn same_but_first(first: &Turn, live: &DotSet) -> Turn {
    let Says::Start { nonce, .. } = &first.says else { panic!() };
    let version = Version::rooted([(WriterId::from([1; 10]), ALL)]);
    Reconciling::ask(live, &version, &version, *nonce).unwrap().1
}

/// Who says that it holds what its own fingerprint denies is not believed.
#[test]
fn a_peer_that_contradicts_itself_is_refused() {
    let found = talk(|turn| {
        if let Says::Difference { dots } = &mut turn.says {
            *dots = Bits::from_numbers([5]);
        }
    });
    assert_eq!(found.unwrap_err(), ReconcileError::Contradiction);
}
