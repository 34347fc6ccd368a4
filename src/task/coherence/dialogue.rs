//! Conversations of many turns that fill the context.
//!
//! Every conversation is held twice, in two cases of one cluster: free-running, where the model goes on from its
//! own replies (even indices), and with gold history, where every reply is followed by the right one in its place
//! (odd indices). A model that errs only in the first follows its own mistakes; one that errs in both forgets.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result};
use crate::record::{Case, Message, Outcome, Prompt, Reply, Role, Scoring};
use crate::task::random::Random;
use crate::task::sizing::{Fit, too_large, too_small};
use crate::task::{Card, Params, Step, Task, TokenCounter, options, probability};

/// Most units of a conversation; the runner breaks off one of more than 4096 turns.
const MAX_UNITS: usize = 3840;
/// Stands for a reply while a conversation is counted: one token in any vocabulary.
const REPLY: &str = "0";
/// Units whose mean cost is the first estimate.
const SAMPLED_UNITS: usize = 8;
/// Counts of a whole conversation before the best length so far is taken; two are the rule.
const COUNTS: usize = 5;
/// Differences of up to so many units are made good by counting them one by one.
const NEAR_UNITS: f64 = 12.0;

/// One turn: what is said to the model, and what it should say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Turn<F> {
    /// The message of the person.
    pub(super) say: String,
    /// The right reply.
    pub(super) right: String,
    /// What the scorer has to know of it.
    pub(super) facts: F,
}

/// What a case holds of its conversation, beside the first message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Target<O, F> {
    /// Whether the conversation goes on from the right replies instead of the model's own.
    pub(super) gold: bool,
    /// What the scorer has to know of its beginning.
    pub(super) opening: O,
    /// The turns in order.
    pub(super) turns: Vec<Turn<F>>,
}

impl<O: DeserializeOwned, F: DeserializeOwned> Target<O, F> {
    /// The target of a case.
    ///
    /// # Errors
    /// The outcome when it has another form: the case was not made by this version of the task.
    pub(super) fn read(case: &Case) -> std::result::Result<Self, Outcome> {
        options::read_target(case)
    }

    /// The turns with their replies, `None` where the conversation did not get so far.
    pub(super) fn replies<'a>(
        &'a self,
        reply: &'a Reply,
    ) -> impl Iterator<Item = (&'a Turn<F>, Option<&'a Reply>)> {
        let replies = reply.turns().map(Some).chain(std::iter::repeat(None));
        self.turns.iter().zip(replies)
    }

    /// The conversation in which every reply is right.
    pub(super) fn perfect(self) -> Option<Reply> {
        let right = self.turns.into_iter().map(|turn| Reply { content: turn.right, ..Reply::default() });
        Reply::of_conversation(right.collect())
    }
}

/// How the conversation of a case goes on: the model's own reply or the right one, then the next turn.
pub(super) fn step(case: &Case, replies: &[Reply]) -> Step {
    let text = |turn: usize, field: &str| case.target["turns"][turn][field].as_str();
    let (Some(last), Some(next)) = (replies.len().checked_sub(1), text(replies.len(), "say")) else {
        return Step::Done;
    };
    let gold = case.target["gold"].as_bool().unwrap_or_default();
    let said = if gold { text(last, "right").unwrap_or_default() } else { &replies[last].content };
    Step::Say(vec![Message::new(Role::Assistant, said), Message::user(next)])
}

/// A conversation whose length is not decided yet. A longer one has the units of a shorter one, and a unit adds
/// one turn.
pub(super) trait Draft {
    /// What the scorer has to know of the beginning.
    type Opening: Serialize;
    /// What the scorer has to know of a turn.
    type Facts: Serialize;

    /// Fewest units that make a case; at least 1.
    fn min_units(&self) -> usize {
        1
    }

    /// Draws units until there are so many.
    fn grow(&mut self, units: usize);

    /// The system prompt with so many units, which must have been drawn.
    fn system(&self, units: usize) -> String;

    /// What the scorer has to know of the beginning.
    fn opening(&self) -> Self::Opening;

    /// The turns with so many units, which must have been drawn.
    fn turns(&self, units: usize) -> Vec<Turn<Self::Facts>>;

    /// All text that a unit adds, which must have been drawn.
    fn added(&self, unit: usize) -> String;
}

/// Makes the cases of a task: two of each conversation.
pub(super) fn cases<D: Draft>(
    task: &dyn Task,
    params: &Params,
    seed: u64,
    tokens: &dyn TokenCounter,
    mut draft: impl FnMut(Random) -> D,
) -> Result<Vec<Case>> {
    let mut sizer = Sizer::new(task, params, tokens);
    let mut cases = Vec::with_capacity(params.samples as usize);
    if params.score == Scoring::Probability {
        for text in 0..params.samples.div_ceil(params.questions.max(1)) {
            let random = Random::of_case(seed, task.name(), params.context, text);
            cases.extend(asked_at_turns(task, params, text, draft(random), &mut sizer)?);
        }
        return Ok(cases);
    }
    for index in (0..params.samples).step_by(2) {
        let random = Random::of_case(seed, task.name(), params.context, index / 2);
        let free = case(task, params, index, draft(random), &mut sizer)?;
        let gold = (index + 1 < params.samples).then(|| with_gold_history(&free));
        cases.extend([Some(free), gold].into_iter().flatten());
    }
    Ok(cases)
}

/// Questions to one conversation: turns that lie evenly over it, the last among them. The replies in front are the right ones,
/// and the right one to the turn is forced.
fn asked_at_turns<D: Draft>(
    task: &dyn Task,
    params: &Params,
    text: u32,
    mut draft: D,
    sizer: &mut Sizer<'_>,
) -> Result<Vec<Case>> {
    let questions = params.questions.max(1);
    let first = text * questions;
    let Fit { units, .. } = sizer.fit(&mut draft)?;
    let turns = draft.turns(units);
    check_output(task, params, &turns, sizer.tokens)?;
    if turns.len() < questions as usize {
        let message =
            format!("{}: {questions} questions to a conversation of {} turns", task.name(), turns.len());
        return Err(Error::usage(message).hint("ask fewer questions, or give it a larger context"));
    }
    let (opening, mut shared) = (json!(draft.opening()), 0);
    let mut messages = vec![Message::system(draft.system(units))];
    let mut cases = Vec::new();
    let mut said = 0;
    for question in 0..questions.min(params.samples - first) {
        let at = (question as usize + 1) * turns.len() / questions as usize - 1;
        for turn in &turns[said..at] {
            messages.push(Message::user(&turn.say));
            messages.push(Message::new(Role::Assistant, &turn.right));
        }
        said = at;
        let turn = &turns[at];
        let asked: Vec<Message> = messages.iter().cloned().chain([Message::user(&turn.say)]).collect();
        let prompt_tokens = sizer.tokens.count_chat(&asked, &[])?;
        let own = prompt_tokens.saturating_sub(TEMPLATE_END).max(1);
        let target = json!({ "gold": true, "opening": opening, "turns": &turns[..=at] });
        let depth = (at + 1) as f64 / turns.len() as f64;
        let forced = probability::part("", std::slice::from_ref(&turn.right), None, sizer.tokens)?;
        let case = task.card().case(params.context, first + question, Prompt::chat(asked), target);
        let case = case.in_cluster(format!("{}/{}/text {text}", task.name(), params.context));
        let case = case.at_depth(Some(depth)).sized(prompt_tokens, sizer.max_tokens);
        cases.push(case.sharing(if question == 0 { own } else { shared }).forcing(vec![forced]).seal());
        shared = own;
    }
    Ok(cases)
}

/// Tokens of a chat template behind the last message, at most: a longer conversation does not share them.
const TEMPLATE_END: u32 = 24;

fn with_gold_history(free: &Case) -> Case {
    let mut gold = Case { index: free.index + 1, ..free.clone() };
    gold.target["gold"] = json!(true);
    gold.seal()
}

fn case<D: Draft>(
    task: &dyn Task,
    params: &Params,
    index: u32,
    mut draft: D,
    sizer: &mut Sizer<'_>,
) -> Result<Case> {
    let Fit { units, .. } = sizer.fit(&mut draft)?;
    let turns = draft.turns(units);
    check_output(task, params, &turns, sizer.tokens)?;
    let messages = conversation(draft.system(units), turns[..1].iter().map(|turn| turn.say.as_str()));
    let prompt_tokens = sizer.tokens.count_chat(&messages, &[])?;
    let target = json!(Target { gold: false, opening: draft.opening(), turns });
    // A conversation that goes on freely and the one with right replies share a text.
    let cluster = format!("{}/{}/{}", task.name(), params.context, index / 2);
    let case = task.card().case(params.context, index, Prompt::chat(messages), target);
    Ok(case.in_cluster(cluster).sized(prompt_tokens, sizer.max_tokens).seal())
}

/// The prompt of the last of these turns, with placeholders for the replies before it.
fn conversation<'a>(system: String, says: impl Iterator<Item = &'a str>) -> Vec<Message> {
    let mut messages = vec![Message::system(system)];
    for say in says {
        if messages.len() > 1 {
            messages.push(Message::new(Role::Assistant, REPLY));
        }
        messages.push(Message::user(say));
    }
    messages
}

/// A right reply must fit into its budget: else every reply would be cut off, whatever the setting.
fn check_output<F>(
    task: &dyn Task,
    params: &Params,
    turns: &[Turn<F>],
    tokens: &dyn TokenCounter,
) -> Result<()> {
    let Some(longest) = turns.iter().map(|turn| &turn.right).max_by_key(|right| right.len()) else {
        return Ok(());
    };
    // One more ends the turn.
    let needed = tokens.count_text(longest)? as usize + 1;
    let output = params.option(&task.card(), "output_tokens");
    if needed <= output as usize {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{}: a right reply has {needed} tokens, and {output} are kept for it",
        task.name()
    ))
    .hint(format!("set its `output_tokens` to {needed} or more")))
}

/// Finds how many units fill the context when every reply takes its whole budget, and learns from conversation to
/// conversation what a unit costs.
struct Sizer<'a> {
    card: Card,
    context: u32,
    max_tokens: u32,
    tokens: &'a dyn TokenCounter,
    /// Mean tokens of a unit, and those of them that are not its text: template and reply.
    unit: Option<UnitCost>,
}

#[derive(Debug, Clone, Copy)]
struct UnitCost {
    mean: f64,
    beside_text: i64,
}

impl<'a> Sizer<'a> {
    fn new(task: &dyn Task, params: &Params, tokens: &'a dyn TokenCounter) -> Self {
        let max_tokens = task.max_tokens(params);
        Self { card: task.card(), context: params.context, max_tokens, tokens, unit: None }
    }

    /// The largest number of units that fits.
    fn fit<D: Draft>(&mut self, draft: &mut D) -> Result<Fit> {
        let least = self.count(draft, draft.min_units())?;
        if least.tokens > self.context {
            let needed = least.tokens.saturating_sub(self.max_tokens);
            return Err(too_small(&self.card, self.context, self.max_tokens, needed));
        }
        let mut unit = self.unit_cost(draft, least)?;
        let mut best = least;
        let mut aim = self.moved(draft, least, self.room(least) / unit.mean);
        for _ in 0..COUNTS {
            let at = self.count(draft, aim)?;
            if at.tokens <= self.context && at.units > best.units {
                best = at;
            }
            unit.mean = mean_cost(least, at).unwrap_or(unit.mean);
            let off = self.room(at) / unit.mean;
            aim = if off.abs() > NEAR_UNITS {
                self.moved(draft, at, off)
            } else {
                self.walk(draft, at, unit.beside_text)?
            };
            if aim == at.units {
                break;
            }
        }
        self.unit = Some(unit);
        if best.units >= MAX_UNITS {
            return Err(too_large(self.card.name, self.context, best.tokens));
        }
        Ok(best)
    }

    /// Tokens left over (below 0: too many).
    fn room(&self, at: Fit) -> f64 {
        f64::from(self.context) - f64::from(at.tokens)
    }

    fn moved<D: Draft>(&self, draft: &D, from: Fit, by: f64) -> usize {
        from.units.saturating_add_signed(by.floor() as isize).clamp(draft.min_units(), MAX_UNITS)
    }

    /// Counts the whole conversation with so many units, every reply at its budget.
    fn count<D: Draft>(&self, draft: &mut D, units: usize) -> Result<Fit> {
        draft.grow(units);
        let turns = draft.turns(units);
        let messages = conversation(draft.system(units), turns.iter().map(|turn| turn.say.as_str()));
        let counted = self.tokens.count_chat(&messages, &[])?;
        let before = (turns.len() as u32 - 1).saturating_mul(self.max_tokens.saturating_sub(1));
        Ok(Fit { units, tokens: counted.saturating_add(before).saturating_add(self.max_tokens) })
    }

    /// What a unit costs: learned from the first few of the first conversation.
    fn unit_cost<D: Draft>(&mut self, draft: &mut D, least: Fit) -> Result<UnitCost> {
        if let Some(known) = self.unit {
            return Ok(known);
        }
        let few = self.count(draft, least.units + SAMPLED_UNITS)?;
        let added = i64::from(few.tokens) - i64::from(least.tokens);
        let mut text = 0;
        for unit in least.units..few.units {
            text += self.text(draft, unit)?;
        }
        let beside_text = (added - text).div_euclid(SAMPLED_UNITS as i64).max(0);
        Ok(UnitCost { mean: mean_cost(least, few).unwrap_or(1.0), beside_text })
    }

    fn text<D: Draft>(&self, draft: &D, unit: usize) -> Result<i64> {
        Ok(i64::from(self.tokens.count_text(&draft.added(unit))?))
    }

    /// How many units should just fit, counting those between there and here one by one.
    fn walk<D: Draft>(&self, draft: &mut D, at: Fit, beside_text: i64) -> Result<usize> {
        let mut units = at.units;
        let mut room = i64::from(self.context) - i64::from(at.tokens);
        while room < 0 && units > draft.min_units() {
            units -= 1;
            room += self.text(draft, units)? + beside_text.max(1);
        }
        while units < MAX_UNITS {
            draft.grow(units + 1);
            room -= self.text(draft, units)? + beside_text.max(1);
            if room < 0 {
                break;
            }
            units += 1;
        }
        Ok(units)
    }
}

/// Mean tokens of the units between two counts; at least 1.
fn mean_cost(small: Fit, large: Fit) -> Option<f64> {
    let units = large.units.checked_sub(small.units).filter(|units| *units > 0)?;
    Some((f64::from(large.tokens.saturating_sub(small.tokens)) / units as f64).max(1.0))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::task::testing::{WordCounter, params};

    /// Cases of a task with options, counted by [`WordCounter`].
    pub(crate) fn make(task: &dyn Task, context: u32, samples: u32, options: &[(&str, u32)]) -> Vec<Case> {
        let mut params = params(context, samples, None);
        params.options = options.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        task.cases(&params, 11, &WordCounter::default()).unwrap()
    }

    /// Holds the conversation of a case with a model that replies so, given the messages so far: all that was
    /// said, and the reply.
    pub(crate) fn play(
        task: &dyn Task,
        case: &Case,
        mut model: impl FnMut(&[Message]) -> String,
    ) -> (Vec<Message>, Reply) {
        let Prompt::Chat { messages, .. } = &case.prompt else { panic!("{} is no chat", case.task) };
        let (mut messages, mut replies) = (messages.clone(), Vec::new());
        loop {
            let content = model(&messages);
            replies.push(Reply { content, ..Reply::default() });
            match task.step(case, &replies) {
                Step::Done => return (messages, Reply::of_conversation(replies).unwrap()),
                Step::Say(more) => messages.extend(more),
                Step::Ask(ask) => messages = ask.messages,
            }
        }
    }

    /// The score of a model on a case.
    pub(crate) fn judge(
        task: &dyn Task,
        case: &Case,
        model: impl FnMut(&[Message]) -> String,
    ) -> crate::record::Score {
        task.score(case, &play(task, case, model).1).score().unwrap().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{make, play};
    use super::*;
    use crate::task::coherence::running_sum::RunningSum;
    use crate::task::testing::{WordCounter, params};

    #[test]
    fn both_histories_say_the_same_and_only_the_model_s_own_words_differ() {
        let cases = make(&RunningSum, 2048, 3, &[]);
        assert_eq!(
            cases.iter().map(|case| &case.cluster).collect::<Vec<_>>(),
            ["coherence/running_sum/2048/0", "coherence/running_sum/2048/0", "coherence/running_sum/2048/1"]
        );
        assert_eq!(cases[0].prompt, cases[1].prompt);
        let mut turn = 0;
        let talk = |case: &Case| {
            play(&RunningSum, case, |_| {
                turn += 1;
                format!("so {turn}")
            })
            .0
        };
        let [free, gold] = [&cases[0], &cases[1]].map(talk);
        assert_eq!(free.len(), gold.len());
        for (own, right) in free.iter().zip(&gold) {
            assert_eq!((own.role, own.role == Role::Assistant), (right.role, own != right));
        }
        assert!(gold.iter().all(|message| !message.content.starts_with("so ")));
    }

    #[test]
    fn conversations_fill_their_context_with_few_whole_counts() {
        for (context, samples) in [(1024, 6), (8192, 6), (65_536, 2)] {
            let counter = WordCounter::default();
            let cases = RunningSum.cases(&params(context, samples, None), 5, &counter).unwrap();
            assert!(counter.counts.get() <= 1 + 5 * samples.div_ceil(2), "{}", counter.counts.get());
            assert!(cases[0].target["turns"].as_array().unwrap().len() > context as usize / 100);
        }
    }

    /// A tokenizer whose counts do not add up: they depend on the length of the whole.
    struct Uneven(WordCounter);

    impl TokenCounter for Uneven {
        fn count_chat(&self, messages: &[Message], tools: &[crate::record::Tool]) -> Result<u32> {
            let count = self.0.count_chat(messages, tools)?;
            Ok(count + count / 50 + count % 7)
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
            self.0.tokenize(text)
        }
    }

    #[test]
    fn the_budget_holds_whatever_the_tokenizer_does() {
        for context in [700, 1500, 5000, 20_000] {
            let params = params(context, 4, None);
            let uneven = Uneven(WordCounter::default());
            for case in RunningSum.cases(&params, 3, &uneven).unwrap() {
                let said = Target::<(), (i64, i64)>::read(&case).unwrap().turns;
                let Prompt::Chat { messages, .. } = &case.prompt else { panic!("no chat") };
                let whole =
                    conversation(messages[0].content.clone(), said.iter().map(|turn| turn.say.as_str()));
                let counted = uneven.count_chat(&whole, &[]).unwrap();
                let used = counted + (said.len() as u32 - 1) * (case.max_tokens - 1) + case.max_tokens;
                assert!(used <= context && context - used < 150, "{used} of {context}");
            }
        }
    }

    #[test]
    fn a_context_beyond_the_longest_conversation_and_a_reply_beyond_its_budget_are_refused() {
        let refused = |context, options: &[(&str, u32)]| {
            let mut params = params(context, 1, None);
            params.options = options.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            RunningSum.cases(&params, 1, &WordCounter::default()).unwrap_err()
        };
        assert!(refused(64, &[]).to_string().contains("too small"));
        assert!(refused(1 << 20, &[("per_turn", 1)]).to_string().contains("too large"));
    }
}
