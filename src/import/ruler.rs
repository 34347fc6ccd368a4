//! RULER's own files (NVIDIA/RULER, Apache-2.0): `{index, input, outputs, length, answer_prefix}` a line, as its
//! `prepare.py` writes them. Scores are those of its `string_match_all` and `string_match_part`.
//!
//! Several of its generators write the place of the answer over `index`, so that lines of one file share it. Where any
//! two lines with other inputs do, all cases of the file are named by their line (from 1), and so are their clusters.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::answers::{self, OUTPUT_TOKENS, output_tokens};
use super::format::{Format, Imported, Matching, TakeCase};
use super::lines::{Line, lines};
use super::suite_file::{bad_line, file_at, size, too_few};
use super::values::{name_of, references};
use crate::error::Result;
use crate::record::{Case, Message, Mode, Outcome, Prompt, Reply, short_hash};
use crate::task::{Card, Emit, Needs, Params, Task, TaskOption, TokenCounter, collected};

/// Name of the task that imported cases belong to.
const TASK: &str = "retrieval/ruler";

static OPTIONS: &[TaskOption] = &[
    output_tokens(
        128,
        "output budget in tokens (RULER's own: 128, 30 variable tracking, 120 and 50 common and frequent words, 32 qa)",
    ),
    TaskOption {
        name: "match_part",
        help: "1: any one of the references is enough (RULER's qa); 0: the share of all that are found",
        default: 0,
        min: 0,
        max: 1,
        difficulty: None,
    },
];

/// RULER's files, as a format for scoring and as the task `retrieval/ruler`.
#[derive(Debug)]
pub struct Ruler;

#[derive(Deserialize)]
struct Row {
    index: Value,
    input: String,
    outputs: Vec<Value>,
    length: u32,
    #[serde(default)]
    answer_prefix: String,
}

fn row(text: &str) -> Result<Row, String> {
    serde_json::from_str(text).map_err(|error| format!("not a line of RULER's: {error}"))
}

/// How the cases of a file are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// By RULER's index.
    Index,
    /// By their line, as lines share an index.
    Line(usize),
}

/// A line's index, and what it asks.
#[derive(Deserialize)]
struct Indexed {
    index: Value,
    input: String,
}

/// Which inputs the indices of a file stand for.
#[derive(Default)]
struct Indices {
    inputs: HashMap<String, String>,
    /// Whether one index stands for two inputs. A line that is there twice is a mistake of another kind.
    repeats: bool,
}

impl Indices {
    fn add(&mut self, index: String, input: &str) {
        let input = short_hash(input.as_bytes());
        let known = self.inputs.entry(index).or_insert_with(|| input.clone());
        self.repeats |= *known != input;
    }

    /// Of a file. Lines that cannot be read are somebody else's to tell of.
    fn of(path: &Path) -> Result<Self> {
        let mut indices = Self::default();
        lines(path, |_, text| {
            let row = text.ok().and_then(|text| serde_json::from_str::<Indexed>(text).ok());
            let named = row.and_then(|row| Some((name_of(&row.index).ok()?, row.input)));
            if let Some((index, input)) = named {
                indices.add(index, &input);
            }
            Ok(())
        })?;
        Ok(indices)
    }
}

/// What the file says of a case; how it is sent is filled in by the caller.
fn case(row: &Row, naming: Naming, matching: Matching, mode: Mode, index: u32) -> Result<Imported, String> {
    let own = name_of(&row.index).map_err(|error| format!("`index`: {error}"))?;
    let id = match naming {
        Naming::Index => own.clone(),
        Naming::Line(number) => number.to_string(),
    };
    let references = references(&row.outputs, "outputs")?;
    let mut target = answers::target(&references, matching, &id);
    target["answer_prefix"] = row.answer_prefix.as_str().into();
    if naming != Naming::Index {
        target[answers::INDEX] = own.into();
    }
    let case = Case {
        context: row.length,
        depth: place(&row.input, &references),
        // RULER's own count, the reply's tokens included.
        prompt_tokens: row.length,
        ..answers::case(&Ruler, index, &id, messages(row, mode), target)
    };
    Ok(Imported { id, case })
}

/// The input, and in prefill mode the first words of an answer. RULER puts a blank on both sides of these: the
/// first is the template's affair, the second would be a token that no text has there.
fn messages(row: &Row, mode: Mode) -> Vec<Message> {
    let prefix = row.answer_prefix.trim();
    let began = (mode == Mode::Prefill && !prefix.is_empty()).then(|| Message::prefill(prefix));
    std::iter::once(Message::user(&row.input)).chain(began).collect()
}

/// Where the only answer stands in the input (0..1); none when there are several, or it stands there not once.
fn place(input: &str, references: &[String]) -> Option<f64> {
    let [only] = references else { return None };
    let mut found = input.match_indices(only.as_str());
    match (found.next(), found.next()) {
        (Some((at, _)), None) if !only.is_empty() => Some(at as f64 / input.len() as f64),
        _ => None,
    }
}

/// A case that was named by its line, by its index.
fn by_index(Imported { id, mut case }: Imported) -> Imported {
    let index = case.target.as_object_mut().and_then(|target| target.remove(answers::INDEX));
    let Some(Value::String(index)) = index else { return Imported { id, case } };
    case.target["source"] = index.as_str().into();
    case.cluster = answers::cluster(TASK, &index).into();
    Imported { case: case.seal(), id: index }
}

impl Ruler {
    fn named(&self, line: &Line<'_>, naming: Naming, matching: Option<Matching>) -> Result<Imported, String> {
        let row = row(line.text)?;
        let matching = matching.unwrap_or(Matching::All);
        let Imported { id, case } = case(&row, naming, matching, Mode::Chat, answers::index_of(line))?;
        Ok(Imported { id, case: case.seal() })
    }
}

impl Format for Ruler {
    fn name(&self) -> &'static str {
        "ruler"
    }

    fn summary(&self) -> &'static str {
        "RULER's own lines {index, input, outputs, length, answer_prefix}"
    }

    fn case(&self, line: &Line<'_>, matching: Option<Matching>) -> Result<Imported, String> {
        self.named(line, Naming::Index, matching)
    }

    /// The file is read once, as it may be a pipe: where a second line has an index that was there, all that was read
    /// so far is named again.
    fn read(&self, file: &Path, matching: Option<Matching>, each: TakeCase<'_>) -> Result<()> {
        let mut read = Vec::new();
        lines(file, |number, text| {
            let named =
                text.and_then(|text| self.named(&Line { number, text }, Naming::Line(number), matching));
            read.push((number, named));
            Ok(())
        })?;
        let mut indices = Indices::default();
        for case in read.iter().filter_map(|(_, one)| one.as_ref().ok()).map(|one| &one.case) {
            if let (Some(index), Prompt::Chat { messages, .. }) = (answers::ruler_index(case), &case.prompt) {
                indices.add(index.to_owned(), &messages[0].content);
            }
        }
        let repeats = indices.repeats;
        if repeats {
            tracing::warn!(
                "{}: lines share an `index` (RULER's generators write the answer's place over it): cases are named by \
                 line",
                file.display()
            );
        }
        for (number, named) in read {
            let named = named.map(|one| if repeats { one } else { by_index(one) });
            each(format!("{}:{number}", file.display()), named)?;
        }
        Ok(())
    }
}

impl Task for Ruler {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "cases of RULER's own files, scored as RULER does (the import of published tasks)",
            options: OPTIONS,
            needs: Needs { modes: &[Mode::Chat, Mode::Prefill], reads_file: true, ..Needs::LONG },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    /// The first lines of the file, as many as the suite asks for: nothing is drawn, the seed is not used.
    fn each_case(&self, params: &Params, _: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let path = file_at(TASK, params)?;
        let matching =
            if params.option(&self.card(), "match_part") == 1 { Matching::Part } else { Matching::All };
        let max_tokens = self.max_tokens(params);
        let by_line = Indices::of(&path)?.repeats;
        let mut made = 0;
        lines(&path, |number, text| {
            if made == params.samples {
                return Ok(());
            }
            let bad = |reason: String| bad_line(&path, number, &reason);
            let naming = if by_line { Naming::Line(number) } else { Naming::Index };
            let Imported { mut case, .. } = text
                .and_then(row)
                .and_then(|row| case(&row, naming, matching, params.mode, made))
                .map_err(bad)?;
            if let Some(reason) = size(&mut case, params.context, max_tokens, tokens)? {
                return Err(bad(reason)
                    .hint("make RULER's file for a smaller length, or give the task a larger context")
                    .hint("`{context}` in `file` stands for the context length: one file for each"));
            }
            made += 1;
            emit(case.seal())
        })?;
        if made < params.samples {
            return Err(too_few(TASK, &path, made as usize, params.samples));
        }
        Ok(())
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        answers::score(case, reply)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        answers::perfect(case)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::error::Kind;
    use crate::task::testing::{WordCounter, params};

    fn line(index: usize, input: &str, outputs: &str) -> String {
        format!(
            r#"{{"index": {index}, "input": {input:?}, "outputs": {outputs}, "length": 500, "answer_prefix": " It is"}}"#
        )
    }

    fn imported(text: &str, matching: Option<Matching>) -> Result<Imported, String> {
        Format::case(&Ruler, &Line { number: 1, text }, matching)
    }

    fn quality(outputs: &str, matching: Matching, content: &str) -> f64 {
        let case = imported(&line(0, "?", outputs), Some(matching)).unwrap().case;
        let reply = Reply { content: content.into(), ..Reply::default() };
        answers::score(&case, &reply).score().unwrap().quality.unwrap()
    }

    /// By hand from RULER's eval/synthetic/constants.py and eval/evaluate.py.
    #[test]
    fn scores_are_those_of_the_published_rules() {
        use Matching::{All, Part};
        for (outputs, matching, content, expected) in [
            (r#"["Blue-Fox"]"#, All, "the blue-fox.", 1.0),
            (r#"["1","2","3","4"]"#, All, "1 and 3", 0.5),
            (r#"["1","2","3"]"#, All, "3", 1.0 / 3.0),
            (r#"["1","2","3"]"#, Part, "3", 1.0),
            (r#"["1","2"]"#, Part, "4", 0.0),
            (r#"["12"]"#, All, "312", 1.0),
            (r#"["12"]"#, All, "1\u{0}2", 0.0),
            (r#"["12"]"#, All, "1\u{7f}2", 0.0),
            (r#"["1\n2"]"#, All, "1\t2", 1.0),
            (r#"["a\u007fb"]"#, All, "a\u{7f}b", 1.0),
            (r#"["x"]"#, All, "", 0.0),
            (r#"["a", "a"]"#, All, "A", 1.0),
            ("[12]", All, "it is 12", 1.0),
        ] {
            assert_eq!(quality(outputs, matching, content), expected, "{outputs} {matching:?} {content:?}");
        }
    }

    #[test]
    fn reasoning_is_no_answer_and_a_spent_budget_has_its_own_label() {
        let case = imported(&line(0, "?", r#"["12"]"#), None).unwrap().case;
        let reply = Reply {
            reasoning: "12".into(),
            finish_reason: Some(crate::record::FinishReason::Length),
            ..Reply::default()
        };
        let outcome = answers::score(&case, &reply);
        let score = outcome.score().unwrap();
        assert_eq!((score.quality, score.label.as_deref()), (Some(0.0), Some("truncated")));
    }

    #[test]
    fn lines_keep_their_names_and_places() {
        let one = imported(&line(41, "0123 4567 89", r#"["4567"]"#), None).unwrap();
        assert_eq!((one.id.as_str(), one.case.depth), ("41", Some(5.0 / 12.0)));
        assert_eq!(one.case.clone().seal().id, one.case.id);
        for (input, outputs) in [("7 7", r#"["7"]"#), ("1 2", r#"["1","2"]"#), ("x", r#"["9"]"#)] {
            assert_eq!(imported(&line(0, input, outputs), None).unwrap().case.depth, None);
        }
    }

    /// As the needle tasks' generator writes them: the answer's place stands over the index.
    #[test]
    fn cases_are_named_by_line_where_lines_share_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let read = |rows: &[String]| {
            std::fs::write(&path, rows.join("\n")).unwrap();
            let mut read = Vec::new();
            let mut take = |_: String, one: Result<Imported, String>| {
                read.push(one.unwrap());
                Ok(())
            };
            Format::read(&Ruler, &path, None, &mut take).unwrap();
            read
        };
        let own = [line(5, "a 1", r#"["1"]"#), line(9, "b 2", r#"["2"]"#)];
        let names = |read: &[Imported]| read.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let by_index = read(&own);
        assert_eq!(names(&by_index), ["5", "9"]);
        assert_eq!(by_index[0], imported(&own[0], None).unwrap(), "as each line by itself");
        let shared = [&own[..], &[String::new(), line(9, "c 3", r#"["3"]"#)]].concat();
        let by_line = read(&shared);
        assert_eq!(names(&by_line), ["1", "2", "4"]);
        let clusters: HashSet<&str> = by_line.iter().map(|one| one.case.cluster.as_str()).collect();
        assert_eq!(clusters.len(), 3, "{clusters:?}");
        assert!(by_line.iter().all(|one| one.case.clone().seal().id == one.case.id));

        let mut params = params(2048, 3, None);
        params.file = Some(path.clone());
        let cases = Ruler.cases(&params, 1, &WordCounter::default()).unwrap();
        let clusters: HashSet<&str> = cases.iter().map(|case| case.cluster.as_str()).collect();
        assert_eq!(clusters.len(), 3, "a suite's cases, too: {clusters:?}");
    }

    #[test]
    fn thinking_is_no_answer_and_the_published_figure_stands_beside() {
        let case = imported(&line(0, "?", r#"["12", "34"]"#), None).unwrap().case;
        for (content, quality, published) in [
            ("<think>12 and 34</think>It is 12.", 0.5, 1.0),
            ("12 and 34</think>Neither.", 0.0, 1.0),
            ("[THINK]12 and 34", 0.0, 1.0),
            (
                "<|channel|>analysis<|message|>34<|end|><|start|>assistant<|channel|>final<|message|>12",
                0.5,
                1.0,
            ),
            ("12 and 34", 1.0, 1.0),
        ] {
            let reply = Reply { content: content.into(), ..Reply::default() };
            let outcome = answers::score(&case, &reply);
            let score = outcome.score().unwrap();
            let by_ruler = score.metrics.get("published").copied().or(score.quality);
            assert_eq!((score.quality, by_ruler), (Some(quality), Some(published)), "{content}");
        }
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (text, named) in [
            ("{}", "index"),
            (r#"{"index": 0, "input": "x", "outputs": [], "length": 5}"#, "nothing to score against"),
            (r#"{"index": 0, "input": "x", "outputs": [{}], "length": 5}"#, "an object"),
            (r#"{"index": 0, "input": "x", "outputs": "y", "length": 5}"#, "sequence"),
            ("[", "EOF"),
        ] {
            let error = imported(text, None).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_suite_reads_the_first_lines_for_each_context() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<String> =
            (0..3).map(|i| line(i, &format!("note {i}1"), &format!("[\"{i}1\"]"))).collect();
        std::fs::write(dir.path().join("c512.jsonl"), rows.join("\n")).unwrap();
        let mut params = params(512, 2, None);
        params.file = Some(dir.path().join("c{context}.jsonl"));
        let cases = Ruler.cases(&params, 1, &WordCounter::default()).unwrap();
        assert_eq!(cases.iter().map(|case| case.index).collect::<Vec<_>>(), [0, 1]);
        assert!(
            cases.iter().all(|case| case.context == 512 && case.max_tokens == 128 && case.prompt_tokens < 20)
        );
        for case in &cases {
            assert_eq!(Ruler.score(case, &Ruler.perfect(case).unwrap()).score().unwrap().quality, Some(1.0));
        }

        params.mode = Mode::Prefill;
        for (case, chat) in Ruler.cases(&params, 1, &WordCounter::default()).unwrap().iter().zip(&cases) {
            let Prompt::Chat { messages, .. } = &case.prompt else { panic!() };
            assert_eq!(crate::record::prefill(messages), Some("It is"), "the blanks around it are not sent");
            assert!(case.prompt_tokens > chat.prompt_tokens && case.id != chat.id);
        }
        params.mode = Mode::Chat;

        params.samples = 4;
        let error = Ruler.cases(&params, 1, &WordCounter::default()).unwrap_err();
        assert!(error.to_string().contains("holds 3 cases, 4 are asked for"), "{error}");

        std::fs::write(dir.path().join("c512.jsonl"), line(0, &"word ".repeat(600), "[\"1\"]")).unwrap();
        let error = Ruler.cases(&params, 1, &WordCounter::default()).unwrap_err();
        assert_eq!((error.kind(), error.hints().len()), (Kind::Usage, 2));
        assert!(error.to_string().contains("c512.jsonl:1: the prompt has"), "{error}");
    }
}
