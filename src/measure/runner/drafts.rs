//! How drafts did, from counters that a server keeps over all requests.
//!
//! vLLM counts drafts, drafted and accepted tokens, and accepted tokens by position under `vllm:spec_decode_num_*` on
//! `/metrics`; newer builds of llama.cpp have the same names under `llamacpp:` (pull request 26389). They only
//! grow, so a request's share is what they grew by: requests run one at a time.

use std::collections::BTreeMap;

use super::server::RunningServer;
use crate::record::{DraftPosition, DraftTrace, Measurement, Source, Trial, metric};

/// Positions of a draft that are told apart.
const MOST_POSITIONS: usize = 64;

/// A server's counters of speculation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DraftCounters {
    drafts: f64,
    drafted: f64,
    accepted: f64,
    positions: BTreeMap<usize, f64>,
}

impl DraftCounters {
    /// Reads Prometheus text; `None` when it has no such counters.
    fn read(text: &str) -> Option<Self> {
        let mut counters = Self::default();
        let mut any = false;
        for (name, labels, value) in text.lines().filter_map(sample) {
            let name = name.strip_suffix("_total").unwrap_or(name);
            let Some((_, counter)) = name.split_once(":spec_decode_num_") else { continue };
            any = true;
            // Several engines of one server have a sample each.
            match counter {
                "drafts" => counters.drafts += value,
                "draft_tokens" => counters.drafted += value,
                "accepted_tokens" => counters.accepted += value,
                "accepted_tokens_per_pos" => {
                    let position = label(labels, "position").and_then(|position| position.parse().ok());
                    if let Some(position) = position.filter(|position| *position < MOST_POSITIONS) {
                        *counters.positions.entry(position).or_default() += value;
                    }
                }
                _ => {}
            }
        }
        any.then_some(counters)
    }

    /// What they grew by; `None` when one of them shrank (another server).
    fn since(&self, before: &Self) -> Option<Self> {
        let grown = |now: f64, before: f64| Some(now - before).filter(|grown| *grown >= 0.0);
        let positions: Option<BTreeMap<usize, f64>> = self
            .positions
            .iter()
            .map(|(&position, &now)| {
                let before = before.positions.get(&position).copied().unwrap_or_default();
                Some((position, grown(now, before)?))
            })
            .collect();
        Some(Self {
            drafts: grown(self.drafts, before.drafts)?,
            drafted: grown(self.drafted, before.drafted)?,
            accepted: grown(self.accepted, before.accepted)?,
            positions: positions?,
        })
    }

    /// By position. How many drafts reach a position is not counted: all do in engines whose drafts are of one length.
    fn trace(&self) -> Option<DraftTrace> {
        let end = self.positions.keys().next_back().map_or(0, |last| last + 1);
        let at = |position: usize| DraftPosition {
            drafted: self.drafts as u32,
            accepted: self.positions.get(&position).copied().unwrap_or_default() as u32,
        };
        let positions: Vec<DraftPosition> = (0..end).map(at).collect();
        (self.drafts > 0.0).then_some(DraftTrace { series: Vec::new(), positions })
    }
}

/// `name{labels} value`; comments and what is no finite number are left out.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let line = line.trim();
    let (name, rest) = line.split_once(['{', ' ']).filter(|_| !line.starts_with('#'))?;
    let (labels, value) = match line.as_bytes().get(name.len()) {
        Some(b'{') => rest.rsplit_once('}')?,
        _ => ("", rest),
    };
    let value: f64 = value.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((name, labels, value))
}

/// The value of a label whose values hold no quotes.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

impl RunningServer {
    /// The server's counters; `None` where it has none (it is not asked again).
    pub(super) async fn draft_counters(&mut self) -> Option<DraftCounters> {
        let path = self.engine().endpoints().metrics.filter(|_| self.counts_drafts)?;
        let text = self.client().get_text(path).await.ok()?;
        let counters = DraftCounters::read(&text);
        self.counts_drafts = counters.is_some();
        counters
    }

    /// Adds what the counters say of a trial where its replies do not say it themselves.
    pub(super) async fn add_drafts(&mut self, before: Option<&DraftCounters>, trial: &mut Trial) {
        let Some(before) = before else { return };
        let Some(grown) = self.draft_counters().await.and_then(|now| now.since(before)) else { return };
        for (name, tokens) in
            [(metric::DRAFT_TOKENS, grown.drafted), (metric::DRAFT_ACCEPTED, grown.accepted)]
        {
            let figure = Measurement::new(name, Source::Engine, tokens);
            trial.measurements.edit(|all| fill(all, figure));
        }
        if let Some(reply) =
            trial.reply.as_mut().filter(|reply| reply.turns().all(|turn| turn.drafts.is_none()))
        {
            reply.drafts = grown.trace();
        }
    }
}

/// Puts a figure where there is none yet.
fn fill(measurements: &mut Vec<Measurement>, figure: Measurement) {
    let same = |other: &&mut Measurement| other.name == figure.name && other.source == figure.source;
    match measurements.iter_mut().find(same) {
        Some(known) if known.value.is_some() => {}
        Some(absent) => *absent = figure,
        None => measurements.push(figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As vLLM writes them: values as floats, counters created with a time stamp beside them.
    fn metrics(drafts: u32, drafted: u32, accepted: &[u32]) -> String {
        let mut text = format!(
            "# HELP vllm:spec_decode_num_drafts_total Number of spec decoding drafts.\n\
             # TYPE vllm:spec_decode_num_drafts_total counter\n\
             vllm:spec_decode_num_drafts_total{{engine=\"0\",model_name=\"a, b\"}} {drafts}.0\n\
             vllm:spec_decode_num_drafts_created{{engine=\"0\"}} 1.75e+09\n\
             vllm:spec_decode_num_draft_tokens_total{{engine=\"0\"}} {drafted}.0\n\
             vllm:spec_decode_num_accepted_tokens_total{{engine=\"0\"}} {}.0\n\
             vllm:num_requests_running{{engine=\"0\"}} NaN\n",
            accepted.iter().sum::<u32>()
        );
        for (position, count) in accepted.iter().enumerate() {
            text.push_str(&format!(
                "vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine=\"0\",position=\"{position}\"}} {count}.0\n"
            ));
        }
        text
    }

    #[test]
    fn a_request_is_what_the_counters_grew_by() {
        let before = DraftCounters::read(&metrics(10, 30, &[8, 5, 1])).unwrap();
        let after = DraftCounters::read(&metrics(14, 42, &[12, 6, 1])).unwrap();
        let grown = after.since(&before).unwrap();
        assert_eq!((grown.drafts, grown.drafted, grown.accepted), (4.0, 12.0, 5.0));
        let positions: Vec<_> =
            grown.trace().unwrap().positions.iter().map(|at| (at.accepted, at.drafted)).collect();
        assert_eq!(positions, [(4, 4), (1, 4), (0, 4)]);
        assert_eq!(before.since(&after), None, "another server");
        assert_eq!(after.since(&after).unwrap().trace(), None, "nothing was drafted");
    }

    #[test]
    fn llama_servers_names_are_the_same_without_a_suffix() {
        let text = "llamacpp:spec_decode_num_drafts 3\nllamacpp:spec_decode_num_draft_tokens 24\n\
                    llamacpp:spec_decode_num_accepted_tokens 9\n\
                    llamacpp:spec_decode_num_accepted_tokens_per_pos{position=\"1\"} 2\n\
                    llamacpp:spec_decode_num_accepted_tokens_per_pos{position=\"999999999999\"} 2\n";
        let counters = DraftCounters::read(text).unwrap();
        assert_eq!((counters.drafts, counters.drafted, counters.accepted), (3.0, 24.0, 9.0));
        assert_eq!(counters.positions, BTreeMap::from([(1, 2.0)]));
    }

    #[test]
    fn text_without_them_has_none() {
        for text in ["", "llamacpp:n_decode_total 16\n", "# vllm:spec_decode_num_drafts 3\n", "{} x\n=\n{\n"]
        {
            assert_eq!(DraftCounters::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_reply_says_itself_is_kept() {
        let mut measurements = vec![
            Measurement::new(metric::DRAFT_TOKENS, Source::Engine, 8.0),
            Measurement::absent(metric::DRAFT_ACCEPTED, Source::Engine, "the reply names no drafted tokens"),
        ];
        fill(&mut measurements, Measurement::new(metric::DRAFT_TOKENS, Source::Engine, 9.0));
        fill(&mut measurements, Measurement::new(metric::DRAFT_ACCEPTED, Source::Engine, 3.0));
        let values: Vec<_> = measurements.iter().map(|figure| figure.value).collect();
        assert_eq!(values, [Some(8.0), Some(3.0)]);
    }
}
