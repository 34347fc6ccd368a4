//! The desk where parcels are registered, booked and released: a small deterministic environment. What will go wrong with a parcel
//! is decided when it comes, so that no two parcels depend on each other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::record::Tool;
use crate::task::random::Random;

/// Signs of ids: no vowels (no words), nothing that looks like something else.
const SIGNS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ23456789";
/// Signs of an id behind its letter.
const ID_SIGNS: usize = 6;

/// The names of the functions.
pub(super) mod function {
    pub(in super::super) const REGISTER: &str = "register_parcel";
    pub(in super::super) const BOOK: &str = "book_slot";
    pub(in super::super) const OVERFLOW: &str = "book_overflow";
    pub(in super::super) const RELABEL: &str = "relabel_parcel";
    pub(in super::super) const RELEASE: &str = "release_parcel";
    pub(in super::super) const RENEW: &str = "renew_pin";
    pub(in super::super) const NOTE: &str = "add_note";
}

/// Errors that a rule says what to do about.
pub(super) const DEPOT_FULL: &str = "depot_full";
pub(super) const PIN_EXPIRED: &str = "pin_expired";

/// A parcel with all that will ever be given out for it.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) sender: String,
    /// Its id, and the one after relabelling.
    pub(super) ids: [String; 2],
    /// Its pin, and the one after renewal.
    pub(super) pins: [u32; 2],
    pub(super) permit: String,
    pub(super) slot: String,
    /// Whether the depot that it is booked for turns out to be full.
    pub(super) full: bool,
    /// Whether its pin turns out to have expired.
    pub(super) expires: bool,
}

impl Parcel {
    pub(super) fn draw(random: &mut Random, sender: String, full: bool, expires: bool) -> Self {
        let [one, other, permit, slot] = ["P", "P", "W", "S"].map(|letter| id(random, letter));
        let pins = [(); 2].map(|()| random.between(1000, 9999));
        let pins = if pins[0] == pins[1] { [pins[0], 999] } else { pins };
        Self { sender, ids: [one, other], pins, permit, slot, full, expires }
    }
}

fn id(random: &mut Random, letter: &str) -> String {
    let signs: String = (0..ID_SIGNS).map(|_| char::from(SIGNS[random.below(SIGNS.len())])).collect();
    format!("{letter}-{signs}")
}

/// A parcel and how far it came.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) parcel: Parcel,
    pub(super) relabelled: bool,
    pub(super) renewed: bool,
    refused: bool,
    pub(super) booked: bool,
    pub(super) released: bool,
}

impl State {
    /// The id that counts now.
    pub(super) fn id(&self) -> &str {
        &self.parcel.ids[usize::from(self.relabelled)]
    }

    /// The pin that counts now.
    pub(super) fn pin(&self) -> u32 {
        self.parcel.pins[usize::from(self.renewed)]
    }

    /// Ids and pins that counted once.
    pub(super) fn stale(&self) -> Vec<String> {
        let id = self.relabelled.then(|| self.parcel.ids[0].clone());
        let pin = self.renewed.then(|| self.parcel.pins[0].to_string());
        id.into_iter().chain(pin).collect()
    }
}

/// The desk.
#[derive(Debug, Clone, Default)]
pub(super) struct Desk {
    /// Parcels that will come, by their sender.
    coming: BTreeMap<String, Parcel>,
    here: BTreeMap<String, State>,
}

impl Desk {
    /// A parcel that its sender will bring.
    pub(super) fn expect(&mut self, parcel: Parcel) {
        self.coming.insert(parcel.sender.clone(), parcel);
    }

    /// The parcel of a sender, once it is registered.
    pub(super) fn of(&self, sender: &str) -> Option<&State> {
        self.here.get(sender)
    }

    /// Carries out a call. What fails changes nothing but that it failed.
    pub(super) fn call(&mut self, name: &str, arguments: &Value) -> Value {
        let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        if name == function::REGISTER {
            return self.register(&text("sender"));
        }
        let id = text("parcel_id");
        let Some(state) = self.here.values_mut().find(|state| state.id() == id) else {
            return failed("unknown_parcel");
        };
        let is_its_slot = state.booked && state.parcel.slot == text("slot_id");
        match name {
            function::BOOK if state.booked => failed("booked_already"),
            function::BOOK if state.parcel.full => {
                state.refused = true;
                json!({ "error": DEPOT_FULL, "permit": state.parcel.permit })
            }
            function::BOOK => state.book(),
            function::OVERFLOW if !state.refused || text("permit") != state.parcel.permit => {
                failed("wrong_permit")
            }
            function::OVERFLOW => state.book(),
            function::RELABEL if state.relabelled => failed("relabelled_already"),
            function::RELABEL => {
                state.relabelled = true;
                json!({ "parcel_id": state.id() })
            }
            function::RELEASE | function::RENEW if !is_its_slot => failed("wrong_slot"),
            function::RENEW => {
                state.renewed = true;
                json!({ "pin": state.pin() })
            }
            function::RELEASE if arguments["pin"].as_u64() != Some(u64::from(state.pin())) => {
                failed("wrong_pin")
            }
            function::RELEASE if state.parcel.expires && !state.renewed => failed(PIN_EXPIRED),
            function::RELEASE => {
                state.released = true;
                json!({ "released": true })
            }
            function::NOTE => json!({ "ok": true }),
            _ => failed("unknown_function"),
        }
    }

    fn register(&mut self, sender: &str) -> Value {
        let Some(parcel) = self.coming.remove(sender) else { return failed("unknown_sender") };
        let told = json!({ "parcel_id": parcel.ids[0], "pin": parcel.pins[0] });
        let state = State {
            parcel,
            relabelled: false,
            renewed: false,
            refused: false,
            booked: false,
            released: false,
        };
        self.here.insert(sender.to_owned(), state);
        told
    }
}

impl State {
    fn book(&mut self) -> Value {
        self.booked = true;
        json!({ "slot_id": self.parcel.slot })
    }
}

fn failed(error: &str) -> Value {
    json!({ "error": error })
}

/// The functions.
pub(super) fn tools() -> Vec<Tool> {
    let text = || json!({ "type": "string" });
    let whole = || json!({ "type": "integer", "minimum": 1 });
    let tool = |name: &str, description: &str, parameters: &[(&str, Value)]| {
        let names: Vec<&str> = parameters.iter().map(|(name, _)| *name).collect();
        let properties: serde_json::Map<String, Value> =
            parameters.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        Tool {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters: json!({
                "type": "object",
                "properties": properties,
                "required": names,
                "additionalProperties": false
            }),
        }
    };
    vec![
        tool(
            function::REGISTER,
            "Register a parcel; returns its id and pin.",
            &[("sender", text()), ("grams", whole())],
        ),
        tool(
            function::BOOK,
            "Book a slot at a depot on a day of the month; returns the id of the slot.",
            &[("parcel_id", text()), ("depot", text()), ("day", whole())],
        ),
        tool(
            function::OVERFLOW,
            "Book a slot at the overflow depot; returns the id of the slot.",
            &[("parcel_id", text()), ("permit", text()), ("day", whole())],
        ),
        tool(function::RELABEL, "Give a parcel a new id; the old one is void.", &[("parcel_id", text())]),
        tool(
            function::RELEASE,
            "Release a parcel that has a slot.",
            &[("parcel_id", text()), ("slot_id", text()), ("pin", whole())],
        ),
        tool(function::RENEW, "Give a parcel a new pin.", &[("parcel_id", text()), ("slot_id", text())]),
        tool(function::NOTE, "Add a note to a parcel.", &[("parcel_id", text()), ("text", text())]),
    ]
}
