//! Appointments that may not overlap.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Environment, done, mentions, read, sorted, unknown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calendar {
    events: Vec<Event>,
    /// Number of the next id to give away.
    next: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    id: String,
    title: String,
    date: String,
    start: String,
    minutes: u32,
    people: Vec<String>,
}

#[derive(Deserialize)]
struct Search {
    date: Option<String>,
    title: Option<String>,
}

#[derive(Deserialize)]
struct New {
    title: String,
    date: String,
    start: String,
    minutes: u32,
    people: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Move {
    id: String,
    date: String,
    start: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Invite {
    id: String,
    person: String,
}

impl Environment for Calendar {
    fn call(&mut self, name: &str, arguments: Value) -> Answer {
        match name {
            "find_events" => Ok(self.find(&read(arguments)?)),
            "create_event" => self.create(read(arguments)?),
            "move_event" => self.reschedule(&read(arguments)?),
            "cancel_event" => self.cancel(&read(arguments)?),
            "invite" => self.invite(read(arguments)?),
            _ => unknown(),
        }
    }

    fn essence(&self) -> Value {
        sorted(self.events.iter().map(|event| {
            let people = sorted(event.people.iter().map(|person| json!(person)));
            json!([event.title, event.date, event.start, event.minutes, people])
        }))
    }
}

impl Calendar {
    fn find(&self, Search { date, title }: &Search) -> Value {
        let fits = |event: &&Event| {
            date.as_ref().is_none_or(|date| event.date == *date)
                && title.as_ref().is_none_or(|title| mentions(&event.title, title))
        };
        json!({ "events": self.events.iter().filter(fits).collect::<Vec<_>>() })
    }

    fn create(&mut self, New { title, date, start, minutes, people }: New) -> Answer {
        let id = format!("e{}", self.next);
        let event = Event { id: id.clone(), title, date, start, minutes, people: people.unwrap_or_default() };
        self.check_free(&event)?;
        self.events.push(event);
        self.next = self.next.saturating_add(1);
        Ok(json!({ "id": id }))
    }

    fn reschedule(&mut self, Move { id, date, start }: &Move) -> Answer {
        let at = self.position(id)?;
        let moved = Event { date: date.clone(), start: start.clone(), ..self.events[at].clone() };
        self.check_free(&moved)?;
        self.events[at] = moved;
        done()
    }

    fn cancel(&mut self, Id { id }: &Id) -> Answer {
        let at = self.position(id)?;
        self.events.remove(at);
        done()
    }

    fn invite(&mut self, Invite { id, person }: Invite) -> Answer {
        let at = self.position(&id)?;
        let people = &mut self.events[at].people;
        if people.contains(&person) {
            return Err(format!("{person} is invited already"));
        }
        people.push(person);
        done()
    }

    fn position(&self, id: &str) -> Result<usize, String> {
        let at = self.events.iter().position(|event| event.id == id);
        at.ok_or_else(|| format!("there is no event {id}"))
    }

    fn check_free(&self, event: &Event) -> Result<(), String> {
        let (start, end) = span(event);
        let clash = self.events.iter().find(|other| {
            let (from, to) = span(other);
            other.id != event.id && other.date == event.date && start < to && from < end
        });
        clash.map_or(Ok(()), |other| {
            Err(format!("{} is taken by {} ({})", event.start, other.id, other.title))
        })
    }
}

/// Start and end of an event in minutes of its day (the end may lie in the next). A start that is not HH:MM,
/// which the tools' schema lets nobody write, is midnight.
fn span(event: &Event) -> (u32, u32) {
    let (hours, minutes) = event.start.split_once(':').unwrap_or_default();
    let number = |text: &str| text.parse::<u8>().map_or(0, u32::from);
    let start = number(hours) * 60 + number(minutes);
    (start, start.saturating_add(event.minutes))
}
