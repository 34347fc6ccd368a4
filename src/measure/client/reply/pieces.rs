//! How many bytes each token added to the text of a streamed reply. An event is a token where the engine's count says so: the
//! one that runs along with the events, or one at the end that equals their number. llama-server sends each token by itself,
//! those of an accepted draft too, but keeps the beginning of a character until its end is there; then the count grows by several.

use crate::record::token_lengths;

/// How much of a reply there is (bytes).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) reasoning: usize,
    pub(super) content: usize,
    /// A tool call was begun: its text is not kept as it came.
    pub(super) has_calls: bool,
}

/// The pieces of one reply.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    before: Written,
    /// Bytes of each, and the tokens generated up to and including it, if the event says so.
    seen: Vec<(usize, Option<u64>)>,
    /// Reasoning came behind content: the text is not kept in the order in which it came.
    mixed: bool,
}

impl Pieces {
    /// Takes note of an event behind which there is so much text and are so many tokens.
    pub(super) fn see(&mut self, now: Written, tokens: Option<u64>) {
        let reasoning = now.reasoning - self.before.reasoning;
        let content = now.content - self.before.content;
        self.mixed |= reasoning > 0 && self.before.content > 0;
        if reasoning + content > 0 && !now.has_calls {
            self.seen.push((reasoning + content, tokens));
        }
        self.before = now;
    }

    /// Tokens of the first so many bytes of the reply, a token that lies across their end among them; `None` where the counts do
    /// not say.
    pub(super) fn tokens_until(&self, bytes: usize, output: Option<u64>) -> Option<u64> {
        if self.mixed {
            return None;
        }
        let mut start = 0;
        let within = self.seen.iter().take_while(|(length, _)| {
            let is_within = start < bytes;
            start += length;
            is_within
        });
        let within: Vec<&(usize, Option<u64>)> = within.collect();
        let one_each = || {
            let events = self.seen.len() as u64;
            let agrees = !self.before.has_calls && output.is_some_and(|n| n == events || n == events + 1);
            agrees.then_some(within.len() as u64)
        };
        match within.last() {
            Some((_, Some(until))) => Some(*until),
            Some((_, None)) => one_each(),
            None => Some(0),
        }
    }

    /// The reply's [`token_lengths`]; empty where the counts contradict each other, or hold more tokens than a server that
    /// counts only at the end sent events: nobody knows which of them held two.
    pub(super) fn finish(self, output: Option<u64>) -> String {
        let uncounted = self.seen.iter().all(|(_, tokens)| tokens.is_none());
        let pieces = match output {
            Some(output) if uncounted => self.one_each(output),
            Some(output) => self.counted(output),
            None => None,
        };
        pieces.map(token_lengths::written).unwrap_or_default()
    }

    /// A token an event. A count that is one higher may hold the token that ended the reply, or one that came with another.
    fn one_each(self, output: u64) -> Option<Vec<(usize, u64)>> {
        let agrees = self.seen.len() as u64 == output && !self.mixed && !self.before.has_calls;
        agrees.then(|| self.seen.into_iter().map(|(bytes, _)| (bytes, 1)).collect())
    }

    /// As many tokens as the count grew since the piece before.
    fn counted(self, output: u64) -> Option<Vec<(usize, u64)>> {
        let mut before = 0;
        let mut pieces = Vec::with_capacity(self.seen.len());
        for (bytes, until) in self.seen {
            let tokens = until?.checked_sub(before).filter(|tokens| *tokens > 0)?;
            pieces.push((bytes, tokens));
            before += tokens;
        }
        (before <= output && !self.mixed).then_some(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of content with the counts on their events.
    fn of(pieces: &[(usize, Option<u64>)], output: u64) -> String {
        let mut seen = Pieces::default();
        let mut content = 0;
        for (bytes, tokens) in pieces {
            content += bytes;
            seen.see(Written { content, ..Written::default() }, *tokens);
        }
        seen.finish(Some(output))
    }

    #[test]
    fn counts_that_run_along_say_how_many_tokens_a_piece_holds() {
        assert_eq!(of(&[(0, None), (3, Some(1)), (5, Some(2)), (4, Some(5)), (1, Some(6))], 7), "350041");
        // Events whose text is kept back count, too.
        assert_eq!(of(&[(3, Some(1)), (0, Some(2)), (4, Some(3))], 3), "304");
    }

    #[test]
    fn a_count_at_the_end_must_equal_the_events() {
        let pieces = [(3, None), (5, None), (2, None)];
        assert_eq!(of(&pieces, 3), "352");
        for output in [2, 4, 5] {
            assert_eq!(of(&pieces, output), "", "{output}");
        }
    }

    #[test]
    fn counts_that_contradict_each_other_say_nothing() {
        assert_eq!(of(&[(3, Some(1)), (5, Some(1))], 2), "", "text without a token");
        assert_eq!(of(&[(3, Some(2)), (5, Some(1))], 2), "");
        assert_eq!(of(&[(3, Some(1)), (5, None)], 2), "");
        assert_eq!(of(&[(3, Some(1)), (5, Some(9))], 2), "");
        assert_eq!(Pieces::default().finish(Some(0)), "");
    }

    #[test]
    fn text_is_noted_where_it_is_kept_in_the_order_in_which_it_came() {
        let see = |steps: &[(usize, usize, bool)]| {
            let mut pieces = Pieces::default();
            for (count, (reasoning, content, has_calls)) in (1..).zip(steps) {
                let now = Written { reasoning: *reasoning, content: *content, has_calls: *has_calls };
                pieces.see(now, Some(count));
            }
            pieces.finish(Some(9))
        };
        assert_eq!(see(&[(2, 0, false), (5, 0, false), (5, 4, false)]), "234");
        assert_eq!(see(&[(2, 0, false), (2, 4, false), (3, 4, false)]), "");
        assert_eq!(see(&[(0, 4, false), (0, 4, true), (0, 6, true)]), "4", "up to the first call");
    }

    #[test]
    fn tokens_are_counted_up_to_a_place_of_the_text() {
        let seen = |steps: &[(usize, usize, Option<u64>)]| {
            let mut pieces = Pieces::default();
            for (reasoning, content, tokens) in steps {
                let now = Written { reasoning: *reasoning, content: *content, has_calls: false };
                pieces.see(now, *tokens);
            }
            pieces
        };
        let counted = seen(&[(4, 0, Some(1)), (9, 0, Some(3)), (9, 5, Some(4)), (9, 8, Some(6))]);
        assert_eq!(counted.tokens_until(9, Some(6)), Some(3));
        assert_eq!(counted.tokens_until(10, Some(6)), Some(4), "across the end");
        assert_eq!(counted.tokens_until(100, Some(6)), Some(6));
        assert_eq!(counted.tokens_until(0, Some(6)), Some(0));
        let events = seen(&[(4, 0, None), (9, 0, None), (9, 5, None)]);
        assert_eq!(events.tokens_until(9, Some(3)), Some(2));
        assert_eq!(events.tokens_until(9, Some(4)), Some(2), "the token that ended it is not shown");
        assert_eq!((events.tokens_until(9, Some(6)), events.tokens_until(9, None)), (None, None));
        let mixed = seen(&[(4, 0, Some(1)), (4, 3, Some(2)), (6, 3, Some(3))]);
        assert_eq!(mixed.tokens_until(6, Some(3)), None);
    }
}
