//! RULER's own files (NVIDIA/RULER, Apache-2.0): `{index, input, outputs, length, answer_prefix}` a line, as its
//! `prepare.py` writes them. Scores are those of its `string_match_all` and `string_match_part`.

use serde::Deserialize;
use serde_json::Value;

use super::answers::{self, OUTPUT_TOKENS, output_tokens};
use super::{Format, Imported, Line, Matching, bad_line, file_at, lines, name_of, references, size, too_few};
use crate::error::Result;
use crate::task::{Card, Emit, Params, Task, TaskOption, TokenCounter, collected};
use crate::trial::{Case, Message, Mode, Outcome, Reply};

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

/// What the file says of a case; how it is sent is filled in by the caller.
fn case(row: &Row, matching: Matching, mode: Mode, index: u32) -> Result<Imported, String> {
    let id = name_of(&row.index).map_err(|error| format!("`index`: {error}"))?;
    let references = references(&row.outputs, "outputs")?;
    let mut target = answers::target(&references, matching, &id);
    target["answer_prefix"] = row.answer_prefix.as_str().into();
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

impl Format for Ruler {
    fn name(&self) -> &'static str {
        "ruler"
    }

    fn summary(&self) -> &'static str {
        "RULER's own lines {index, input, outputs, length, answer_prefix}"
    }

    fn case(&self, line: &Line<'_>, matching: Option<Matching>) -> Result<Imported, String> {
        let row = row(line.text)?;
        let Imported { id, case } =
            case(&row, matching.unwrap_or(Matching::All), Mode::Chat, answers::index_of(line))?;
        Ok(Imported { id, case: case.seal() })
    }
}

impl Task for Ruler {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "cases of RULER's own files, scored as RULER does (the import of published tasks)",
            options: OPTIONS,
            ..Card::PRIMARY
        }
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Chat, Mode::Prefill]
    }

    fn reads_file(&self) -> bool {
        true
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(self, OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    /// The first lines of the file, as many as the suite asks for: nothing is drawn, the seed is not used.
    fn each_case(&self, params: &Params, _: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let path = file_at(TASK, params)?;
        let matching = if params.option(self, "match_part") == 1 { Matching::Part } else { Matching::All };
        let max_tokens = self.max_tokens(params);
        let mut made = 0;
        lines(&path, |number, text| {
            if made == params.samples {
                return Ok(());
            }
            let bad = |reason: String| bad_line(&path, number, &reason);
            let Imported { mut case, .. } =
                text.and_then(row).and_then(|row| case(&row, matching, params.mode, made)).map_err(bad)?;
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
    use super::*;
    use crate::error::Kind;
    use crate::task::conformance::{WordCounter, params};
    use crate::trial::Prompt;

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
            finish_reason: Some(crate::trial::FinishReason::Length),
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
            assert_eq!(crate::trial::prefill(messages), Some("It is"), "the blanks around it are not sent");
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
