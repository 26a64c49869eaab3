//! Schedules over a text on three replicas, and raw cells of a text on two, by its definition.

use driftless::kernel::{Entity, Payload};
use driftless::testing::{TestEnvironment, same};
use driftless::{Delta, Document, Replica};

use crate::input::Input;

#[path = "../../tests/support/text.rs"]
mod text;

use text::{Act, LETTER, PATH, START, Schedule, check, definition, play, replayed};

/// The most acts of a schedule: each is checked against the definition.
const ACTS: usize = 120;

/// Letters that are put into cells and typed.
const LETTERS: [&str; 7] = ["a", "b", "\n", "é", "字", "𝄞", "\u{10ffff}"];

/// Sides of steps, that of imports among them, with the first byte of the tag.
const SIDES: [&[u8]; 7] = [&[0x40], &[0x80], &[0xc0, 0], &[0x3f, 0], &[0xd0, 1, 0], &[0x2f, 0xfe, 0], &[0xd3, 0xd6, 0]];

/// Offsets of steps.
const OFFSETS: [&[u8]; 6] = [&[0x80], &[0x81], &[0x7f], &[0x7e], &[0xc0, 0], &[0x3f, 0xff]];

fn act(input: &mut Input<'_>) -> Act {
    let (choice, n) = (input.byte(), input.byte());
    match choice % 64 {
        0..8 => Act::Type(n, input.byte() % 4 + 1, input.byte()),
        8..13 => Act::Insert(n, input.byte() % 4 + 1),
        13..17 => Act::Delete(n, input.byte() % 4 + 1),
        17 | 18 => Act::Replace(n, input.byte() % 4, input.byte() % 4),
        19..22 => Act::Retype(n, input.byte() % 4 + 1, input.byte() % 3 + 1),
        22 | 23 => Act::PruneAndType(n, input.byte() % 4 + 1, input.byte()),
        24..27 => Act::Update(n, input.byte() % 6, input.byte() % 4),
        27 => Act::Unset,
        28 => Act::Clear,
        29 => Act::Fail(n, input.byte()),
        30..34 => Act::Undo,
        34 | 35 => Act::Redo,
        36 => Act::Keep,
        37 => Act::Revert,
        38 => Act::Prune,
        39 => Act::PruneSeen(n % 3),
        40 => Act::Save,
        41 => Act::Restart,
        42 => Act::RestoreBackup,
        43 => Act::Fork(n % 3),
        44 => Act::Tick(u16::from(n) * 4),
        45..50 => Act::Send(n % 3, input.flag()),
        50 | 51 => Act::SendAll(n % 3),
        52..59 => Act::Arrive(n, input.flag(), input.flag()),
        _ => Act::Forge(n, input.byte()),
    }
}

fn schedule(input: &mut Input<'_>, options: u8) {
    let mut acts = Vec::new();
    while !input.is_empty() && acts.len() < ACTS {
        acts.push((input.below(3), act(input)));
    }
    let [is_begun, is_hot, is_forged] = [1, 2, 4].map(|option| options & option != 0);
    let schedule = Schedule { is_begun, is_hot, is_forged, acts };
    if let Err(why) = play(&schedule) {
        panic!("{why}\n{schedule:#?}");
    }
}

/// The key of a cell: steps of a position that are well spelled as a rule, or any bytes.
fn key(input: &mut Input<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    for _ in 0..input.below(4) {
        key.extend_from_slice(input.pick::<&[u8]>(&SIDES));
        key.extend([0, 0, input.byte() % 4]);
        key.extend_from_slice(input.pick::<&[u8]>(&OFFSETS));
    }
    if key.is_empty() || input.byte() == 0 {
        key.extend_from_slice(input.bytes());
    }
    key
}

fn payload(input: &mut Input<'_>) -> Payload {
    match input.byte() % 8 {
        0 => Payload::new(LETTER, input.bytes()),
        1 => Payload::new(input.byte(), input.bytes()),
        _ => Payload::new(LETTER, input.pick(&LETTERS).as_bytes()),
    }
}

fn shown(document: &Document) -> Vec<char> {
    definition(document).into_iter().map(|(_, letter)| letter).collect()
}

/// Edits a text whose cells are anything: the letters are those that were asked for, or the edit is refused and changes nothing.
fn edit(replica: &mut Replica<Document>, input: &mut Input<'_>) -> Result<(), String> {
    let was = shown(replica.state());
    let start = input.below(was.len() + 1);
    let end = (start + input.below(4)).min(was.len());
    let new: String = (0..input.below(4)).map(|_| *input.pick(&LETTERS)).collect();
    let mut wanted = was.clone();
    drop(wanted.splice(start..end, new.chars()));
    let target: String = wanted.iter().collect();
    let edited = match input.flag() {
        true => replica.edit(|d| d.text_mut(PATH).update(&target).map(drop)),
        false => replica.edit(|d| d.text_mut(PATH).replace(start..end, &new)),
    };
    let mut now = shown(replica.state());
    if edited.is_err() {
        return same("the text after an edit was refused", now, was);
    }
    now.sort_unstable();
    wanted.sort_unstable();
    same("the letters after an edit", now, wanted)
}

fn raw(input: &mut Input<'_>) -> Result<(), String> {
    let mut sites = [1, 2].map(|seed| Replica::<Document>::with_environment(TestEnvironment::new(seed)));
    for turn in 0..ACTS {
        if input.is_empty() {
            break;
        }
        let at = input.below(2);
        let before = sites[at].snapshot();
        match input.byte() % 8 {
            0..4 => {
                let field = [&START[..], &key(input)].concat();
                let payload = payload(input);
                // It may be too long.
                let _ = sites[at].edit(|d| d.write(Entity::SELF, &field, payload));
            }
            4..7 => edit(&mut sites[at], input)?,
            _ => {
                let delta = sites[1 - at].complete().to_bytes();
                let delta = Delta::from_bytes(&delta).map_err(|error| error.to_string())?;
                sites[at].merge(&delta).map_err(|error| error.to_string())?;
            }
        }
        let now = sites[at].state();
        check(now, turn, false)?;
        if let (Some(newer), Some(older)) = (now.text(PATH), before.text(PATH)) {
            same("an older text with the changes since", replayed(&older, &newer)?, newer.to_string())?;
            same("a text with the changes taken back", replayed(&newer, &older)?, older.to_string())?;
        }
    }
    Ok(())
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() {
        options if options & 8 == 0 => schedule(&mut input, options),
        _ => raw(&mut input).unwrap_or_else(|why| panic!("{why}")),
    }
}
