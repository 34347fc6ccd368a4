//! Served KLD: how far the next-token distributions of a setting, cache and all, are from the reference's
//! on the same tokens.
//!
//! Only the most probable tokens of each position are known. The divergence is taken over the tokens that
//! both lists name and one outcome for all the rest; merging outcomes never raises a Kullback-Leibler
//! divergence (data processing inequality), so every figure is a lower bound of the true one.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::{Band, Case, Outcome, Prompt, Reply, Score};
use crate::task::prose::Prose;
use crate::task::random::Random;
use crate::task::{Card, Comparison, Params, PositionKld, Task, TaskOption, TokenCounter, Weight};

/// Fewest tokens in front of the first position.
const MIN_PREFIX: u32 = 32;
/// Characters of text to start with, per token wanted.
const CHARS_PER_TOKEN: usize = 5;
/// How often a text that turns out too short is made longer.
const ATTEMPTS: u32 = 8;
/// Probability (0..1) below which what is left over by a list is rounding: the servers' numbers are f32.
const REST_FLOOR: f64 = 1e-6;

/// The task's name.
pub const KLD: &str = "coherence/kld";

static OPTIONS: &[TaskOption] = &[
    TaskOption {
        name: "positions",
        help: "next-token distributions compared in each band, at its end",
        default: 128,
        min: 1,
        max: 65_536,
        difficulty: None,
    },
    TaskOption {
        name: "bands",
        help: "depths compared in one text, at most: the last at the end of the context, each other at a quarter \
               of the next",
        default: 1,
        min: 1,
        max: 8,
        difficulty: None,
    },
    TaskOption {
        name: "top_k",
        help: "most probable tokens listed a position",
        default: 64,
        min: 2,
        max: 4096,
        difficulty: None,
    },
    TaskOption {
        name: "decode_steps",
        help: "1: every position by a decode step, also on vLLM, which then takes a request a position",
        default: 0,
        min: 0,
        max: 1,
        difficulty: None,
    },
];

/// Tokens of the context that stay free: llama-server reports a reply that fills the last place as cut, and SGLang (0.5.17) takes
/// no prompt of more than six tokens less than its context (8,186 of 8,192).
const ROOM: u32 = 8;

/// The task `coherence/kld`. Each case is another text of the context's length; its bands of positions (such as
/// those up to 1K, 4K and 16K tokens) are read in one pass, so that one cache grows from band to band.
#[derive(Debug)]
pub struct Kld;

impl Task for Kld {
    fn card(&self) -> Card {
        Card {
            name: KLD,
            version: 2,
            summary: "any shift of the served next-token distributions, by position (an alarm, not a ranking)",
            weight: Weight::Comparative,
            options: OPTIONS,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, _: &Params) -> u32 {
        1
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let positions = params.option(&self.card(), "positions");
        if params.context < positions.saturating_add(MIN_PREFIX) {
            return Err(too_small(self.card().name, params.context, positions));
        }
        (0..params.samples).map(|index| self.case(params, seed, index, tokens)).collect()
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match own_figures(case, reply) {
            Ok(metrics) => Outcome::Scored(Score { metrics: metrics.into(), ..Score::default() }),
            Err(reason) => Outcome::Unscored { reason },
        }
    }

    fn comparison(&self) -> Comparison {
        Comparison::Distributions(positions)
    }
}

impl Kld {
    fn case(&self, params: &Params, seed: u64, index: u32, counter: &dyn TokenCounter) -> Result<Case> {
        let card = self.card();
        let random = Random::of_case(seed, card.name, params.context, index);
        let length = params.context - params.context.min(ROOM);
        let tokens = tokens_of_text(Prose::new(random), length as usize, counter)?;
        let mut bands = bands(length, params.option(&card, "positions"), params.option(&card, "bands"));
        let first = bands.first().map_or(tokens.len(), |band| band.first);
        if bands.len() == 1 {
            // A single band goes to the end, which is what no list of bands means.
            bands.clear();
        }
        let (top_k, by_decode) =
            (params.option(&card, "top_k") as usize, params.option(&card, "decode_steps") > 0);
        let prompt = Prompt::Distributions { first, top_k, bands, tokens, by_decode };
        let case = card.case(params.context, index, prompt, Value::Null);
        // The last token is only compared, never sent: its place is that of the token generated.
        Ok(case.sized(length - 1, self.max_tokens(params)).seal())
    }
}

/// Up to `most` bands of so many positions: the last one ends with the text, each other ends at a quarter of the
/// next. Those that would leave less than [`MIN_PREFIX`] tokens in front are left out.
fn bands(length: u32, positions: u32, most: u32) -> Vec<Band> {
    let ends = (0..most).map(|back| length >> (2 * back).min(31));
    let fitting = ends.take_while(|end| *end >= positions.saturating_add(MIN_PREFIX - ROOM));
    let band = |end: u32| Band { first: (end - positions) as usize, end: end as usize };
    let mut bands: Vec<Band> = fitting.map(band).collect();
    bands.dedup_by(|shallow, deep| shallow.end > deep.first);
    bands.reverse();
    bands
}

fn too_small(task: &str, context: u32, positions: u32) -> Error {
    Error::usage(format!(
        "{task}: a context of {context} tokens is too small for {positions} positions after {MIN_PREFIX} tokens of text"
    ))
    .hint(format!(
        "give the task contexts of at least {} tokens, or lower its `positions`",
        positions.saturating_add(MIN_PREFIX)
    ))
}

/// Exactly `wanted` tokens of a text, which is made as long as that takes.
fn tokens_of_text(mut prose: Prose, wanted: usize, counter: &dyn TokenCounter) -> Result<Vec<u32>> {
    let mut text = String::new();
    let mut chars = wanted * CHARS_PER_TOKEN;
    for _ in 0..ATTEMPTS {
        while text.len() < chars {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&prose.paragraph());
        }
        let mut tokens = counter.tokenize(&text)?;
        if tokens.len() >= wanted {
            tokens.truncate(wanted);
            return Ok(tokens);
        }
        chars = text.len() * wanted / tokens.len().max(1) * 9 / 8;
        chars = chars.min(text.len() * 4);
    }
    Err(Error::runtime(format!("{} characters of text do not give {wanted} tokens", text.len()))
        .hint("check the server's tokenize endpoint"))
}

/// Every position of a reply against the reference's reply to the same case, in the order of the text.
///
/// Empty when there is nothing to compare: one of them has no distributions, unreadable ones, or not
/// those that the case asks for.
pub fn positions(case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld> {
    let (Ok(setting), Ok(reference)) = (Window::read(case, reply), Window::read(case, reference)) else {
        return Vec::new();
    };
    let pairs = setting.listed.iter().zip(&reference.listed);
    pairs
        .zip(setting.actual)
        .zip(setting.positions)
        .map(|(((q, p), actual), position)| compare_position(position, q, p, actual))
        .collect()
}

/// Figures over positions, by name: `mean`, `median`, `p99`, `p999` of the divergence (nat), `rms_delta_p`
/// (0..1), `top1_agreement` (0..1), `perplexity` of the setting, `positions` and `outside` (counts), `unlisted` (mean
/// probability that the reference gives to tokens that not both lists name, 0..1).
/// `None` without positions.
pub fn figures(positions: &[PositionKld]) -> Option<BTreeMap<String, f64>> {
    if positions.is_empty() {
        return None;
    }
    let mut klds: Vec<f64> = positions.iter().map(|at| at.kld).collect();
    klds.sort_by(f64::total_cmp);
    let share = |count: usize| count as f64 / positions.len() as f64;
    let outside = positions.iter().filter(|at| at.outside).count();
    let figures = [
        ("mean", mean(klds.iter().copied())),
        ("median", quantile(&klds, 0.5)),
        ("p99", quantile(&klds, 0.99)),
        ("p999", quantile(&klds, 0.999)),
        ("rms_delta_p", mean(positions.iter().map(|at| at.delta_p * at.delta_p)).sqrt()),
        ("top1_agreement", share(positions.iter().filter(|at| at.same_top).count())),
        ("perplexity", mean(positions.iter().map(|at| at.nll)).exp()),
        ("positions", positions.len() as f64),
        ("outside", outside as f64),
        ("unlisted", mean(positions.iter().map(|at| at.unlisted))),
    ];
    Some(figures.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The figures of a reply by itself.
fn own_figures(case: &Case, reply: &Reply) -> Result<BTreeMap<String, f64>, String> {
    let window = Window::read(case, reply)?;
    let actual = || window.listed.iter().zip(&window.actual);
    let nll = mean(actual().map(|(listed, token)| -probability(listed, *token).0.ln()));
    let outside = actual().filter(|(listed, token)| probability(listed, **token).1).count();
    let figures = [
        ("nll", nll),
        ("perplexity", nll.exp()),
        ("positions", window.listed.len() as f64),
        ("outside", outside as f64),
    ];
    Ok(figures.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The tokens listed at one position, with natural-log probabilities.
type Listed = Vec<(u32, f32)>;

/// The distributions of a reply beside the tokens that really come next.
struct Window {
    positions: Vec<usize>,
    listed: Vec<Listed>,
    actual: Vec<u32>,
}

impl Window {
    fn read(case: &Case, reply: &Reply) -> Result<Self, String> {
        let Prompt::Distributions { tokens, .. } = &case.prompt else {
            return Err("the case asks for no distributions".into());
        };
        let positions = case.prompt.positions();
        let actual: Vec<u32> = positions.iter().filter_map(|at| tokens.get(*at)).copied().collect();
        let packed = reply.distributions.as_ref().ok_or("the reply has no distributions")?;
        let listed = packed.unpack()?;
        if listed.len() != actual.len() || listed.is_empty() {
            return Err(format!("{} distributions for {} positions", listed.len(), actual.len()));
        }
        if let Some(bare) = listed.iter().position(Vec::is_empty) {
            return Err(format!("position {bare} lists no token"));
        }
        Ok(Self { positions, listed, actual })
    }
}

fn compare_position(position: usize, setting: &Listed, reference: &Listed, actual: u32) -> PositionKld {
    let (q_actual, q_outside) = probability(setting, actual);
    let (p_actual, p_outside) = probability(reference, actual);
    let (kld, unlisted) = divergence(reference, setting);
    PositionKld {
        position,
        kld,
        delta_p: q_actual - p_actual,
        same_top: setting.first().map(|top| top.0) == reference.first().map(|top| top.0),
        nll: -q_actual.ln(),
        outside: q_outside || p_outside,
        unlisted,
    }
}

/// KL(reference || setting) over the tokens that both name and one outcome for the rest (nat), and the reference's
/// probability of that rest (0..1).
fn divergence(reference: &Listed, setting: &Listed) -> (f64, f64) {
    let named: HashMap<u32, f32> = setting.iter().copied().collect();
    let (mut sum, mut p_named, mut q_named) = (0.0, 0.0, 0.0);
    for &(token, p_log) in reference {
        if let Some(&q_log) = named.get(&token) {
            let (p_log, q_log) = (f64::from(p_log), f64::from(q_log));
            sum += p_log.exp() * (p_log - q_log);
            p_named += p_log.exp();
            q_named += q_log.exp();
        }
    }
    // Without the floor, a rest that is all rounding would look like an impossible outcome.
    let p_rest = (1.0 - p_named).max(REST_FLOOR);
    let q_rest = (1.0 - q_named).max(REST_FLOOR);
    ((sum + p_rest * (p_rest / q_rest).ln()).max(0.0), (1.0 - p_named).clamp(0.0, 1.0))
}

/// The probability of a token, and whether it is not listed: then the largest that it can have, which is
/// that of the last listed token, or all that the list leaves over.
fn probability(listed: &Listed, token: u32) -> (f64, bool) {
    if let Some((_, log)) = listed.iter().find(|(id, _)| *id == token) {
        return (f64::from(*log).exp(), false);
    }
    let smallest = listed.last().map_or(1.0, |(_, log)| f64::from(*log).exp());
    let sum: f64 = listed.iter().map(|(_, log)| f64::from(*log).exp()).sum();
    (smallest.min((1.0 - sum).max(REST_FLOOR)), true)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

/// The quantile `q` (0..1) of ascending values, interpolated between the two nearest ranks (Hyndman and
/// Fan's type 7). There must be values.
fn quantile(ascending: &[f64], q: f64) -> f64 {
    let rank = q * (ascending.len() - 1) as f64;
    let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
    ascending[low] + (ascending[high] - ascending[low]) * (rank - low as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::PackedDistributions;
    use crate::task::testing::{WordCounter, params};

    fn case(actual: &[u32]) -> Case {
        let mut case = Kld.cases(&params(512, 1, None), 1, &WordCounter::default()).unwrap().remove(0);
        let tokens = [&[9, 9][..], actual].concat();
        case.prompt =
            Prompt::Distributions { first: 2, top_k: 4, tokens, bands: Vec::new(), by_decode: false };
        case
    }

    fn reply(top_k: usize, positions: &[Listed]) -> Reply {
        Reply { distributions: Some(PackedDistributions::pack(top_k, positions)), ..Reply::default() }
    }

    fn logs(probabilities: &[(u32, f64)]) -> Listed {
        probabilities.iter().map(|&(token, p)| (token, p.ln() as f32)).collect()
    }

    /// Log probabilities of all tokens, from logits.
    fn log_softmax(logits: &[f64]) -> Vec<f64> {
        let top = logits.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - top).exp()).sum();
        logits.iter().map(|x| x - top - sum.ln()).collect()
    }

    fn top(log_probabilities: &[f64], k: usize) -> Listed {
        let mut all: Listed = (0..).zip(log_probabilities).map(|(id, lp)| (id, *lp as f32)).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(k);
        all
    }

    /// Two nearby sets of logits over a vocabulary of 2000, peaked as a language model's are.
    fn two_models(seed: u64, noise: f64) -> (Vec<f64>, Vec<f64>) {
        let mut random = Random::of_task(seed, "logits");
        let mut uniform = || random.below(1 << 30) as f64 / f64::from(1 << 30);
        let logits: Vec<f64> = (0..2000).map(|_| -3.0 * (uniform() + 1e-9).ln()).collect();
        let moved: Vec<f64> = logits.iter().map(|x| x + noise * (uniform() - 0.5)).collect();
        (log_softmax(&logits), log_softmax(&moved))
    }

    #[test]
    fn top_k_is_a_lower_bound_that_tightens_with_k() {
        for seed in 0..40 {
            let (p, q) = two_models(seed, 1.5);
            let exact: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            let bounds = [16, 64, 256, 2000].map(|k| divergence(&top(&p, k), &top(&q, k)).0);
            assert!(bounds.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6), "{bounds:?} {exact}");
            assert!(bounds[0] > 0.0 && bounds[2] <= exact + 1e-5, "{bounds:?} {exact}");
            assert!((bounds[3] - exact).abs() < 1e-4, "{bounds:?} {exact}");
        }
    }

    /// Natural-log probabilities of a vocabulary of SmolLM2's size, and the same after a small move of every logit.
    /// `scale` is the mean of the exponentially distributed logits: 1 is a flat distribution, 3 a peaked one.
    fn full_vocabulary(seed: u64, scale: f64, noise: f64) -> (Vec<f64>, Vec<f64>) {
        let mut random = Random::of_task(seed, "vocabulary");
        let mut uniform = || (random.below(1 << 30) as f64 + 0.5) / f64::from(1 << 30);
        let logits: Vec<f64> = (0..49_152).map(|_| -scale * uniform().ln()).collect();
        // The sum of twelve uniform numbers is nearly normal, with variance 1.
        let moved = logits
            .iter()
            .map(|x| x + noise * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0))
            .collect::<Vec<_>>();
        (log_softmax(&logits), log_softmax(&moved))
    }

    /// How much of the exact divergence over all 49,152 tokens is seen by lists of 16, 64 and 256 of them, after
    /// packing: the smallest shares over some texts.
    fn seen(scale: f64, noise: f64) -> [f64; 3] {
        let mut least = [f64::INFINITY; 3];
        for seed in 0..4 {
            let (p, q) = full_vocabulary(seed, scale, noise);
            let exact: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            for (least, k) in least.iter_mut().zip([16, 64, 256]) {
                let packed = PackedDistributions::pack(k, &[top(&p, k), top(&q, k)]).unpack().unwrap();
                let (bound, _) = divergence(&packed[0], &packed[1]);
                assert!(bound <= exact + 2e-5, "{bound} is above the exact {exact}");
                *least = least.min(bound / exact);
            }
        }
        least
    }

    /// On made-up logits; docs/suites.md has the shares on a real model, which are lower.
    #[test]
    fn how_tight_the_bound_is_over_a_whole_vocabulary() {
        for (name, scale, least) in [
            ("flat", 1.0, [0.2, 0.3, 0.4]),
            ("usual", 2.0, [0.8, 0.9, 0.95]),
            ("peaked", 3.0, [0.98, 0.99, 0.99]),
        ] {
            let shares = seen(scale, 0.1);
            println!("{name}: {shares:.3?} of the exact divergence is seen at K = 16, 64, 256");
            // Packing rounds by some 1e-5 nat.
            assert!(shares.is_sorted_by(|a, b| *a <= b + 1e-3), "{name}: {shares:?}");
            assert!(shares.iter().zip(least).all(|(share, least)| *share >= least), "{name}: {shares:?}");
        }
    }

    #[test]
    fn a_worked_example() {
        // Shared: 1 and 2. Rest: 0.2 against 0.3 (token 4 is not in the reference's list).
        let reference = logs(&[(1, 0.5), (2, 0.3), (3, 0.1)]);
        let setting = logs(&[(1, 0.4), (2, 0.3), (4, 0.2)]);
        let expected = 0.5 * (0.5_f64 / 0.4).ln() + 0.2 * (0.2_f64 / 0.3).ln();
        let (kld, unlisted) = divergence(&reference, &setting);
        assert!((kld - expected).abs() < 1e-6);
        assert!((unlisted - 0.2).abs() < 1e-6, "tokens 3 and all that no list names: {unlisted}");

        let case = case(&[3]);
        let at = positions(&case, &reply(3, &[setting]), &reply(3, &[reference]))[0];
        // Token 3 is outside the setting's list: at most the rest, 0.1, which is below the last listed.
        assert!(at.outside && at.same_top && at.position == 2);
        assert!((at.nll + 0.1_f64.ln()).abs() < 1e-4);
        assert!(at.delta_p.abs() < 1e-5);
    }

    #[test]
    fn identical_replies_are_exactly_zero() {
        let case = case(&[0, 5, 1999]);
        let listed: Vec<Listed> = (0..3).map(|seed| top(&two_models(seed, 0.0).0, 64)).collect();
        let one = reply(64, &listed);
        let figures = figures(&positions(&case, &one, &one.clone())).unwrap();
        for name in ["mean", "median", "p99", "p999", "rms_delta_p"] {
            assert_eq!(figures[name], 0.0, "{name}");
        }
        assert_eq!(figures["top1_agreement"], 1.0);
        assert_eq!(figures["positions"], 3.0);
    }

    #[test]
    fn the_score_is_the_perplexity_of_the_actual_tokens() {
        let case = case(&[1, 2]);
        let listed = [logs(&[(1, 0.5), (2, 0.25)]), logs(&[(1, 0.5), (2, 0.125)])];
        let outcome = Kld.score(&case, &reply(2, &listed));
        let score = outcome.score().unwrap();
        assert_eq!(score.quality, None);
        assert!((score.metrics["perplexity"] - 4.0).abs() < 1e-4);
        assert_eq!(score.metrics["outside"], 0.0);
    }

    #[test]
    fn what_cannot_be_compared_is_unscored_with_a_reason() {
        let case = case(&[1, 2]);
        let short = reply(2, &[logs(&[(1, 0.5)])]);
        let bare = reply(2, &[logs(&[(1, 0.5)]), vec![]]);
        for (reply, what) in [
            (Reply::default(), "no distributions"),
            (short, "1 distributions for 2"),
            (bare, "lists no token"),
        ] {
            let Outcome::Unscored { reason } = Kld.score(&case, &reply) else {
                panic!("{reply:?} was scored");
            };
            assert!(reason.contains(what), "{reason}");
            assert!(positions(&case, &reply, &reply).is_empty());
        }
    }

    #[test]
    fn positions_end_at_the_end_of_the_context() {
        let mut params = params(512, 2, None);
        params.options.insert("positions".into(), 100);
        for case in Kld.cases(&params, 1, &WordCounter::default()).unwrap() {
            let Prompt::Distributions { tokens, first, top_k, bands, .. } = &case.prompt else {
                panic!("not distributions");
            };
            assert_eq!((tokens.len(), *first, *top_k, bands.len()), (504, 404, 64, 0));
            assert_eq!(case.prompt_tokens + case.max_tokens, 504);
            assert!(case.prompt_tokens + 6 <= 512, "SGLang takes no more");
        }
    }

    #[test]
    fn bands_lie_at_quarters_as_far_as_there_is_room() {
        let ends = |length, positions, most| {
            let bands = bands(length, positions, most);
            assert!(bands.iter().all(|band| band.end - band.first == positions as usize));
            assert!(bands.is_sorted_by(|a, b| a.end <= b.first), "{bands:?}");
            bands.iter().map(|band| band.end).collect::<Vec<_>>()
        };
        assert_eq!(ends(16_383, 128, 3), [1023, 4095, 16_383]);
        assert_eq!(ends(4095, 128, 3), [255, 1023, 4095]);
        assert_eq!(ends(1023, 128, 3), [255, 1023]);
        assert_eq!(ends(511, 128, 8), [511]);
        assert_eq!(ends(1023, 8, 8), [63, 255, 1023]);
    }

    #[test]
    fn positions_of_bands_meet_their_tokens() {
        let mut params = params(1024, 1, None);
        params.options = [("positions".into(), 3), ("bands".into(), 2)].into();
        let case = Kld.cases(&params, 1, &WordCounter::default()).unwrap().remove(0);
        let Prompt::Distributions { tokens, first, bands, .. } = &case.prompt else {
            panic!("not distributions");
        };
        assert_eq!((*first, bands.len()), (251, 2));
        let places = [251, 252, 253, 1013, 1014, 1015];
        let listed: Vec<Listed> = places.map(|at| logs(&[(tokens[at], 0.5), (50_001, 0.25)])).to_vec();
        let one = reply(2, &listed);
        let all = positions(&case, &one, &one);
        assert_eq!(all.iter().map(|at| at.position).collect::<Vec<_>>(), places);
        assert!(all.iter().all(|at| (at.nll - 2.0_f64.ln()).abs() < 1e-4 && !at.outside));
    }

    #[test]
    fn too_many_positions_are_a_usage_error() {
        let mut params = params(512, 1, None);
        params.options.insert("positions".into(), 500);
        let error = Kld.cases(&params, 1, &WordCounter::default()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0], 0.99), 1.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.5), 2.0);
        assert_eq!(quantile(&[0.0, 1.0], 0.25), 0.25);
    }

    proptest! {
        #[test]
        fn figures_are_finite_whatever_is_listed(
            reply_lists in proptest::collection::vec(proptest::collection::vec((0_u32..6, -40.0_f32..0.0), 1..4), 2),
            reference_lists in proptest::collection::vec(proptest::collection::vec((0_u32..6, -40.0_f32..0.0), 1..4), 2),
        ) {
            let case = case(&[0, 7]);
            let (reply, reference) = (reply(4, &reply_lists), reply(4, &reference_lists));
            for at in positions(&case, &reply, &reference) {
                prop_assert!(at.kld.is_finite() && at.kld >= 0.0 && at.nll.is_finite());
            }
            let figures = figures(&positions(&case, &reply, &reference)).unwrap_or_default();
            prop_assert!(figures.values().all(|value| value.is_finite()));
        }
    }
}
