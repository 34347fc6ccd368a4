//! Tool calls that come in pieces. What belongs together is told by index and id, and servers take liberties with
//! both: some number all parallel calls 0, some give every piece an id of its own, some give neither.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::record::ToolCall;

/// The calls of a reply so far.
#[derive(Default)]
pub(super) struct Calls {
    /// In the order in which they were opened.
    calls: Vec<Call>,
    /// The older `function_call` field.
    legacy: Option<Call>,
}

#[derive(Default)]
struct Call {
    /// The number that the server gives it, maybe to others too.
    index: u64,
    id: Option<String>,
    name: String,
    arguments: String,
}

/// What one entry of a list of calls says.
struct Piece<'a> {
    index: Option<u64>,
    id: Option<&'a str>,
    name: &'a str,
    arguments: Cow<'a, str>,
}

impl Calls {
    /// Takes the calls of a delta; says whether it holds any part of one.
    pub(super) fn add_delta(&mut self, delta: &Value) -> bool {
        let mut any = self.add_legacy(delta);
        for (position, entry) in entries(delta).enumerate() {
            let piece = Piece::of(entry);
            let at = self.place_of(&piece, position);
            any |= self.calls[at].add(&piece);
        }
        any
    }

    /// Takes the calls of a whole message: every entry of the list is one, whatever indices and ids it gives them.
    pub(super) fn add_message(&mut self, message: &Value) -> bool {
        let mut any = self.add_legacy(message);
        for entry in entries(message) {
            let at = self.open(self.next_index());
            any |= self.calls[at].add(&Piece::of(entry));
        }
        any
    }

    /// Whether one was begun.
    pub(super) fn any(&self) -> bool {
        self.legacy.is_some() || !self.calls.is_empty()
    }

    fn add_legacy(&mut self, delta: &Value) -> bool {
        let Some(function) = delta.get("function_call").filter(|call| call.is_object()) else { return false };
        self.legacy.get_or_insert_default().add(&Piece::of_function(function))
    }

    /// The call that a piece belongs to: the one of its id, else the last one of its index, unless it opens a new one.
    fn place_of(&mut self, piece: &Piece<'_>, position: usize) -> usize {
        let index = piece.index.unwrap_or_else(|| self.unnumbered(piece, position));
        let same_index = |call: &Call| call.index == index;
        if let Some(at) = self.calls.iter().rposition(|call| same_index(call) && call.has_id_of(piece)) {
            return at;
        }
        match self.calls.iter().rposition(same_index) {
            Some(at) if !self.calls[at].is_followed_by(piece) => at,
            _ => self.open(index),
        }
    }

    /// The index of a piece that has none: that of the call with its id, else that of the last call. Several pieces
    /// of one list are of several calls.
    fn unnumbered(&self, piece: &Piece<'_>, position: usize) -> u64 {
        let last = self.calls.last();
        let known = self.calls.iter().find(|call| call.has_id_of(piece)).map(|call| call.index);
        let opens = last.is_some_and(|last| last.is_followed_by(piece));
        let next = self.next_index();
        match known {
            Some(index) => index,
            None if opens => next,
            None => next.saturating_sub(1).max(position as u64),
        }
    }

    fn next_index(&self) -> u64 {
        self.calls.iter().map(|call| call.index.saturating_add(1)).max().unwrap_or_default()
    }

    fn open(&mut self, index: u64) -> usize {
        self.calls.push(Call { index, ..Call::default() });
        self.calls.len() - 1
    }

    /// By index; those of the same index in the order in which they were opened.
    pub(super) fn finish(mut self) -> Vec<ToolCall> {
        self.calls.sort_by_key(|call| call.index);
        self.calls.into_iter().chain(self.legacy).map(Call::finish).collect()
    }
}

impl Call {
    fn has_id_of(&self, piece: &Piece<'_>) -> bool {
        piece.id.is_some() && self.id.as_deref() == piece.id
    }

    /// Whether a piece of the same index that has not this call's id begins another call. A name is needed for that:
    /// some servers give every piece an id of its own. Without ids to tell them apart, a named piece begins a call
    /// where this one's arguments are complete.
    fn is_followed_by(&self, piece: &Piece<'_>) -> bool {
        if piece.name.is_empty() || self.name.is_empty() {
            return false;
        }
        let has_another_id = self.id.is_some() && piece.id.is_some();
        let says_more = piece.name != self.name || !piece.arguments.trim().is_empty();
        has_another_id || (says_more && self.is_complete())
    }

    fn is_complete(&self) -> bool {
        serde_json::from_str::<Map<String, Value>>(&self.arguments).is_ok()
    }

    /// Arguments come in fragments; id and name come once, or are repeated.
    fn add(&mut self, piece: &Piece<'_>) -> bool {
        if let (None, Some(id)) = (&self.id, piece.id) {
            self.id = Some(id.to_owned());
        }
        if self.name.is_empty() {
            self.name.push_str(piece.name);
        }
        self.arguments.push_str(&piece.arguments);
        !piece.name.is_empty() || !piece.arguments.is_empty()
    }

    fn finish(self) -> ToolCall {
        ToolCall { id: self.id, name: self.name, arguments: self.arguments }
    }
}

impl<'a> Piece<'a> {
    fn of(entry: &'a Value) -> Self {
        let function = entry.get("function").unwrap_or(&Value::Null);
        let id = entry.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let index = entry.get("index").and_then(Value::as_u64);
        Self { index, id, ..Self::of_function(function) }
    }

    fn of_function(function: &'a Value) -> Self {
        // Some servers send the arguments as the object itself.
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            Some(object @ (Value::Object(_) | Value::Array(_))) => Cow::Owned(object.to_string()),
            _ => Cow::Borrowed(""),
        };
        let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
        Self { index: None, id: None, name, arguments }
    }
}

fn entries(said: &Value) -> impl Iterator<Item = &Value> {
    said.get("tool_calls").and_then(Value::as_array).into_iter().flatten()
}
