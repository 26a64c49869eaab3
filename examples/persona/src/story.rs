//! What happens, in order.

use std::error::Error;

use driftless::{Document, Edit, EditError, Path, Rules, Stamp};
use serde_json::{Value, json};

use crate::device::{Device, Stage};
use crate::model::{self, Memory, Persona, Profile, memory_at};
use crate::show::{self, Page};

pub(crate) const LAPTOP: usize = 0;
pub(crate) const PHONE: usize = 1;
pub(crate) const SERVER: usize = 2;

/// The memory that everybody has something to say about.
pub(crate) const FOOD: &str = "mara-food";
const ADDRESS: &str = "mara-address";

/// 2026-03-14 00:00:00 UTC, the day of the story.
const MIDNIGHT: u64 = 1_773_446_400_000;

/// A time of that day.
pub(crate) fn at(hour: u64, minute: u64) -> u64 {
    MIDNIGHT + (hour * 60 + minute) * 60_000
}

/// The same as text.
fn text_of(millis: u64) -> String {
    Stamp::new(millis, 0).to_string()
}

pub(crate) struct Story {
    pub(crate) page: Page,
    pub(crate) devices: [Device; 3],
    pub(crate) rules: Rules,
    stage: Stage,
}

/// Returns the text of the story, and the persona that all agree on.
pub(crate) fn tell() -> Result<(String, Value), Box<dyn Error>> {
    let stage = Stage::default();
    let devices = ["laptop", "phone", "server"].map(|name| Device::new(name, &stage));
    let mut story = Story { page: Page::default(), devices, rules: model::rules()?, stage };
    story.birth()?;
    let base = story.devices[SERVER].snapshot();
    story.apart()?;
    story.together()?;
    story.settle_by_hand(&base)?;
    story.fail()?;
    story.restart()?;
    story.settle_unattended()?;
    story.end()
}

impl Story {
    /// One thing that happens on one device.
    pub(crate) fn event<R>(
        &mut self,
        who: usize,
        when: u64,
        what: &str,
        edit: impl FnOnce(&mut Edit<'_, Document>) -> Result<R, EditError>,
    ) -> Result<R, EditError> {
        self.stage.set_clock(when);
        self.page.event(when, self.devices[who].name, what);
        self.devices[who].edit(edit)
    }

    /// All hear everything, by way of the server.
    pub(crate) fn meet(&mut self) -> Result<(), Box<dyn Error>> {
        for peer in [LAPTOP, PHONE, LAPTOP] {
            let [peer, server] = self.devices.get_disjoint_mut([peer, SERVER])?;
            let [back, there] = peer.exchange(server)?;
            self.page.line(format!("{:<6} ⇄ server   ⟶ {there}   ⟵ {back}", peer.name));
        }
        self.page.line("");
        Ok(())
    }

    /// Whether all devices hold the same.
    pub(crate) fn is_one(&self) -> bool {
        self.devices.iter().all(|device| device.document() == self.devices[LAPTOP].document())
    }

    fn birth(&mut self) -> Result<(), Box<dyn Error>> {
        self.page.chapter("Juno is born", &["Structs become a document on the laptop; the others get it as bytes."]);
        let juno = newborn();
        self.event(LAPTOP, at(8, 0), "writes Juno down, from a struct", |d| juno.write(d))?;
        self.devices.iter_mut().try_for_each(Device::introduce)?;
        self.meet()?;
        let persona = Persona::of(self.devices[PHONE].document(), &self.rules)?;
        self.page.persona(&persona);
        self.page.line("");
        self.page.check("what the phone reads as a struct is what the laptop wrote", {
            persona == Persona { devices: persona.devices.clone(), ..juno }
        })?;
        self.page.check("laptop, phone and server hold the same", self.is_one())?;
        Ok(())
    }

    fn apart(&mut self) -> Result<(), Box<dyn Error>> {
        self.page.chapter("Three places, no network", &["Everybody goes on, and nobody hears of it."]);
        let (food, tags) = (|part| memory_at(FOOD, part), memory_at(FOOD, "tags")?);
        // A slash within a name is escaped in a JSON Pointer, and stands as it is in a typed path.
        let (coffee, drink) = ("/preferences/tea~1coffee", Path::new(["preferences", "tea/coffee", "drink"])?);

        self.event(LAPTOP, at(9, 5), "wants a dry tone", |d| d.set("/preferences/tone", "dry"))?;
        self.event(PHONE, at(9, 6), "wants a warm tone", |d| d.set("/preferences/tone", "warm"))?;
        self.event(LAPTOP, at(9, 7), "changes the end of the bio", |d| {
            d.set("/profile/bio", "Keeps notes for Mara and answers calmly and briefly.")
        })?;
        self.event(PHONE, at(9, 8), "changes the beginning of the bio", |d| {
            d.set("/profile/bio", "Keeps notes and promises for Mara and answers calmly.")
        })?;
        self.event(LAPTOP, at(9, 10), "tags a memory with #diet", |d| d.update(&tags, &["food", "diet"]))?;
        self.event(PHONE, at(9, 11), "tags it with #family", |d| d.update(&tags, &["food", "family"]))?;
        self.event(LAPTOP, at(9, 12), "turns curiosity up", |d| d.set("/traits/curiosity", 0.8))?;
        self.event(PHONE, at(9, 13), "turns curiosity down", |d| d.set("/traits/curiosity", 0.5))?;
        self.event(PHONE, at(9, 14), "notes which coffee Mara drinks, in a map", |d| d.set(drink, "oat flat white"))?;
        self.event(SERVER, at(9, 15), "notes about coffee as well, in a text", |d| d.set(coffee, "never after noon"))?;
        self.event(LAPTOP, at(9, 16), "recalls a memory twice", |d| d.add(food("recalled")?, 2))?;
        self.event(PHONE, at(9, 17), "recalls it three times", |d| d.add(food("recalled")?, 3))?;
        self.event(PHONE, at(9, 18), "hears it again: 0.95 sure", |d| d.raise(food("confidence")?, 0.95))?;
        self.event(SERVER, at(9, 19), "infers it: 0.90 sure", |d| d.raise(food("confidence")?, 0.9))?;
        self.event(PHONE, at(9, 20), "takes chess off the interests", |d| d.remove("/interests", "chess"))?;
        self.event(SERVER, at(9, 21), "puts chess among the interests", |d| d.insert("/interests", "chess"))?;
        self.event(SERVER, at(9, 22), "forgets an old address", |d| d.unset(Path::new(["memories", ADDRESS])?))?;
        self.event(PHONE, at(9, 23), "recalls the old address", |d| d.add(memory_at(ADDRESS, "recalled")?, 1))?;
        self.event(SERVER, at(9, 24), "remembers something new", |d| model::remember(d, "mara-run", &run()))?;
        self.event(PHONE, at(9, 25), "talks with Mara", |d| d.raise("/last_talk", &text_of(at(9, 25))))?;
        Ok(())
    }

    fn together(&mut self) -> Result<(), Box<dyn Error>> {
        self.page.chapter("They meet", &["Deltas as bytes, in both directions."]);
        self.meet()?;
        let persona = Persona::of(self.devices[SERVER].document(), &self.rules)?;
        let food = persona.memories.get(FOOD).cloned().unwrap_or_default();
        self.page.check("laptop, phone and server hold the same", self.is_one())?;
        self.page.check("a counter counts both: 2 + 3 recalls are 5", food.recalled == 5)?;
        self.page.check("of a maximum the greatest shows: 0.95 sure", food.confidence == 0.95)?;
        self.page.check("of a set, adding wins: chess is in", persona.interests.contains("chess"))?;
        self.page.check("tags read as their union, by a rule of reading, though they conflict", {
            food.tags == ["food", "family", "diet"]
        })?;
        self.page.line("");

        let [laptop, ..] = &self.devices;
        self.page.line("What was forgotten here and recalled there leaves a fragment, a count without a text:");
        for id in model::fragments(laptop.document()) {
            let left = laptop.document().properties().json(Path::new(["memories", &id])?).unwrap_or_default();
            self.page.line(format!("  {id}: {left}"));
        }
        let sweep = |d: &mut Edit<'_, Document>| {
            let ids = model::fragments(d);
            ids.iter().try_for_each(|id| d.unset(Path::new(["memories", id])?).map(drop))
        };
        self.event(SERVER, at(10, 0), "sweeps fragments", sweep)?;
        Ok(())
    }

    /// What fails leaves nothing behind, however far it had got.
    fn fail(&mut self) -> Result<(), Box<dyn Error>> {
        self.page.chapter("What fails leaves nothing behind", &["Each edit is whole, or it is not at all."]);
        let before = self.devices[PHONE].snapshot();
        let nan = self.event(PHONE, at(12, 0), "edits three things, the last of them not a number", |d| {
            d.add(memory_at(FOOD, "recalled")?, 1)?;
            d.set("/traits/patience", 0.9)?;
            d.set("/traits/humour", f64::NAN)
        });
        self.page.outcome(nan.err().ok_or("NaN was written")?);
        let into = self.event(PHONE, at(12, 1), "writes below a text", |d| d.set("/profile/name/first", "Juno"));
        self.page.outcome(into.err().ok_or("a text has got parts")?);
        self.page.line("");
        self.page.check("the phone holds what it held before", *self.devices[PHONE].document() == before)?;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.page.chapter(
            "The laptop sleeps and wakes",
            &["It is saved and opened again: from now on it writes under a writer that goes on from the one before."],
        );
        let before = self.devices[LAPTOP].snapshot();
        let bytes = self.devices[LAPTOP].restart()?;
        self.page.line(format!("saved in {bytes} bytes"));
        self.page.check("it holds what it held", *self.devices[LAPTOP].document() == before)?;
        Ok(())
    }

    fn end(mut self) -> Result<(String, Value), Box<dyn Error>> {
        self.page.chapter("One Juno", &["Laptop, phone and server all say:"]);
        let personas: Vec<Persona> =
            self.devices.iter().map(|d| Persona::of(d.document(), &self.rules)).collect::<Result<_, _>>()?;
        let [laptop, phone, server] = &self.devices;
        self.page.persona(&personas[LAPTOP]);
        self.page.line("");
        let same = personas.iter().all(|persona| show::card(persona) == show::card(&personas[LAPTOP]));
        self.page.check("all three print the same persona", same)?;
        self.page.check("their states are equal", self.is_one())?;
        let json = laptop.document().to_json();
        let same = json == phone.document().to_json() && json == server.document().to_json();
        self.page.check("their JSON is equal", same && json == json!(personas[LAPTOP]))?;
        let open = self.devices.iter().flat_map(|device| device.document().conflicts()).count();
        self.page.check("no conflict is open", open == 0)?;
        Ok((self.page.text, json))
    }
}

fn newborn() -> Persona {
    let memory = |text: &str, confidence, tags: &[&str]| Memory {
        text: text.into(),
        said_by: "Mara".into(),
        said_at: text_of(at(8, 0)),
        confidence,
        recalled: 0,
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
    };
    Persona {
        profile: Profile {
            name: "Juno".into(),
            role: "Mara's assistant".into(),
            bio: "Keeps notes for Mara and answers calmly.".into(),
        },
        preferences: [("language", "en"), ("tone", "friendly")].map(|(k, v)| (k.into(), v.into())).into(),
        traits: [("curiosity", 0.6), ("humour", 0.3), ("patience", 0.8)].map(|(k, v)| (k.into(), v)).into(),
        interests: ["sailing", "chess"].map(Into::into).into(),
        last_talk: text_of(at(8, 0)),
        memories: [
            (FOOD.into(), memory("Mara eats no meat.", 0.7, &["food"])),
            (ADDRESS.into(), memory("Mara lives in Harbour Street.", 0.4, &["home"])),
        ]
        .into(),
        devices: Default::default(),
    }
}

fn run() -> Memory {
    Memory {
        text: "Mara trains for a marathon.".into(),
        said_by: "server".into(),
        said_at: text_of(at(9, 24)),
        confidence: 0.6,
        recalled: 0,
        tags: vec!["sport".into()],
    }
}
