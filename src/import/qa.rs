//! Questions about a user's own documents: `{id, question, answers, context | documents}` a line, in the manner
//! of SQuAD and HotpotQA. The case's own documents are hidden among those of the other lines.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::answers::{self, OUTPUT_TOKENS, output_tokens};
use super::format::{Format, Imported, Matching};
use super::lines::{Line, lines};
use super::suite_file::{bad_line, file_at, too_few};
use super::values::{name_of, references};
use crate::error::Result;
use crate::record::{Case, Message, Outcome, Reply, short_hash};
use crate::task::random::{Random, stratified_depth};
use crate::task::sizing::too_small;
use crate::task::{Approximate, Card, Emit, Needs, Params, Task, TaskOption, TokenCounter, collected};

/// Name of the task that imported questions belong to.
const TASK: &str = "retrieval/qa";

/// Full counts of a case at most: one to verify, the others to correct.
const COUNTS: u32 = 3;

static OPTIONS: &[TaskOption] =
    &[output_tokens(32, "output budget in tokens (32 is RULER's for its qa tasks)")];

/// Questions with documents, as a format for scoring and as the task `retrieval/qa`.
#[derive(Debug)]
pub struct Qa;

#[derive(Deserialize)]
struct Raw {
    id: Value,
    question: String,
    answers: Vec<Value>,
    #[serde(default)]
    context: Option<String>,
    #[serde(default)]
    documents: Option<Vec<String>>,
}

/// A question as the file states it.
#[derive(Debug, Clone, PartialEq)]
struct Question {
    id: String,
    question: String,
    answers: Vec<String>,
    documents: Vec<String>,
}

fn question(text: &str) -> Result<Question, String> {
    let raw: Raw = serde_json::from_str(text).map_err(|error| format!("not a question: {error}"))?;
    let documents = match (raw.context, raw.documents) {
        (Some(context), None) => vec![context],
        (None, Some(documents)) if !documents.is_empty() => documents,
        _ => return Err("a question needs either `context` or a list `documents`".into()),
    };
    Ok(Question {
        id: name_of(&raw.id).map_err(|error| format!("`id`: {error}"))?,
        question: raw.question,
        answers: references(&raw.answers, "answers")?,
        documents,
    })
}

impl Question {
    fn messages<'a>(&'a self, documents: impl Iterator<Item = &'a str>) -> Vec<Message> {
        let mut text = String::from("Read the documents below and answer the question at their end.\n");
        for (at, document) in documents.enumerate() {
            text.push_str(&framed(at, document));
        }
        text.push_str(&format!(
            "\n\nQuestion: {}\nAnswer in as few words as possible, with nothing else.",
            self.question
        ));
        vec![Message::user(text)]
    }

    fn own(&self) -> impl Iterator<Item = &str> {
        self.documents.iter().map(String::as_str)
    }

    /// Returns whether a document would answer the question by itself.
    fn is_told_by(&self, document: &str) -> bool {
        let document = document.to_lowercase();
        self.answers.iter().any(|answer| document.contains(&answer.to_lowercase()))
    }

    fn case(&self, index: u32, messages: Vec<Message>, matching: Matching) -> Case {
        // Questions about one text are alike.
        let cluster = short_hash(self.documents.join("\n").as_bytes());
        answers::case(&Qa, index, &cluster, messages, answers::target(&self.answers, matching, &self.id))
    }
}

fn framed(at: usize, document: &str) -> String {
    format!("\nDocument {}:\n{}\n", at + 1, document.trim())
}

impl Format for Qa {
    fn name(&self) -> &'static str {
        "qa"
    }

    fn summary(&self) -> &'static str {
        "questions about documents {id, question, answers, context or documents}"
    }

    /// The question with its own documents alone, counted roughly: there is no tokenizer here.
    fn case(&self, line: &Line<'_>, matching: Option<Matching>) -> Result<Imported, String> {
        let question = question(line.text)?;
        let messages = question.messages(question.own());
        let tokens = Approximate.count_chat(&messages, &[]).map_err(|error| error.to_string())?;
        let mut case = question.case(answers::index_of(line), messages, matching.unwrap_or(Matching::Part));
        (case.prompt_tokens, case.context) = (tokens, tokens);
        Ok(Imported { id: question.id, case: case.seal() })
    }
}

impl Task for Qa {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "questions about a user's own documents, hidden among the others of the file (import)",
            options: OPTIONS,
            needs: Needs { reads_file: true, ..Needs::LONG },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    /// The first questions of the file, as many as the suite asks for; the seed decides which other documents
    /// stand around theirs, and in which order.
    fn each_case(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let path = file_at(TASK, params)?;
        let questions = read(&path)?;
        if questions.len() < params.samples as usize {
            return Err(too_few(TASK, &path, questions.len(), params.samples));
        }
        let mut library = Library::new(&questions, tokens);
        (0..params.samples).try_for_each(|index| {
            let case = case(params, seed, index, &questions[index as usize], &mut library);
            emit(case.map_err(|error| match error.kind() {
                crate::error::Kind::Usage => {
                    error.hint(format!("it is question {} of {}", index + 1, path.display()))
                }
                _ => error,
            })?)
        })
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        answers::score(case, reply)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        answers::perfect(case)
    }
}

fn read(path: &Path) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    lines(path, |number, text| {
        questions.push(text.and_then(question).map_err(|reason| bad_line(path, number, &reason))?);
        Ok(())
    })?;
    Ok(questions)
}

/// Every document of the file once, with its tokens when they are first needed.
struct Library<'a> {
    documents: Vec<&'a str>,
    tokens: &'a dyn TokenCounter,
    counts: HashMap<usize, u32>,
}

impl<'a> Library<'a> {
    fn new(questions: &'a [Question], tokens: &'a dyn TokenCounter) -> Self {
        let mut seen = HashSet::new();
        let all = questions.iter().flat_map(Question::own);
        let documents = all.filter(|document| seen.insert(document.trim())).collect();
        Self { documents, tokens, counts: HashMap::new() }
    }

    /// Tokens of a document with its heading; headings differ by a digit or two, which the full count corrects.
    fn count(&mut self, at: usize) -> Result<u32> {
        if let Some(&known) = self.counts.get(&at) {
            return Ok(known);
        }
        let count = self.tokens.count_text(&framed(100, self.documents[at]))?;
        self.counts.insert(at, count);
        Ok(count)
    }

    /// The documents that may stand around a question's own, in random order.
    fn others(&self, question: &Question, random: &mut Random) -> Vec<usize> {
        let own: HashSet<&str> = question.own().map(str::trim).collect();
        let strange = |at: &usize| {
            let document = self.documents[*at];
            !own.contains(document.trim()) && !question.is_told_by(document)
        };
        let mut others: Vec<usize> = (0..self.documents.len()).filter(strange).collect();
        random.shuffle(&mut others);
        others
    }
}

/// A question among as many other documents as fit; fewer when the file has no more.
fn case(
    params: &Params,
    seed: u64,
    index: u32,
    question: &Question,
    library: &mut Library<'_>,
) -> Result<Case> {
    let max_tokens = Qa.max_tokens(params);
    let budget = params.context.saturating_sub(max_tokens);
    let mut random = Random::of_case(seed, TASK, params.context, index);
    let others = library.others(question, &mut random);
    let depth = stratified_depth(seed, TASK, params.context, index);
    let place = |n: usize| (depth * (n + 1) as f64) as usize;
    let documents = library.documents.clone();
    let messages = |n: usize| {
        let around: Vec<&str> = others[..n].iter().map(|&at| documents[at]).collect();
        let (before, after) = around.split_at(place(n));
        let all: Vec<&str> =
            before.iter().copied().chain(question.own()).chain(after.iter().copied()).collect();
        question.messages(all.into_iter())
    };
    let tokens = library.tokens;
    let bare = tokens.count_chat(&messages(0), &[])?;
    if bare > budget {
        return Err(too_small(&Qa.card(), params.context, max_tokens, bare));
    }
    let mut fit = (0, bare);
    let mut n = library.fill(&others, 0, budget - bare)?;
    for _ in 0..COUNTS {
        if n == fit.0 {
            break;
        }
        let count = tokens.count_chat(&messages(n), &[])?;
        if count <= budget {
            fit = (n, count);
            n = library.fill(&others, n, budget - count)?;
        } else {
            n = library.drop_back(&others, n, count - budget)?.max(fit.0);
        }
    }
    let (n, prompt_tokens) = fit;
    Ok(Case {
        context: params.context,
        depth: (n > 0).then(|| place(n) as f64 / n as f64),
        max_tokens,
        prompt_tokens,
        ..question.case(index, messages(n), Matching::Part)
    }
    .seal())
}

impl Library<'_> {
    /// How many documents there are once those from `n` on are added that fit into `room` tokens.
    fn fill(&mut self, others: &[usize], mut n: usize, mut room: u32) -> Result<usize> {
        while let Some(&next) = others.get(n) {
            let count = self.count(next)?;
            if count > room {
                break;
            }
            room -= count;
            n += 1;
        }
        Ok(n)
    }

    /// How many documents are left once the last ones are dropped that make up `excess` tokens.
    fn drop_back(&mut self, others: &[usize], mut n: usize, excess: u32) -> Result<usize> {
        let mut dropped = 0_u32;
        while n > 0 && dropped < excess {
            n -= 1;
            dropped = dropped.saturating_add(self.count(others[n])?.max(1));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::Prompt;
    use crate::task::testing::{WordCounter, params};

    fn file(dir: &Path, questions: usize) -> Params {
        let rows: Vec<String> = (0..questions)
            .map(|i| {
                let context = format!(
                    "Town number {i} lies on river {i}. {} Its mayor is Person{i}x.",
                    "It is calm there. ".repeat(3 + i % 5)
                );
                json!({"id": format!("q{i}"), "question": format!("Who is the mayor of town number {i}?"),
                    "answers": [format!("Person{i}x"), format!("P. {i}x")], "context": context})
                .to_string()
            })
            .collect();
        let path = dir.join("qa.jsonl");
        std::fs::write(&path, rows.join("\n")).unwrap();
        Params { file: Some(path), ..params(1024, 8, None) }
    }

    fn text(case: &Case) -> &str {
        match &case.prompt {
            Prompt::Chat { messages, .. } => &messages[0].content,
            Prompt::Distributions { .. } => "",
        }
    }

    #[test]
    fn documents_fill_the_context_around_the_own_one() {
        let dir = tempfile::tempdir().unwrap();
        let params = file(dir.path(), 60);
        let counter = WordCounter::default();
        let cases = Qa.cases(&params, 1, &counter).unwrap();
        assert!(counter.counts.get() <= 8 * (1 + COUNTS), "{} counts", counter.counts.get());
        assert_eq!(cases, Qa.cases(&params, 1, &WordCounter::default()).unwrap());
        assert_ne!(cases, Qa.cases(&params, 2, &WordCounter::default()).unwrap());
        for (i, case) in cases.iter().enumerate() {
            let used = case.prompt_tokens + case.max_tokens;
            assert!(used <= 1024 && used > 1024 - 100, "{used}");
            let Prompt::Chat { messages, .. } = &case.prompt else { panic!() };
            assert_eq!(case.prompt_tokens, counter.count_chat(messages, &[]).unwrap());
            assert_eq!(text(case).matches(&format!("Person{i}x")).count(), 1, "the answer stands once");
            assert!(text(case).matches("\nDocument ").count() > 4);
            let place = text(case).find(&format!("Person{i}x")).unwrap() as f64 / text(case).len() as f64;
            assert!((place - case.depth.unwrap()).abs() < 0.25, "{place} {:?}", case.depth);
            assert_eq!(Qa.score(case, &Qa.perfect(case).unwrap()).score().unwrap().quality, Some(1.0));
            let one = Reply { content: format!("p. {i}X"), ..Reply::default() };
            assert_eq!(Qa.score(case, &one).score().unwrap().quality, Some(1.0), "any answer will do");
        }
    }

    #[test]
    fn a_small_file_leaves_room_and_a_small_context_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut params = file(dir.path(), 8);
        params.context = 8192;
        let cases = Qa.cases(&params, 1, &WordCounter::default()).unwrap();
        assert!(cases.iter().all(|case| text(case).matches("\nDocument ").count() == 8));
        params.context = 128;
        let error = Qa.cases(&params, 1, &WordCounter::default()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.hints().iter().any(|hint| hint.contains("question 1 of")), "{:?}", error.hints());
    }

    #[test]
    fn other_documents_with_the_answer_stay_out() {
        let question = |text: &str| question(text).unwrap();
        let all = [
            question(r#"{"id": 1, "question": "?", "answers": ["Rome"], "documents": ["one", "two"]}"#),
            question(
                r#"{"id": 2, "question": "?", "answers": ["x"], "documents": ["to rome", "elsewhere"]}"#,
            ),
        ];
        let counter = WordCounter::default();
        let library = Library::new(&all, &counter);
        let others = library.others(&all[0], &mut Random::of_task(1, "t"));
        assert_eq!(others.iter().map(|&at| library.documents[at]).collect::<Vec<_>>(), ["elsewhere"]);
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (text, named) in [
            (r#"{"id": 1, "question": "?", "answers": ["a"]}"#, "either `context`"),
            (r#"{"id": 1, "question": "?", "answers": [], "context": "x"}"#, "nothing to score against"),
            (r#"{"id": 1, "question": "?", "answers": ["a"], "documents": []}"#, "either `context`"),
            (r#"{"question": "?"}"#, "`id`"),
        ] {
            let error = question(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
