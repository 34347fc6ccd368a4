//! Replies that are far longer than their output budget: only their beginning is kept.

use sha2::{Digest, Sha256};

use crate::record::{Overlong, Reply, ToolCall, hex};

/// What is kept of such a reply (bytes).
const KEPT: usize = 64 << 10;
/// More than a token has on average in any text (bytes).
const TOKEN_BYTES: usize = 128;

/// Cuts a reply that no model can have written within `max_tokens`, and notes its length and hash.
pub(super) fn keep_within(reply: &mut Reply, max_tokens: u32) {
    let bytes: usize = pieces(reply).map(str::len).sum();
    if bytes <= KEPT.max(TOKEN_BYTES.saturating_mul(max_tokens as usize)) {
        return;
    }
    let mut hash = Sha256::new();
    pieces(reply).for_each(|piece| hash.update(piece));
    reply.overlong = Some(Overlong { bytes: bytes as u64, sha256: hex(&hash.finalize()) });
    reply.token_lengths.clear();
    cut(reply);
}

/// Everything that the model wrote, in the order in which it is kept.
fn pieces<'r>(reply: &'r Reply) -> impl Iterator<Item = &'r str> {
    let of_call =
        |call: &'r ToolCall| [&*call.name, &*call.arguments, call.id.as_deref().unwrap_or_default()];
    let calls = reply.tool_calls.iter().flat_map(of_call);
    [&*reply.reasoning, &*reply.content].into_iter().chain(calls)
}

fn cut(reply: &mut Reply) {
    let mut room = KEPT;
    shorten(&mut reply.reasoning, &mut room);
    shorten(&mut reply.content, &mut room);
    let mut kept = 0;
    for call in &mut reply.tool_calls {
        if room == 0 {
            break;
        }
        for piece in [&mut call.name, &mut call.arguments].into_iter().chain(&mut call.id) {
            shorten(piece, &mut room);
        }
        kept += 1;
    }
    reply.tool_calls.truncate(kept);
}

/// Cuts a text to the room that is left, and takes that away.
fn shorten(text: &mut String, room: &mut usize) {
    text.truncate(text.floor_char_boundary(*room));
    *room -= text.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_budget_can_hold_is_left_alone() {
        for (bytes, max_tokens) in [(KEPT, 1), (KEPT + 1, 513), (1 << 20, 8192)] {
            let mut reply = Reply { content: "x".repeat(bytes), ..Reply::default() };
            keep_within(&mut reply, max_tokens);
            assert_eq!((reply.content.len(), reply.overlong), (bytes, None));
        }
    }

    #[test]
    fn a_reply_beyond_any_budget_keeps_its_beginning_length_and_hash() {
        let content = "ü".repeat(100_000);
        let mut reply = Reply { content: content.clone(), reasoning: "hm".into(), ..Reply::default() };
        keep_within(&mut reply, 128);
        assert!(content.starts_with(&reply.content));
        assert_eq!((reply.reasoning.as_str(), reply.content.len()), ("hm", KEPT - 2));
        let sha256 = hex(&Sha256::digest(format!("hm{content}")));
        assert_eq!(reply.overlong, Some(Overlong { bytes: 200_002, sha256 }));
    }

    #[test]
    fn calls_are_cut_like_text_and_so_is_their_number() {
        let call = ToolCall { id: Some("i".repeat(100)), name: "f".into(), arguments: "a".repeat(999) };
        let mut reply = Reply { tool_calls: vec![call; 1000], ..Reply::default() };
        keep_within(&mut reply, 128);
        let kept: usize = reply.tool_calls.iter().map(|call| call.arguments.len()).sum();
        assert!(reply.tool_calls.len() < 62 && kept < KEPT, "{} calls", reply.tool_calls.len());
        assert_eq!(reply.overlong.map(|overlong| overlong.bytes), Some(1_100_000));
    }
}
