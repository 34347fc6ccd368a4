//! A support desk: tickets with priority, assignee and comments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Environment, done, mentions, read, sorted, unknown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tickets {
    tickets: BTreeMap<String, Ticket>,
    /// Number of the next id to give away.
    next: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    title: String,
    status: Status,
    priority: Priority,
    #[serde(default)]
    assignee: Option<String>,
    #[serde(default)]
    comments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Open,
    Closed,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Low,
    Normal,
    High,
}

#[derive(Deserialize)]
struct Search {
    text: Option<String>,
    status: Option<Status>,
    assignee: Option<String>,
}

#[derive(Deserialize)]
struct New {
    title: String,
    priority: Priority,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Assign {
    id: String,
    person: String,
}

#[derive(Deserialize)]
struct Prioritise {
    id: String,
    priority: Priority,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    text: String,
}

impl Environment for Tickets {
    fn call(&mut self, name: &str, arguments: Value) -> Answer {
        match name {
            "find_tickets" => Ok(self.find(&read(arguments)?)),
            "get_ticket" => {
                let Id { id } = read(arguments)?;
                Ok(json!(self.ticket(&id)?))
            }
            "open_ticket" => Ok(self.open(read(arguments)?)),
            "assign_ticket" => {
                let Assign { id, person } = read(arguments)?;
                self.ticket(&id)?.assignee = Some(person);
                done()
            }
            "set_priority" => {
                let Prioritise { id, priority } = read(arguments)?;
                self.ticket(&id)?.priority = priority;
                done()
            }
            "comment_ticket" => {
                let Comment { id, text } = read(arguments)?;
                self.ticket(&id)?.comments.push(text);
                done()
            }
            "close_ticket" => self.close(&read(arguments)?),
            _ => unknown(),
        }
    }

    fn essence(&self) -> Value {
        sorted(self.tickets.values().map(|ticket| json!(ticket)))
    }
}

impl Tickets {
    fn ticket(&mut self, id: &str) -> Result<&mut Ticket, String> {
        self.tickets.get_mut(id).ok_or_else(|| format!("there is no ticket {id}"))
    }

    fn find(&self, Search { text, status, assignee }: &Search) -> Value {
        let fits = |ticket: &Ticket| {
            text.as_ref().is_none_or(|text| mentions(&ticket.title, text))
                && status.is_none_or(|status| ticket.status == status)
                && assignee.as_ref().is_none_or(|person| ticket.assignee.as_ref() == Some(person))
        };
        let found = self.tickets.iter().filter(|(_, ticket)| fits(ticket));
        let shown = found.map(|(id, ticket)| json!({ "id": id, "title": ticket.title }));
        json!({ "tickets": shown.collect::<Vec<_>>() })
    }

    fn open(&mut self, New { title, priority }: New) -> Value {
        let id = format!("T-{}", self.next);
        let ticket = Ticket { title, status: Status::Open, priority, assignee: None, comments: Vec::new() };
        self.tickets.insert(id.clone(), ticket);
        self.next = self.next.saturating_add(1);
        json!({ "id": id })
    }

    fn close(&mut self, Id { id }: &Id) -> Answer {
        let ticket = self.ticket(id)?;
        if ticket.status == Status::Closed {
            return Err(format!("{id} is closed already"));
        }
        ticket.status = Status::Closed;
        done()
    }
}
