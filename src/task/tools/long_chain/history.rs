//! What happened at the desk so far, and what is asked now.

use serde_json::{Value, json};

use crate::record::{Message, Tool};
use crate::task::fitting::{Draft, Piece};
use crate::task::prose::{NAMES, SURNAMES, TOWNS};
use crate::task::random::Random;
use crate::task::tools::ladder::Expected;
use crate::task::tools::offer::Offer;

use super::desk::{DEPOT_FULL, Desk, PIN_EXPIRED, Parcel, function};
use super::speech;

/// Notes that are added.
const NOTES: &[&str] = &["fragile", "keep dry", "this side up", "ring twice", "no signature needed", "gift"];
/// Parcels that are under way at a time.
const UNDER_WAY: usize = 5;
/// In so many of 100 draws a parcel that is under way gets a new id or a note instead of going on.
const ASIDE: usize = 30;
/// In so many of 100 draws a depot is full, and a pin has expired.
const FAILS: usize = 20;
/// In so many of 100 draws an asked parcel got its id by relabelling.
const RELABELLED: usize = 50;

/// What somebody asks the agent for.
#[derive(Debug, Clone)]
enum Request {
    Register { grams: u32 },
    Book { depot: &'static str, day: u32 },
    Relabel,
    Release,
    Note { text: &'static str },
}

/// A call, what it came to, and what was known then.
#[derive(Debug, Clone)]
struct Done {
    asked: Asked,
    result: Value,
}

/// A call that is right.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) call: Expected,
    /// Ids and pins that were right once.
    pub(super) stale: Vec<String>,
    /// Whether it follows a call that failed.
    pub(super) recovers: bool,
}

/// A request with the calls that it took.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    user: String,
    done: Vec<Done>,
}

/// A history of any length. A unit is an exchange about parcels that are not asked about.
pub(super) struct History {
    offer: Offer,
    random: Random,
    senders: Senders,
    desk: Desk,
    /// Senders of parcels that are under way.
    under_way: Vec<String>,
    others: Vec<Exchange>,
    /// Exchanges about the asked parcels, by their share of the way; the one with the first parcel's id is named by its place.
    fixed: Vec<(f64, Exchange)>,
    first_id: usize,
    /// What is asked now.
    now: Vec<Exchange>,
    steps: Vec<Asked>,
}

impl History {
    pub(super) fn new(offer: Offer, mut random: Random, depth: f64, steps: usize) -> Self {
        let mut made = Self {
            offer,
            senders: Senders::new(&mut random),
            desk: Desk::default(),
            under_way: Vec::new(),
            others: Vec::new(),
            fixed: Vec::new(),
            first_id: 0,
            now: Vec::new(),
            steps: Vec::new(),
            random: random.clone(),
        };
        while made.steps.len() < steps {
            let share = if made.now.is_empty() { depth } else { random.below(1000) as f64 / 1000.0 };
            made.ask(&mut random, share);
        }
        made.steps.truncate(steps);
        made.fixed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let id = made.steps.first().map(|step| step.call.arguments["parcel_id"].clone()).unwrap_or_default();
        let gives = |exchange: &Exchange| exchange.done.iter().any(|done| done.result["parcel_id"] == id);
        made.first_id = made.fixed.iter().position(|(_, exchange)| gives(exchange)).unwrap_or_default();
        made.random = random;
        made
    }

    /// A parcel whose id was given out at that share of the way, and that is booked and released now.
    fn ask(&mut self, random: &mut Random, share: f64) {
        let sender = self.senders.next();
        // One of both goes wrong at least.
        let (full, expires) = [(true, true), (true, false), (false, true)][random.below(3)];
        let (full, expires) = if self.now.is_empty() { (true, true) } else { (full, expires) };
        self.desk.expect(Parcel::draw(random, sender.clone(), full, expires));
        let registered = self.exchange(&sender, &Request::register(random));
        if random.chance(RELABELLED) {
            let earlier = share * random.below(1000) as f64 / 1000.0;
            self.fixed.push((earlier, registered));
            let relabelled = self.exchange(&sender, &Request::Relabel);
            self.fixed.push((share, relabelled));
        } else {
            self.fixed.push((share, registered));
        }
        for request in [Request::book(random), Request::Release] {
            let exchange = self.exchange(&sender, &request);
            self.steps.extend(exchange.done.iter().map(|done| done.asked.clone()));
            self.now.push(exchange);
        }
    }

    pub(super) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The calls that are asked for, in order.
    pub(super) fn steps(&self) -> &[Asked] {
        &self.steps
    }

    /// Where the id of the first asked parcel was given out (0..1).
    pub(super) fn depth(&self, units: usize) -> f64 {
        let before = self.first_id + place(self.fixed[self.first_id].0, units);
        before as f64 / (units + self.fixed.len() + 1) as f64
    }

    /// The conversation up to the call of a step (from 0).
    pub(super) fn until(&mut self, units: usize, step: usize) -> Vec<Message> {
        self.grow(units);
        let mut messages = speech::opening(&self.offer);
        for exchange in self.past(units) {
            messages.push(Message::user(&exchange.user));
            for (at, done) in exchange.done.iter().enumerate() {
                messages.extend(self.called(exchange, at, &done.asked.call));
            }
            messages.push(speech::done());
        }
        let first = self.now.first().map(|exchange| Message::user(&exchange.user));
        messages.extend(first);
        messages.extend((1..=step).flat_map(|step| self.between(step)));
        messages
    }

    /// What is said between the step before and this one: the right call, its result and, where that ended a request, the
    /// next one.
    pub(super) fn between(&self, step: usize) -> Vec<Message> {
        let mut left = step - 1;
        for (number, exchange) in self.now.iter().enumerate() {
            if left >= exchange.done.len() {
                left -= exchange.done.len();
                continue;
            }
            let mut said = self.called(exchange, left, &exchange.done[left].asked.call);
            if left + 1 == exchange.done.len() {
                said.push(speech::done());
                said.extend(self.now.get(number + 1).map(|next| Message::user(&next.user)));
            }
            return said;
        }
        Vec::new()
    }

    fn called(&self, exchange: &Exchange, at: usize, call: &Expected) -> Vec<Message> {
        speech::called(self.offer.arm, call, &exchange.done[at].result)
    }

    /// The exchanges so far, those of the asked parcels at their places.
    fn past(&self, units: usize) -> Vec<&Exchange> {
        let mut past = Vec::new();
        let mut fixed = self.fixed.iter().peekable();
        for behind in 0..=units {
            while let Some((_, exchange)) = fixed.next_if(|(share, _)| place(*share, units) <= behind) {
                past.push(exchange);
            }
            past.extend(self.others.get(behind).filter(|_| behind < units));
        }
        past
    }

    fn grow(&mut self, units: usize) {
        while self.others.len() < units {
            let mut random = self.random.clone();
            let exchange = self.other(&mut random);
            self.random = random;
            self.others.push(exchange);
        }
    }

    /// The next exchange about a parcel that is not asked about.
    fn other(&mut self, random: &mut Random) -> Exchange {
        if self.under_way.len() < UNDER_WAY {
            let sender = self.senders.next();
            let (full, expires) = (random.chance(FAILS), random.chance(FAILS));
            self.desk.expect(Parcel::draw(random, sender.clone(), full, expires));
            self.under_way.push(sender.clone());
            return self.exchange(&sender, &Request::register(random));
        }
        let at = random.below(self.under_way.len());
        let sender = self.under_way[at].clone();
        let (relabelled, booked) =
            self.desk.of(&sender).map_or((true, true), |state| (state.relabelled, state.booked));
        let request = match random.chance(ASIDE) {
            true if !relabelled && random.chance(50) => Request::Relabel,
            true => Request::Note { text: random.pick(NOTES) },
            false if !booked => Request::book(random),
            false => Request::Release,
        };
        if matches!(request, Request::Release) {
            self.under_way.swap_remove(at);
        }
        self.exchange(&sender, &request)
    }

    /// Does what is asked for as the rules say.
    fn exchange(&mut self, sender: &str, request: &Request) -> Exchange {
        let mut exchange = Exchange { user: request.text(sender), done: Vec::new() };
        let mut call = request.call(sender, &self.desk);
        let mut recovers = false;
        while let Some((name, arguments)) = call {
            let stale = self.desk.of(sender).map(super::desk::State::stale).unwrap_or_default();
            let result = self.desk.call(name, &arguments);
            let next = self.recovery(sender, request, name, &result);
            let arguments = arguments.as_object().cloned().unwrap_or_default();
            let call_made = Expected { name: name.to_owned(), arguments, variants: Vec::new() };
            exchange.done.push(Done { asked: Asked { call: call_made, stale, recovers }, result });
            recovers = true;
            call = next;
        }
        exchange
    }

    /// What follows a result by the rules, if anything.
    fn recovery(
        &self,
        sender: &str,
        request: &Request,
        name: &str,
        result: &Value,
    ) -> Option<(&'static str, Value)> {
        let state = self.desk.of(sender)?;
        match (request, result["error"].as_str()) {
            (Request::Book { day, .. }, Some(DEPOT_FULL)) => {
                let arguments = json!({ "parcel_id": state.id(), "permit": result["permit"], "day": day });
                Some((function::OVERFLOW, arguments))
            }
            (Request::Release, Some(PIN_EXPIRED)) => {
                Some((function::RENEW, json!({ "parcel_id": state.id(), "slot_id": state.parcel.slot })))
            }
            (Request::Release, None) if name == function::RENEW => request.call(sender, &self.desk),
            _ => None,
        }
    }
}

/// How many of `units` exchanges stand in front of a share of the way.
fn place(share: f64, units: usize) -> usize {
    (share * (units + 1) as f64) as usize
}

impl Request {
    fn register(random: &mut Random) -> Self {
        Self::Register { grams: random.between(50, 9999) }
    }

    fn book(random: &mut Random) -> Self {
        Self::Book { depot: random.pick(TOWNS), day: random.between(1, 28) }
    }

    fn text(&self, sender: &str) -> String {
        match self {
            Self::Register { grams } => format!("Register a parcel of {grams} grams from {sender}."),
            Self::Book { depot, day } => {
                format!("Book a slot at {depot} on day {day} for the parcel from {sender}.")
            }
            Self::Relabel => format!("Relabel the parcel from {sender}."),
            Self::Release => format!("Release the parcel from {sender}."),
            Self::Note { text } => format!("Add the note `{text}` to the parcel from {sender}."),
        }
    }

    /// The call that it begins with.
    fn call(&self, sender: &str, desk: &Desk) -> Option<(&'static str, Value)> {
        if let Self::Register { grams } = self {
            return Some((function::REGISTER, json!({ "sender": sender, "grams": grams })));
        }
        let state = desk.of(sender)?;
        let id = state.id();
        Some(match self {
            Self::Register { .. } => return None,
            Self::Book { depot, day } => {
                (function::BOOK, json!({ "parcel_id": id, "depot": depot, "day": day }))
            }
            Self::Relabel => (function::RELABEL, json!({ "parcel_id": id })),
            Self::Release => (
                function::RELEASE,
                json!({ "parcel_id": id, "slot_id": state.parcel.slot, "pin": state.pin() }),
            ),
            Self::Note { text } => (function::NOTE, json!({ "parcel_id": id, "text": text })),
        })
    }
}

/// Different people, one after another; of each full name there are some in several towns.
#[derive(Debug, Clone)]
struct Senders {
    people: Vec<String>,
    given: usize,
}

impl Senders {
    fn new(random: &mut Random) -> Self {
        let full =
            NAMES.iter().flat_map(|name| SURNAMES.iter().map(move |surname| format!("{name} {surname}")));
        let mut people: Vec<String> = full.collect();
        random.shuffle(&mut people);
        Self { people, given: 0 }
    }

    fn next(&mut self) -> String {
        let (person, round) = (self.given % self.people.len(), self.given / self.people.len());
        self.given += 1;
        match round {
            0 => self.people[person].clone(),
            // Behind the last town there is none left; a history is never that long.
            _ => format!("{} of {}", self.people[person], TOWNS[(round - 1) % TOWNS.len()]),
        }
    }
}

impl Draft for History {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        let last = self.steps.len().saturating_sub(1);
        self.until(units, last)
    }

    fn tools(&self) -> &[Tool] {
        self.offer.field()
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        let text = |exchange: &Exchange| {
            let done = exchange.done.iter().map(|done| speech::text(&done.asked.call, &done.result));
            speech::turns(&exchange.user, done)
        };
        let lead = from.checked_sub(1).map(|_| speech::DONE.to_owned()).unwrap_or_default();
        Piece { lead, added: self.others[from..to].iter().map(text).collect() }
    }
}
