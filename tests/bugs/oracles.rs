//! What each oracle says of a history, by itself.

use driftless::kernel::Entity;
use driftless::testing::{Oracle, Raw, RawOp, repair_checksum};
use driftless::{Crdt, Delta, DotSet, Replica, Version};

use crate::history::{History, Moment, Subject, delta_for, moment};

pub(crate) type Verdict = Result<(), String>;

/// Whether two are one and the same, in all that can be read.
fn same<T: Subject>(law: &str, a: &Moment<T>, b: &Moment<T>) -> Verdict {
    let (one, other) = (a.state(), b.state());
    let equal = one == other && a.fingerprint() == b.fingerprint() && one.read() == other.read();
    let show = |value: &T| format!("{:?} {}", value.state(), value.read());
    if equal { Ok(()) } else { Err(format!("{law}: {} and {}", show(one), show(other))) }
}

/// Whoever has seen the same holds the same, by whatever way it came about; and once all have synced with all, all are equal.
pub(crate) fn versions<T: Subject>(seed: u64) -> Verdict {
    let history = History::<T>::new(seed);
    let mut first: Vec<&Moment<T>> = Vec::new();
    for moment in history.all() {
        match first.iter().find(|first| first.version() == moment.version()) {
            Some(first) => same("equal versions", moment, first)?,
            None => first.push(moment),
        }
    }
    let last: Vec<_> = history.moments.iter().filter_map(|moments| moments.last()).collect();
    last.iter().try_for_each(|moment| same("when all have synced", moment, last[0]))
}

fn after<T: Subject>(replica: &Moment<T>, delta: &Delta) -> Result<Moment<T>, String> {
    let mut joined = moment(replica);
    joined.merge(delta).map_err(|error| format!("a delta that applies was refused: {error}"))?;
    Ok(joined)
}

/// The laws of a join, on three replicas; and on deltas, whatever chains.
pub(crate) fn laws<T: Subject>(seed: u64) -> Verdict {
    let history = History::<T>::new(seed);
    let join = |x: &Moment<T>, y: &Moment<T>| after(x, &y.complete());
    let three = history.three();
    for i in 0..3 {
        let [a, b, c] = [0, 1, 2].map(|n| three[(i + n) % 3]);
        let (ab, ba, bc) = (join(a, b)?, join(b, a)?, join(b, c)?);
        same("commutative", &ab, &ba)?;
        same("associative", &join(&ab, c)?, &join(a, &bc)?)?;
        same("idempotent", &join(a, a)?, a)?;
        same("idempotent", &join(&ab, b)?, &ab)?;
        same("a delta is the whole", &after(a, &delta_for(b, a))?, &ab)?;
        let (of_b, of_c) = (delta_for(b, a), delta_for(c, a));
        let (abc, acb) = (after(&after(a, &of_b)?, &of_c)?, after(&after(a, &of_c)?, &of_b)?);
        same("reordered deltas", &abc, &acb)?;
        same("reordered deltas", &abc, &join(&ab, c)?)?;
        same("a late delta adds nothing", &after(&abc, &of_b)?, &abc)?;
    }
    // Two deltas do the same at once as one after the other.
    let recent = &history.deltas[history.deltas.len().saturating_sub(12)..];
    for (first, second) in recent.iter().flat_map(|first| recent.iter().map(move |second| (first, second))) {
        let Ok(joined) = first.join(second) else { continue };
        for x in history.moments.iter().flat_map(|moments| moments.iter().step_by(3)) {
            let Ok(at_once) = after(x, &joined) else { continue };
            let one_by_one = after(&after(x, first)?, second)?;
            same("regrouped deltas", &at_once, &one_by_one)?;
            let [once, twice] = [&at_once, &one_by_one].map(|moment| moment.state().state().pruned());
            if once != twice {
                return Err(format!("what was pruned, by regrouped deltas: {once:?} and {twice:?}"));
            }
        }
    }
    Ok(())
}

/// The delta of an edit does elsewhere what the edit did here, and a failed one does nothing; and who is brought up by what was
/// written since it was copied comes to hold what the original holds.
pub(crate) fn mutation<T: Subject>(seed: u64) -> Verdict {
    let history = History::<T>::new(seed);
    for edit in &history.edits {
        match &edit.delta {
            Some(delta) => same("the delta of an edit", &after(&edit.before, delta)?, &edit.after)?,
            None => same("a failed edit", &edit.before, &edit.after)?,
        }
    }
    for moments in &history.moments {
        for (i, now) in moments.iter().enumerate() {
            for then in moments[..i].iter().rev().step_by(4).filter(|then| now.version().includes(then.version())) {
                let delta = delta_for(now, then);
                same("what was done since", &after(then, &delta)?, now)?;
            }
        }
    }
    Ok(())
}

/// What is alive is what the definition says, for whoever has seen so much.
pub(crate) fn model(seed: u64) -> Verdict {
    let history = History::<Raw>::new(seed);
    let mut oracle = Oracle::default();
    for (dot, op, seen) in &history.writes {
        let name = |field: u8| if field == 0 { Vec::new() } else { vec![field] };
        let (entity, field, value) = match *op {
            RawOp::Write(entity, field, value) => (entity, name(field), Some(value)),
            RawOp::Erase(entity, field) => (entity, name(field), None),
            RawOp::Delete(entity) => (entity, name(0), None),
        };
        let bytes = value.map(|value| [value]);
        let value = bytes.as_ref().map(|bytes| (1, &bytes[..]));
        oracle.record(*dot, Entity::new(1, [entity; 16]), &field, value, seen);
    }
    history.all().try_for_each(|moment| oracle.check(moment.state().state()))
}

/// What is derived from the cells follows from them.
pub(crate) fn derived<T: Subject>(seed: u64) -> Verdict {
    History::<T>::new(seed).all().try_for_each(|moment| moment.state().check())
}

/// Decoding undoes encoding; and whatever is taken at all is what would be written.
pub(crate) fn codec<T: Subject>(seed: u64) -> Verdict {
    let history = History::<T>::new(seed);
    for (i, delta) in history.deltas.iter().enumerate() {
        let bytes = delta.to_bytes();
        match Delta::from_bytes(&bytes) {
            Ok(decoded) if decoded == *delta && decoded.to_bytes() == bytes => {}
            other => return Err(format!("a delta: {other:?}, must be {delta:?}")),
        }
        for place in (0..bytes.len()).step_by(13).map(|place| place + i % 13) {
            let Some(spelled) = overlong(&bytes, place) else { continue };
            if Delta::from_bytes(&spelled).is_ok_and(|decoded| decoded.to_bytes() != spelled) {
                return Err(format!("bytes were taken that nobody writes, at {place}"));
            }
        }
    }
    for moment in history.all().step_by(5) {
        let (version, live) = (moment.version(), moment.live_dots());
        if Version::from_bytes(&version.to_bytes()).as_ref() != Ok(version) {
            return Err(format!("a version: {version:?}"));
        }
        if DotSet::from_bytes(&live.to_bytes()).as_ref() != Ok(&live) {
            return Err(format!("a set of dots: {live:?}"));
        }
        let loaded = Replica::load(&self::moment(moment).save()).map_err(|error| format!("a state: {error}"))?;
        same("saved and loaded", &loaded, moment)?;
    }
    Ok(())
}

/// The message with a byte as an integer that takes two, if it is one at all.
fn overlong(message: &[u8], place: usize) -> Option<Vec<u8>> {
    const HEAD: usize = 15;
    let length = message[HEAD..].iter().position(|byte| byte & 0x80 == 0)? + 1;
    let (start, body) = (HEAD + length, message.len() - HEAD - length);
    let byte = *message.get(place).filter(|byte| place >= start && **byte < 0x80)?;
    let mut spelled = message[..HEAD].to_vec();
    let mut longer = body as u64 + 1;
    while longer >= 0x80 {
        spelled.push(longer as u8 | 0x80);
        longer >>= 7;
    }
    spelled.push(longer as u8);
    spelled.extend(&message[start..place]);
    spelled.extend([0xcc, byte]);
    spelled.extend(&message[place + 1..]);
    repair_checksum(&mut spelled);
    Some(spelled)
}
