//! What a chat template writes around the contents of messages.

use super::connection::Client;
use super::wire::body::template_body;
use crate::error::{Kind, Result};
use crate::record::{Message, Role, Tool, short_hash};

/// What a content must not hold: templates cut what a model thought out of an earlier reply.
const CUT_OUT: &str = "think>";

/// A rendered prompt with a hole for the content of each message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What stands before each content, and behind the last one.
    parts: Vec<String>,
}

impl Frame {
    /// Cuts a rendered prompt at the contents; `None` where one is not there as it was sent, or twice.
    fn of(rendered: &str, contents: &[Message]) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = rendered;
        for message in contents {
            let (before, behind) = rest.split_once(message.content.as_str())?;
            parts.push(before.to_owned());
            rest = behind;
        }
        parts.push(rest.to_owned());
        let again = |message: &Message| parts.iter().any(|part| part.contains(message.content.trim()));
        (!contents.iter().any(again)).then_some(Self { parts })
    }

    /// The prompt of these messages, as many as the frame was asked for.
    pub fn filled(&self, messages: &[Message]) -> String {
        let length = |texts: &mut dyn Iterator<Item = &str>| texts.map(str::len).sum::<usize>();
        let contents = || messages.iter().map(|message| message.content.as_str());
        let parts = || self.parts.iter().map(String::as_str);
        let mut prompt = String::with_capacity(length(&mut parts()) + length(&mut contents()));
        for (at, part) in parts().enumerate() {
            prompt.push_str(part);
            prompt.push_str(messages.get(at).map_or("", |message| &message.content));
        }
        prompt
    }
}

/// Names the frame of a conversation; `None` where a template may look into a content.
pub fn frame_name(messages: &[Message], tools: &[Tool]) -> Option<String> {
    let plain = |message: &Message| {
        !message.content.trim().is_empty()
            && !message.content.contains(CUT_OUT)
            && message.role != Role::Tool
            && message.tool_calls.is_empty()
    };
    let marked = messages.iter().all(plain).then(|| marked(messages))?;
    Some(short_hash(template_body(&marked, tools).to_string().as_bytes()))
}

impl Client {
    /// What the server's chat template writes around the contents of these messages; `None` where it changes them, or refuses
    /// the conversation. `text_of` spells tokens out, for servers that tokenise a conversation and render none.
    ///
    /// # Errors
    /// As [`Client::apply_template`] and [`Client::prompt_tokens`].
    pub async fn frame(
        &self,
        messages: &[Message],
        tools: &[Tool],
        text_of: impl Fn(&[u32]) -> Option<String>,
    ) -> Result<Option<Frame>> {
        let marked = marked(messages);
        let rendered = match self.endpoints.apply_template {
            Some(_) => self.apply_template(&marked, tools).await.map(Some),
            None => self.prompt_tokens(&marked, tools).await.map(|tokens| text_of(&tokens)),
        };
        match rendered {
            Ok(rendered) => Ok(rendered.and_then(|rendered| Frame::of(&rendered, &marked))),
            Err(error) if error.kind() == Kind::Refused => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The same messages with contents that are found again, with spaces around that a template may trim.
fn marked(messages: &[Message]) -> Vec<Message> {
    let content = |at: usize| format!(" \nqz{at}zq\n ");
    messages
        .iter()
        .enumerate()
        .map(|(at, message)| Message { content: content(at), ..message.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(messages: &[Message], trims: bool) -> String {
        let content = |text: &str| if trims { text.trim().to_owned() } else { text.to_owned() };
        let turns =
            messages.iter().map(|message| format!("<{:?}>{}<end>", message.role, content(&message.content)));
        format!("<begin>{}<Assistant>", turns.collect::<String>())
    }

    #[test]
    fn a_filled_frame_is_what_the_template_writes() {
        let asked = [Message::system("Be brief."), Message::user("Why? qz1zq"), Message::prefill("For ")];
        let frame = Frame::of(&rendered(&marked(&asked), false), &marked(&asked)).unwrap();
        assert_eq!(frame.filled(&asked), rendered(&asked, false));
    }

    #[test]
    fn a_template_that_trims_repeats_or_drops_a_content_has_no_frame() {
        let marked = marked(&[Message::user("a"), Message::user("b")]);
        assert_eq!(Frame::of(&rendered(&marked, true), &marked), None);
        assert_eq!(Frame::of(&rendered(&marked[..1], false), &marked), None);
        let twice = format!("{}{}", rendered(&marked, false), marked[0].content);
        assert_eq!(Frame::of(&twice, &marked), None);
    }

    #[test]
    fn the_same_roles_and_tools_have_the_same_frame() {
        let of = |messages: &[Message]| frame_name(messages, &[]);
        assert_eq!(of(&[Message::user("a")]), of(&[Message::user("another")]));
        assert_ne!(of(&[Message::user("a")]), of(&[Message::system("a")]));
        assert_ne!(of(&[Message::user("a")]), of(&[Message::user("a"), Message::prefill("b")]));
        let tool = Tool { name: "t".into(), description: String::new(), parameters: serde_json::json!({}) };
        assert_ne!(of(&[Message::user("a")]), frame_name(&[Message::user("a")], &[tool]));
        assert_eq!(of(&[Message::user(" ")]), None, "templates leave out what is empty");
        assert_eq!(of(&[Message::user("</think>")]), None);
    }
}
