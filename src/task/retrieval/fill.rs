//! Cases that fill their context: from a draft of any length to one that meets its token budget.
//!
//! Counting goes to a server, and counting 131,072 tokens takes it a while. So the length is reckoned from
//! the mean cost of a unit, the whole prompt is counted once, the difference is made good with short
//! counts of the units around its end, and the whole prompt is counted once more to be sure.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::task::random::Random;
use crate::task::sizing::{Fit, too_small};
use crate::task::{Harder, Params, Task, TaskOption, TokenCounter};
use crate::trial::{Case, Message, Outcome, Prompt};

/// Units whose mean cost is the first estimate.
const SAMPLED_UNITS: usize = 64;
/// Corrections before the best length so far is taken. A tokenizer that sees lines apart needs one.
const CORRECTIONS: usize = 4;

/// A case whose length is not decided yet. Units are drawn one after another, and a longer case has the
/// units of a shorter one.
pub(super) trait Draft {
    /// Fewest units that make a case; at least 1.
    fn min_units(&self) -> usize;
    /// Draws units until there are so many.
    fn grow(&mut self, units: usize);
    /// The units drawn so far.
    fn units(&self) -> &[String];
    /// What stands between two units.
    fn separator(&self) -> &'static str;
    /// The conversation with the first `units` units, which must have been drawn.
    fn messages(&self, units: usize) -> Vec<Message>;
    /// Where the answer lies, 0 (start) to 1 (end), if it lies in one place.
    fn depth(&self, units: usize) -> Option<f64>;
    /// What a right answer is.
    fn target(&self) -> Value;
}

/// Makes the cases of a task from one draft for each index.
pub(super) fn cases<D: Draft>(
    task: &dyn Task,
    params: &Params,
    tokens: &dyn TokenCounter,
    mut draft: impl FnMut(u32) -> D,
) -> Result<Vec<Case>> {
    let budget = params.context.saturating_sub(task.max_tokens(params));
    let mut filler = Filler { tokens, budget, unit_tokens: None };
    (0..params.samples).map(|index| case(task, params, index, draft(index), &mut filler)).collect()
}

fn case(
    task: &dyn Task,
    params: &Params,
    index: u32,
    mut draft: impl Draft,
    filler: &mut Filler<'_>,
) -> Result<Case> {
    let max_tokens = task.max_tokens(params);
    let Some(Fit { units, tokens: prompt_tokens }) = filler.fit(&mut draft)? else {
        let needed = filler.count(&mut draft, 0)?.tokens;
        return Err(too_small(task.name(), params.context, max_tokens, needed));
    };
    let case = Case {
        id: String::new(),
        task: task.name().into(),
        task_version: task.version(),
        arm: None,
        context: params.context,
        index,
        depth: draft.depth(units),
        cluster: format!("{}/{}/{index}", task.name(), params.context),
        prompt: Prompt::chat(draft.messages(units)),
        max_tokens,
        prompt_tokens,
        target: draft.target(),
    }
    .seal();
    check_output(task, params, &case, filler.tokens)?;
    Ok(case)
}

/// A right answer must fit into its budget: else every reply would be cut off, whatever the setting.
fn check_output(task: &dyn Task, params: &Params, case: &Case, tokens: &dyn TokenCounter) -> Result<()> {
    let Some(reply) = task.perfect(case) else { return Ok(()) };
    // One more ends the turn.
    let needed = tokens.tokenize(&reply.content)?.len() + 1;
    let output = params.option(task, OUTPUT_TOKENS);
    if needed <= output as usize {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{}: the right answer of case {} has {needed} tokens, and {output} are kept for it",
        task.name(),
        case.index
    ))
    .hint(format!("set its `{OUTPUT_TOKENS}` to {needed} or more, or make the task easier with its options")))
}

/// Finds how many units fill a budget, and learns from case to case what a unit costs.
struct Filler<'a> {
    tokens: &'a dyn TokenCounter,
    /// Tokens that the prompt may have.
    budget: u32,
    /// Mean tokens of a unit with its separator, once known; at least 1.
    unit_tokens: Option<f64>,
}

impl Filler<'_> {
    /// The largest number of units that fits; none when not even the fewest do.
    fn fit(&mut self, draft: &mut dyn Draft) -> Result<Option<Fit>> {
        let frame = self.count(draft, 0)?;
        if frame.tokens > self.budget {
            return Ok(None);
        }
        let unit_tokens = self.unit_tokens(draft)?;
        let room = f64::from(self.budget - frame.tokens);
        let mut at = self.count(draft, frame.units + (room / unit_tokens) as usize)?;
        self.learn(frame, at);
        let mut best = frame;
        for _ in 0..CORRECTIONS {
            best = self.better(best, at);
            let units = self.correct(draft, at)?;
            if units == at.units {
                return Ok(Some(best));
            }
            at = self.count(draft, units)?;
        }
        Ok(Some(self.better(best, at)))
    }

    /// Counts the whole prompt with so many units, or the fewest that make a case.
    fn count(&self, draft: &mut dyn Draft, units: usize) -> Result<Fit> {
        let units = units.max(draft.min_units());
        draft.grow(units);
        Ok(Fit { units, tokens: self.tokens.count_chat(&draft.messages(units), &[])? })
    }

    fn better(&self, best: Fit, at: Fit) -> Fit {
        if at.tokens <= self.budget && at.units > best.units { at } else { best }
    }

    fn unit_tokens(&mut self, draft: &mut dyn Draft) -> Result<f64> {
        if let Some(known) = self.unit_tokens {
            return Ok(known);
        }
        let first = draft.min_units();
        let sampled = self.between(draft, first, first + SAMPLED_UNITS)?;
        let mean = (f64::from(sampled) / SAMPLED_UNITS as f64).max(1.0);
        self.unit_tokens = Some(mean);
        Ok(mean)
    }

    /// Keeps the cost of a unit that two counted prompts show.
    fn learn(&mut self, small: Fit, large: Fit) {
        if large.units >= small.units + SAMPLED_UNITS && large.tokens > small.tokens {
            let units = (large.units - small.units) as f64;
            self.unit_tokens = Some((f64::from(large.tokens - small.tokens) / units).max(1.0));
        }
    }

    /// How many units should just fit, going by a counted prompt and short counts of units around its end.
    fn correct(&mut self, draft: &mut dyn Draft, at: Fit) -> Result<usize> {
        let unit_tokens = self.unit_tokens(draft)?;
        let Fit { mut units, mut tokens } = at;
        while tokens > self.budget && units > draft.min_units() {
            let excess = f64::from(tokens - self.budget);
            let back = (excess / unit_tokens).ceil() as usize + 1;
            let to = units.saturating_sub(back).max(draft.min_units());
            tokens = tokens.saturating_sub(self.between(draft, to, units)?);
            units = to;
        }
        let room = self.budget.saturating_sub(tokens);
        Ok(units + self.more(draft, units, room, unit_tokens)?)
    }

    /// How many units after the first `from` fit into `room` tokens.
    fn more(&self, draft: &mut dyn Draft, from: usize, room: u32, unit_tokens: f64) -> Result<usize> {
        let mut fits = 0;
        let mut over = None;
        let mut aim = f64::from(room) / unit_tokens;
        while over != Some(fits + 1) {
            let probe = (aim.max(0.0) as usize).clamp(fits + 1, over.map_or(usize::MAX, |over| over - 1));
            let cost = self.between(draft, from, from + probe)?;
            aim = probe as f64 + (f64::from(room) - f64::from(cost)) / unit_tokens;
            if cost <= room {
                fits = probe;
            } else {
                over = Some(probe);
            }
        }
        Ok(fits)
    }

    /// Tokens that the units `from..to` add to a prompt that has the ones before; `from` is at least 1.
    /// Counted behind the unit in front of them: a tokenizer may join what stands at the seam.
    fn between(&self, draft: &mut dyn Draft, from: usize, to: usize) -> Result<u32> {
        draft.grow(to);
        let all = draft.units()[from - 1..to].join(draft.separator());
        let with = self.tokens.tokenize(&all)?.len();
        let without = self.tokens.tokenize(&draft.units()[from - 1])?.len();
        // No unit is free: a server that says so would be asked for ever longer prompts.
        Ok(u32::try_from(with.saturating_sub(without).max(to - from)).unwrap_or(u32::MAX))
    }
}

/// A line that a sheet has whatever its length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fixed {
    /// Its place as a share of the way, 0 (start) to below 1 (end).
    pub(super) share: f64,
    /// The text.
    pub(super) line: String,
    /// Whether it is the one that is asked for.
    pub(super) asked: bool,
}

impl Fixed {
    /// A line that is not asked for.
    pub(super) fn new(share: f64, line: String) -> Self {
        Self { share, line, asked: false }
    }

    /// How many of `units` lines stand in front of it.
    fn place(&self, units: usize) -> usize {
        (self.share * (units + 1) as f64) as usize
    }
}

/// One message: an explanation, many lines, a question.
pub(super) struct Sheet {
    intro: String,
    question: String,
    target: Value,
    fixed: Vec<Fixed>,
    lines: Vec<String>,
    next: Box<dyn FnMut() -> String>,
}

impl Sheet {
    /// A sheet of the `fixed` lines and as many of those that `next` draws as fit.
    pub(super) fn new(
        intro: String,
        question: String,
        target: Value,
        mut fixed: Vec<Fixed>,
        next: impl FnMut() -> String + 'static,
    ) -> Self {
        fixed.sort_by(|a, b| a.share.total_cmp(&b.share));
        Self { intro, question, target, fixed, lines: Vec::new(), next: Box::new(next) }
    }

    fn text(&self, units: usize) -> String {
        let mut lines: Vec<&str> = Vec::with_capacity(units + self.fixed.len());
        let mut fixed = self.fixed.iter().peekable();
        for (at, line) in self.lines[..units].iter().enumerate() {
            while let Some(next) = fixed.next_if(|fixed| fixed.place(units) <= at) {
                lines.push(&next.line);
            }
            lines.push(line);
        }
        lines.extend(fixed.map(|fixed| fixed.line.as_str()));
        lines.join(self.separator())
    }
}

impl Draft for Sheet {
    fn min_units(&self) -> usize {
        1
    }

    fn grow(&mut self, units: usize) {
        while self.lines.len() < units {
            self.lines.push((self.next)());
        }
    }

    fn units(&self) -> &[String] {
        &self.lines
    }

    fn separator(&self) -> &'static str {
        "\n"
    }

    fn messages(&self, units: usize) -> Vec<Message> {
        vec![Message::user(format!("{}\n\n{}\n\n{}", self.intro, self.text(units), self.question))]
    }

    fn depth(&self, units: usize) -> Option<f64> {
        let asked = self.fixed.iter().position(|fixed| fixed.asked)?;
        let before = asked + self.fixed[asked].place(units);
        Some(before as f64 / (units + self.fixed.len()) as f64)
    }

    fn target(&self) -> Value {
        self.target.clone()
    }
}

/// A random share of the way, 0 to below 1.
pub(super) fn share(random: &mut Random) -> f64 {
    random.below(1 << 32) as f64 / (1_u64 << 32) as f64
}

/// Name of the option that [`output_tokens`] declares.
const OUTPUT_TOKENS: &str = "output_tokens";
/// Name of the option that [`THINKING_TOKENS`] declares.
const THINKING: &str = "thinking_tokens";

/// The option that says how many tokens an answer may have.
pub(super) const fn output_tokens(default: u32) -> TaskOption {
    option(OUTPUT_TOKENS, "output budget of the answer in tokens", default, 8, 65_536)
}

/// The option that gives thinking models a budget of their own.
pub(super) const THINKING_TOKENS: TaskOption =
    option(THINKING, "output budget of the reasoning in tokens, beside the answer's", 0, 0, 1_000_000);

/// An option of a task; its value is in `min..=max`.
pub(super) const fn option(
    name: &'static str,
    help: &'static str,
    default: u32,
    min: u32,
    max: u32,
) -> TaskOption {
    TaskOption { name, help, default, min, max, difficulty: None }
}

/// An option that the pilot may tune, and which way makes the task harder.
pub(super) const fn tuned(option: TaskOption, harder: Harder) -> TaskOption {
    TaskOption { difficulty: Some(harder), ..option }
}

/// Output budget of a case: the answer's and the reasoning's.
pub(super) fn max_tokens(task: &dyn Task, params: &Params) -> u32 {
    params.option(task, OUTPUT_TOKENS).saturating_add(params.option(task, THINKING))
}

/// A case's target in the task's own form.
///
/// # Errors
/// The outcome when it has another form: the case was not made by this version of the task.
pub(super) fn read_target<T: DeserializeOwned>(case: &Case) -> std::result::Result<T, Outcome> {
    T::deserialize(&case.target).map_err(|error| Outcome::Unscored {
        reason: format!("the target of the case is not one of {}: {error}", case.task),
    })
}

#[cfg(test)]
pub(super) mod testing {
    //! What the tests of every task that fills its context share.

    use std::cell::Cell;

    use super::*;
    use crate::task::conformance::{WordCounter, params};
    use crate::task::{Params, Tool};
    use crate::trial::{FinishReason, Reply};

    /// Counts the counts, told apart by their length.
    #[derive(Debug, Default)]
    pub(in crate::task::retrieval) struct Meter {
        words: WordCounter,
        /// Texts and prompts longer than this many tokens are full-length.
        full: u32,
        pub(in crate::task::retrieval) full_counts: Cell<u32>,
        pub(in crate::task::retrieval) short_counts: Cell<u32>,
    }

    impl Meter {
        pub(in crate::task::retrieval) fn new(context: u32) -> Self {
            Self { full: context / 2, ..Self::default() }
        }

        fn note(&self, tokens: u32) {
            let counts = if tokens > self.full { &self.full_counts } else { &self.short_counts };
            counts.set(counts.get() + 1);
        }
    }

    impl TokenCounter for Meter {
        fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
            let tokens = self.words.count_chat(messages, tools)?;
            self.note(tokens);
            Ok(tokens)
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
            let tokens = self.words.tokenize(text)?;
            self.note(tokens.len() as u32);
            Ok(tokens)
        }
    }

    pub(in crate::task::retrieval) fn with(context: u32, samples: u32, options: &[(&str, u32)]) -> Params {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Params { options, ..params(context, samples, None) }
    }

    pub(in crate::task::retrieval) fn make(
        task: &dyn Task,
        context: u32,
        samples: u32,
        options: &[(&str, u32)],
    ) -> Vec<Case> {
        task.cases(&with(context, samples, options), 7, &WordCounter::default()).unwrap()
    }

    /// The messages of a case.
    pub(in crate::task::retrieval) fn messages(case: &Case) -> &[Message] {
        match &case.prompt {
            Prompt::Chat { messages, .. } => messages,
            Prompt::Distributions { .. } => &[],
        }
    }

    /// Quality and label of a reply that ended by itself.
    pub(in crate::task::retrieval) fn judged(
        task: &dyn Task,
        case: &Case,
        content: &str,
    ) -> (f64, Option<String>) {
        judge(task, case, content, FinishReason::Stop)
    }

    pub(in crate::task::retrieval) fn judge(
        task: &dyn Task,
        case: &Case,
        content: &str,
        finish_reason: FinishReason,
    ) -> (f64, Option<String>) {
        let reply = Reply { content: content.into(), finish_reason: Some(finish_reason), ..Reply::default() };
        let outcome = task.score(case, &reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Meter, make, messages, with};
    use super::*;
    use crate::error::Kind;
    use crate::task::conformance::{WordCounter, params};
    use crate::task::retrieval::{confusable_keys, counting, graph_walks, ordinal_recall};
    use crate::task::{Tool, Weight};
    use crate::trial::Reply;

    const OURS: [&dyn Task; 4] = [
        &confusable_keys::ConfusableKeys,
        &graph_walks::GraphWalks,
        &counting::Counting,
        &ordinal_recall::OrdinalRecall,
    ];
    /// More tokens (of [`WordCounter`]) than any unit has.
    const UNIT: u32 = 24;

    #[test]
    fn every_length_costs_two_full_counts_a_case_and_is_met_within_one_unit() {
        for task in OURS {
            for (context, samples) in [(512, 6), (4096, 6), (32_768, 3), (131_072, 2)] {
                let meter = Meter::new(context);
                let cases = task.cases(&params(context, samples, None), 11, &meter).unwrap();
                for case in &cases {
                    let used = case.prompt_tokens + case.max_tokens;
                    assert!(used <= context && context - used < UNIT, "{} {context}: {used}", task.name());
                    let counted = WordCounter::default().count_chat(messages(case), &[]).unwrap();
                    assert_eq!(counted, case.prompt_tokens);
                }
                if context > 1024 {
                    let full = meter.full_counts.get();
                    assert!(full <= 2 * samples, "{} {context}: {full} full counts", task.name());
                }
            }
        }
    }

    #[test]
    fn short_counts_stay_few() {
        for task in OURS {
            let meter = Meter::new(32_768);
            task.cases(&params(32_768, 10, None), 3, &meter).unwrap();
            let short = meter.short_counts.get();
            assert!(short <= 10 * 14, "{}: {short} short counts for 10 cases", task.name());
        }
    }

    /// Joins what stands on both sides of a seam, and charges for long texts: not additive at all.
    struct Odd;

    impl TokenCounter for Odd {
        fn count_chat(&self, messages: &[Message], _: &[Tool]) -> Result<u32> {
            let bytes: usize = messages.iter().map(|message| message.content.len() + 9).sum();
            Ok((bytes / 3 + bytes / 700 * 5) as u32)
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
            Ok(vec![0; text.len() / 3 + 1])
        }
    }

    #[test]
    fn a_tokenizer_that_is_not_additive_never_takes_a_case_over_its_budget() {
        for task in OURS {
            for case in task.cases(&params(8192, 6, None), 5, &Odd).unwrap() {
                let used = case.prompt_tokens + case.max_tokens;
                assert_eq!(case.prompt_tokens, Odd.count_chat(messages(&case), &[]).unwrap());
                assert!(used <= 8192 && used + 4 * UNIT > 8192, "{}: {used}", task.name());
            }
        }
    }

    struct Silent;

    impl TokenCounter for Silent {
        fn count_chat(&self, _: &[Message], _: &[Tool]) -> Result<u32> {
            Ok(0)
        }

        fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_server_that_counts_nothing_does_not_make_endless_cases() {
        for task in OURS {
            task.cases(&params(2048, 1, None), 5, &Silent).unwrap();
        }
    }

    struct Gone;

    impl TokenCounter for Gone {
        fn count_chat(&self, _: &[Message], _: &[Tool]) -> Result<u32> {
            Err(Error::runtime("gone"))
        }

        fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
            Err(Error::runtime("gone"))
        }
    }

    #[test]
    fn a_failing_count_is_passed_on() {
        for task in OURS {
            assert_eq!(task.cases(&params(2048, 1, None), 5, &Gone).unwrap_err().kind(), Kind::Runtime);
        }
    }

    #[test]
    fn a_context_or_an_output_budget_that_is_too_small_is_a_usage_error() {
        for task in OURS {
            for params in [params(160, 1, None), with(4096, 1, &[("output_tokens", 1)])] {
                let error = task.cases(&params, 5, &WordCounter::default()).unwrap_err();
                assert_eq!(error.kind(), Kind::Usage, "{error}");
                assert!(!error.hints().is_empty());
            }
        }
    }

    #[test]
    fn cases_do_not_depend_on_how_many_there_are() {
        for task in OURS {
            assert_eq!(make(task, 1024, 3, &[]), make(task, 1024, 9, &[])[..3]);
        }
    }

    #[test]
    fn reasoning_has_a_budget_and_never_counts_as_an_answer() {
        for task in OURS {
            let params = with(4096, 1, &[("thinking_tokens", 1000)]);
            assert_eq!(task.max_tokens(&params), task.max_tokens(&with(4096, 1, &[])) + 1000);
            let case = &make(task, 4096, 1, &[])[0];
            let perfect = task.perfect(case).unwrap();
            let reply = Reply { reasoning: perfect.content, ..Reply::default() };
            assert_eq!(task.score(case, &reply).score().unwrap().quality, Some(0.0));
            assert_eq!(task.weight(), Weight::Primary);
        }
    }

    #[test]
    fn a_target_of_another_form_is_unscored() {
        for task in OURS {
            let mut case = make(task, 1024, 1, &[]).remove(0);
            case.target = serde_json::json!({"answers": 7});
            assert!(matches!(task.score(&case, &Reply::default()), Outcome::Unscored { .. }));
            assert_eq!(task.perfect(&case), None);
        }
    }

    #[test]
    fn fixed_lines_keep_their_share_of_the_way() {
        let fixed = vec![
            Fixed::new(0.0, "first".into()),
            Fixed { share: 0.5, line: "middle".into(), asked: true },
            Fixed::new(0.999, "last".into()),
        ];
        let mut sheet = Sheet::new("in".into(), "out".into(), Value::Null, fixed, || "x".into());
        sheet.grow(9);
        assert_eq!(sheet.text(4), "first\nx\nx\nmiddle\nx\nx\nlast");
        assert_eq!(sheet.text(1), "first\nx\nmiddle\nlast");
        assert_eq!(sheet.depth(4), Some(3.0 / 7.0));
    }
}
