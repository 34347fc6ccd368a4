//! How the tokens of a streamed reply were drafted, from counts that run along with it.
//!
//! llama.cpp's `timings_per_token` puts on every event how many tokens were drafted and accepted so far. They move
//! with the first token of each step of the target model, so each move is one draft: how long it was, and how many
//! of its tokens were accepted. Drafts are accepted from their beginning up to the first wrong token.

use serde_json::Value;

use crate::record::{DraftPoint, DraftPosition, DraftTrace};

/// Positions of a draft that are told apart; longer drafts are cut here.
const MOST_POSITIONS: usize = 64;
/// The series has a point after so many tokens, and after every doubling.
const FIRST_POINT: u32 = 16;

/// Follows the running counts of one reply.
#[derive(Debug, Default)]
pub(super) struct DraftCounter {
    now: DraftPoint,
    series: Vec<DraftPoint>,
    positions: Vec<DraftPosition>,
    /// The counts contradict themselves: nothing can be said.
    broken: bool,
}

/// What the `timings` of an event count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Drafted {
    /// Tokens generated so far (`predicted_n`).
    pub(super) generated: Option<u64>,
    /// Tokens drafted so far (`draft_n`).
    pub(super) drafted: Option<u64>,
    /// Those of them that were accepted (`draft_n_accepted`).
    pub(super) accepted: Option<u64>,
}

impl Drafted {
    /// Those of an event.
    pub(super) fn of(event: &Value) -> Self {
        let count = |name: &str| event.get("timings")?.get(name)?.as_u64();
        Self {
            generated: count("predicted_n"),
            drafted: count("draft_n"),
            accepted: count("draft_n_accepted"),
        }
    }
}

impl DraftCounter {
    /// Takes note of an event; those without counts say nothing.
    pub(super) fn see(&mut self, event: Drafted) {
        let Some(tokens) = event.generated.and_then(|n| u32::try_from(n).ok()) else { return };
        // They are left out until there is something to count.
        let so_far = |count: Option<u64>| count.map_or(Some(0), |n| u32::try_from(n).ok());
        let counts = so_far(event.drafted).zip(so_far(event.accepted));
        let Some((drafted, accepted)) = counts else {
            self.broken = true;
            return;
        };
        self.advance(DraftPoint { tokens, drafted, accepted });
    }

    fn advance(&mut self, next: DraftPoint) {
        let before = self.now;
        let grew = next.tokens >= before.tokens
            && next.drafted >= before.drafted
            && next.accepted >= before.accepted
            && next.drafted - before.drafted >= next.accepted - before.accepted;
        if !grew {
            self.broken = true;
            return;
        }
        self.point_before(next.tokens);
        // Tokens that the server held back may hide several drafts in one move: those have no positions.
        if next.drafted > before.drafted && next.tokens - before.tokens <= 1 {
            self.draft(next.drafted - before.drafted, next.accepted - before.accepted);
        }
        self.now = next;
    }

    /// The counts at the last event of every stretch that ends before `tokens`.
    fn point_before(&mut self, tokens: u32) {
        let reached = |tokens: u32| (tokens.saturating_sub(1) / FIRST_POINT).checked_ilog2();
        let new = self.series.last().is_none_or(|last| *last != self.now);
        if self.now.tokens > 0 && new && reached(tokens) > reached(self.now.tokens) {
            self.series.push(self.now);
        }
    }

    fn draft(&mut self, length: u32, accepted: u32) {
        let length = (length as usize).min(MOST_POSITIONS);
        if self.positions.len() < length {
            self.positions.resize(length, DraftPosition::default());
        }
        for (place, position) in self.positions[..length].iter_mut().enumerate() {
            position.drafted += 1;
            position.accepted += u32::from(place < accepted as usize);
        }
    }

    /// What the whole reply comes to; `None` when nothing was drafted, or the counts cannot be true.
    pub(super) fn finish(mut self) -> Option<DraftTrace> {
        if self.broken || self.now.drafted == 0 {
            return None;
        }
        if self.series.last() != Some(&self.now) {
            self.series.push(self.now);
        }
        Some(DraftTrace { series: self.series, positions: self.positions })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(tokens: u32, drafts: Option<(u32, u32)>) -> Value {
        match drafts {
            None => json!({ "timings": { "predicted_n": tokens } }),
            Some((drafted, accepted)) => json!({
                "timings": { "predicted_n": tokens, "draft_n": drafted, "draft_n_accepted": accepted }
            }),
        }
    }

    fn trace(events: &[(u32, Option<(u32, u32)>)]) -> Option<DraftTrace> {
        let mut counter = DraftCounter::default();
        events.iter().for_each(|&(tokens, drafts)| counter.see(Drafted::of(&event(tokens, drafts))));
        counter.finish()
    }

    fn rates(trace: &DraftTrace) -> Vec<(u32, u32)> {
        trace.positions.iter().map(|position| (position.accepted, position.drafted)).collect()
    }

    /// Counts that llama-server (build 10068, ngram-simple of 3 and 8) gave on the events of one reply. Its log said
    /// `#acc rate/pos = (1.000, 1.000, 1.000, 0.750, 0.750, 0.750, 0.500, 0.500)` of the same 4 drafts.
    #[test]
    fn positions_agree_with_the_log_of_the_same_request() {
        let mut events: Vec<_> = (1..=4).map(|tokens| (tokens, None)).collect();
        events.extend((5..=13).map(|tokens| (tokens, Some((8, 8)))));
        events.extend((14..=17).map(|tokens| (tokens, Some((16, 11)))));
        events.extend((18..=26).map(|tokens| (tokens, Some((24, 19)))));
        events.extend((27..=33).map(|tokens| (tokens, Some((32, 25)))));
        let trace = trace(&events).unwrap();
        assert_eq!(rates(&trace), [(4, 4), (4, 4), (4, 4), (3, 4), (3, 4), (3, 4), (2, 4), (2, 4)]);
        let series: Vec<_> = trace.series.iter().map(|p| (p.tokens, p.drafted, p.accepted)).collect();
        assert_eq!(series, [(16, 16, 11), (32, 32, 25), (33, 32, 25)]);
    }

    #[test]
    fn the_series_doubles_and_ends_with_the_reply() {
        let events: Vec<_> = (1..=5000).map(|n| (n, Some((2 * n, n)))).collect();
        let tokens: Vec<u32> = trace(&events).unwrap().series.iter().map(|point| point.tokens).collect();
        assert_eq!(tokens, [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 5000]);
    }

    #[test]
    fn hidden_tokens_have_no_positions_but_count() {
        // The second move comes with three tokens at once: it may be two drafts.
        let trace = trace(&[(1, None), (2, Some((4, 2))), (5, Some((12, 3)))]).unwrap();
        assert_eq!(rates(&trace), [(1, 1), (1, 1), (0, 1), (0, 1)]);
        assert_eq!(trace.series.last().unwrap().drafted, 12);
    }

    #[test]
    fn nothing_is_said_of_nonsense_or_of_no_drafts() {
        for events in [
            &[(1, None), (2, None)][..],
            &[(1, Some((8, 9)))],
            &[(2, Some((8, 4))), (3, Some((4, 4)))],
            &[(3, Some((8, 4))), (2, Some((8, 4)))],
            &[],
        ] {
            assert_eq!(trace(events), None, "{events:?}");
        }
        let mut counter = DraftCounter::default();
        let huge = json!({ "timings": { "predicted_n": 1, "draft_n": u64::MAX, "draft_n_accepted": 1 } });
        counter.see(Drafted::of(&huge));
        assert_eq!(counter.finish(), None);
        // A huge draft is one draft, cut to the positions that are told apart.
        let huge = trace(&[(1, Some((4_000_000_000, 3)))]).unwrap();
        assert_eq!(huge.positions.len(), MOST_POSITIONS);
    }
}
