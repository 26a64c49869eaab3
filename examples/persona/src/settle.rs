//! Settling what the devices disagree on: by hand, and by a policy that nobody watches.

use std::error::Error;

use driftless::{Conflict, Content, Document, EditError, Kind, Resolution, ResolveError, Rule, Rules, Value};
use serde_json::Map;

use crate::model::memory_at;
use crate::story::{FOOD, LAPTOP, PHONE, SERVER, Story, at};

const TONE: &str = "/preferences/tone";
const BIO: &str = "/profile/bio";

impl Story {
    /// `base` is what all had when they parted.
    pub(crate) fn settle_by_hand(&mut self, base: &Document) -> Result<(), Box<dyn Error>> {
        let intro = ["Nothing was decided behind anybody's back. Everything that was written is here to choose from:"];
        self.page.chapter("What they disagree on", &intro);
        self.page.conflicts(self.devices[LAPTOP].document());
        self.page.line("");

        // Mara sees the same list on both screens.
        let on_phone = self.devices[PHONE].conflict(TONE)?.id;
        let tone = self.devices[LAPTOP].conflict(TONE)?;
        let dry = tone.candidates.iter().find(|candidate| candidate.value() == Some("dry".into()));
        let dry = dry.ok_or("nobody wanted a dry tone")?.dot;
        self.settle(at(11, 0), "picks the dry tone", TONE, |_| Resolution::Pick(dry))?;
        self.settle(at(11, 1), "meets in the middle", "/traits/curiosity", mean)?;
        self.settle(at(11, 2), "puts the text into the map", "/preferences/tea~1coffee", text_into_map)?;
        let base = base.get(BIO).and_then(|bio| bio.as_str()).ok_or("Juno had no bio")?;
        self.settle(at(11, 3), "merges the changes, word by word", BIO, |_| Resolution::MergeText {
            base: base.into(),
        })?;
        self.settle(at(11, 4), "keeps all tags", &memory_at(FOOD, "tags")?.to_string(), |_| Resolution::Union)?;
        self.page.line("");
        self.meet()?;

        // The phone still shows its list from before.
        let late = self.event(PHONE, at(11, 5), "settles the tone, from a list that is out of date", |d| {
            d.resolve(on_phone, Resolution::Value("warm".into()))
        });
        match late {
            Err(EditError::Resolve(ResolveError::Stale(_))) => self.page.outcome("⟹ that one is gone"),
            other => return Err(format!("an old conflict was settled: {other:?}").into()),
        }
        let now = self.devices[PHONE].document().get(TONE).map(|tone| tone.to_string());
        self.page.outcome(format!("⟹ lists them again, and finds {}", now.unwrap_or_default()));
        self.page.line("");
        let open = self.devices.iter().map(|device| device.document().conflicts().count()).sum::<usize>();
        self.page.check("no conflict is open, on any device", open == 0)?;
        self.page.check("laptop, phone and server hold the same", self.is_one())?;
        Ok(())
    }

    /// Settles one conflict on the laptop by what a closure makes of its candidates.
    fn settle<'v>(
        &mut self,
        when: u64,
        what: &str,
        path: &str,
        decide: impl FnOnce(&Conflict<'_>) -> Resolution<'v>,
    ) -> Result<(), Box<dyn Error>> {
        let id = self.devices[LAPTOP].conflict(path)?.id;
        self.event(LAPTOP, when, what, |d| d.resolve_with(id, decide))?;
        let now = self.devices[LAPTOP].document().properties().json(path);
        self.page.outcome(format!("⟹ {}", now.unwrap_or_default()));
        Ok(())
    }

    pub(crate) fn settle_unattended(&mut self) -> Result<(), Box<dyn Error>> {
        let intro = ["Apart once more; then all three settle by the same policy at the same time."];
        self.page.chapter("Nobody is watching", &intro);
        let (base, tags) = (self.devices[SERVER].snapshot(), memory_at(FOOD, "tags")?);
        let tagged = |tag| ["food", "family", "diet", tag];
        self.event(LAPTOP, at(14, 0), "tags with #recipes", |d| d.update(&tags, &tagged("recipes")))?;
        self.event(PHONE, at(14, 1), "tags with #lunch", |d| d.update(&tags, &tagged("lunch")))?;
        self.event(SERVER, at(14, 2), "tags with #health", |d| d.update(&tags, &tagged("health")))?;
        self.event(LAPTOP, at(14, 3), "changes one word of the bio", |d| {
            d.set(BIO, "Keeps notes and promises for Mara and replies calmly and briefly.")
        })?;
        self.event(SERVER, at(14, 4), "changes another", |d| {
            d.set(BIO, "Keeps notes and promises for Mara Lind and answers calmly and briefly.")
        })?;
        self.event(LAPTOP, at(14, 5), "wants a playful tone", |d| d.set(TONE, "playful"))?;
        self.event(PHONE, at(14, 6), "wants a warm one", |d| d.set(TONE, "warm"))?;
        self.page.line("");
        self.meet()?;
        self.page.conflicts(self.devices[SERVER].document());
        self.page.line("");

        let rules = self.rules.clone();
        for round in 1.. {
            let mut settled = [0; 3];
            for (settled, device) in settled.iter_mut().zip(&mut self.devices) {
                *settled = device.edit(|d| Ok(d.settle(|conflict| policy(&rules, &base, conflict))?.written))?;
            }
            let [laptop, phone, server] = settled;
            self.page.line(format!("round {round}: laptop settles {laptop}, phone {phone}, server {server}"));
            if settled == [0; 3] {
                break;
            }
            self.meet()?;
        }
        self.page.line("");
        self.page.check("they came to rest, all at the same", self.is_one())?;
        self.page.line("");
        self.page.line("The policy leaves alone what it would decide as it shows already. One device may confirm it:");
        self.page.conflicts(self.devices[SERVER].document());
        let id = self.devices[SERVER].conflict(TONE)?.id;
        self.event(SERVER, at(15, 0), "confirms what shows", |d| d.resolve(id, Resolution::LastWriter))?;
        self.page.line("");
        self.meet()
    }
}

/// A weight between those of all.
fn mean(conflict: &Conflict<'_>) -> Resolution<'static> {
    let weights: Vec<f64> = conflict.candidates.iter().filter_map(|c| c.value()?.as_f64()).collect();
    match weights.len() {
        0 => Resolution::Manual,
        len => Resolution::Value((weights.iter().sum::<f64>() / len as f64).into()),
    }
}

/// A map with all that the map has, and whatever else was there as a note.
fn text_into_map(conflict: &Conflict<'_>) -> Resolution<'static> {
    let mut map = Map::new();
    for candidate in &conflict.candidates {
        match &candidate.content {
            Content::Kind { kind: Kind::Map, reads } => {
                map.extend(reads.to_json().as_object().cloned().unwrap_or_default())
            }
            Content::Kind { reads, .. } => drop(map.insert("note".to_owned(), reads.to_json())),
            _ => {}
        }
    }
    Resolution::Json(map.into())
}

/// The same on every device. What reads as a union is settled as one, so that settling changes nothing that was read.
fn policy<'v>(rules: &Rules, base: &'v Document, conflict: &Conflict<'_>) -> Resolution<'v> {
    if rules.rule(&conflict.path) == Rule::Union {
        return Resolution::Union;
    }
    match base.get(&conflict.path) {
        Some(Value::Str(base)) if conflict.path.to_string() == BIO => Resolution::MergeText { base: base.into() },
        _ => Resolution::LastWriter,
    }
}
