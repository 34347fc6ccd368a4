//! `score`: replies against cases or a run's own, with today's rules and without a server.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::runs;
use crate::cli::{Global, ScoreArgs};
use crate::error::{EXIT_INCOMPLETE, EXIT_OK, EXIT_RUNTIME, Error, Result, nearest};
use crate::import::answers::PUBLISHED;
use crate::import::replies::{self, Answered};
use crate::import::{self, Format, Matching};
use crate::record::{Case, HeldCase, Outcome, Prompt, Reply, Trial};
use crate::{console, task};

mod line;
mod schema;

pub(super) use line::ScoreLine;

pub(super) fn score(args: &ScoreArgs, global: &Global) -> Result<u8> {
    match (&args.cases, &args.schema, &args.replies, &args.run) {
        (Some(cases), None, Some(replies), None) => {
            let (format, file) = format_of(cases)?;
            ScoredCases::new(format, &file, args.matching)?.replies(replies)
        }
        (None, Some(file), Some(replies), None) => schema::score(file, replies),
        (None, None, None, Some(run)) => run_again(&runs::find(&global.runs_dir, run)?),
        _ => Err(Error::usage("name either a run, or --replies with --cases or --schema")),
    }
}

/// `FORMAT:FILE`, or a file of kneepoint's own.
fn format_of(text: &str) -> Result<(&'static dyn Format, PathBuf)> {
    match text.split_once(':') {
        Some((name, file)) if !Path::new(text).exists() => match import::find(name) {
            Some(format) => Ok((format, file.into())),
            None => {
                let error = Error::usage(format!("unknown format of cases `{name}`"));
                let names = || import::FORMATS.iter().map(|format| format.name());
                Err(match nearest(name, names()) {
                    Some(near) => error.hint(format!("did you mean `{near}:{file}`?")),
                    None => error.hint(format!("known: {}", names().collect::<Vec<_>>().join(", "))),
                })
            }
        },
        _ => Ok((&import::own::Own, text.into())),
    }
}

/// Cases in memory, and what has become of them.
struct ScoredCases {
    format: &'static dyn Format,
    order: Vec<String>,
    cases: HashMap<String, Case>,
    answered: HashSet<String>,
    /// For files of predictions, made when the first one comes: cases by index and by input, the next one first.
    predicted: Option<Predicted>,
    errors: usize,
    quality: Mean,
    /// What the published scorer says, where the task has one.
    published: Mean,
}

/// A mean in the making.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        self.count += usize::from(value.is_some());
        self.sum += value.unwrap_or_default();
    }

    /// In percent; `None` of nothing.
    fn percent(&self) -> Option<String> {
        (self.count > 0).then(|| format!("{:.2}%", self.sum / self.count as f64 * 100.0))
    }
}

/// Cases that no prediction has answered yet. RULER writes predictions in the order of the cases, so that of several
/// cases with one index the first is meant first.
#[derive(Default)]
struct Predicted {
    by_index: HashMap<String, VecDeque<String>>,
    by_input: HashMap<u64, VecDeque<String>>,
    used: HashSet<String>,
}

impl Predicted {
    fn of(order: &[String], cases: &HashMap<String, Case>) -> Self {
        let mut predicted = Self::default();
        for id in order {
            let Some(case) = cases.get(id) else { continue };
            let index = import::prediction_name(case).unwrap_or(id).to_owned();
            predicted.by_index.entry(index).or_default().push_back(id.clone());
            if let Some(input) = input_of(case) {
                predicted.by_input.entry(hash(input)).or_default().push_back(id.clone());
            }
        }
        predicted
    }

    /// The case of the next prediction: by what was asked, else by its index.
    fn next(&mut self, index: &str, input: Option<&str>) -> Option<String> {
        let used = &mut self.used;
        let mut take = |queue: Option<&mut VecDeque<String>>| {
            let queue = queue?;
            std::iter::from_fn(|| queue.pop_front()).find(|id| used.insert(id.clone()))
        };
        let by_input = take(input.and_then(|input| self.by_input.get_mut(&hash(input))));
        by_input.or_else(|| take(self.by_index.get_mut(index)))
    }
}

/// What a case asks, as a file of predictions repeats it.
fn input_of(case: &Case) -> Option<&str> {
    match &case.prompt {
        Prompt::Chat { messages, .. } => messages.first().map(|message| message.content.as_str()),
        Prompt::Distributions { .. } => None,
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl ScoredCases {
    /// Reads the cases; lines that cannot be read are printed as errors.
    fn new(format: &'static dyn Format, file: &Path, matching: Option<Matching>) -> Result<Self> {
        let mut scoring = Self {
            format,
            order: Vec::new(),
            cases: HashMap::new(),
            answered: HashSet::new(),
            predicted: None,
            errors: 0,
            quality: Mean::default(),
            published: Mean::default(),
        };
        format.read(file, matching, &mut |place, read| match read.and_then(|one| scoring.add(one)) {
            Ok(()) => Ok(()),
            Err(reason) => scoring.error(None, format!("{place}: {reason}")),
        })?;
        Ok(scoring)
    }

    fn add(&mut self, one: import::Imported) -> Result<(), String> {
        if self.cases.contains_key(&one.id) {
            return Err(format!("a case named {} stands further up", one.id));
        }
        self.order.push(one.id.clone());
        self.cases.insert(one.id, one.case);
        Ok(())
    }

    fn error(&mut self, case: Option<String>, error: String) -> Result<()> {
        self.errors += 1;
        ScoreLine { case, error: Some(error), ..ScoreLine::default() }.print()
    }

    /// Scores every reply in the order of its file, then names the cases without one.
    fn replies(mut self, file: &Path) -> Result<u8> {
        import::lines(file, |number, text| {
            let place = format!("{}:{number}", file.display());
            match text.and_then(replies::parse) {
                Ok(answer) => match self.case_of(answer.case) {
                    Ok(case) => self.reply(&case, &answer.reply, &place),
                    Err(index) => self.error(
                        Some(index.clone()),
                        format!("{place}: no case of index {index} is left for this prediction"),
                    ),
                },
                Err(reason) => self.error(None, format!("{place}: {reason}")),
            }
        })?;
        let silent: Vec<String> =
            self.order.iter().filter(|id| !self.answered.contains(*id)).cloned().collect();
        for id in &silent {
            let error = Some("no reply to this case".to_owned());
            let task = self.cases.get(id).map(|case| case.task.into());
            ScoreLine { case: Some(id.clone()), task, error, ..ScoreLine::default() }.print()?;
        }
        self.say(silent.len());
        Ok(match (self.errors, silent.len()) {
            (0, 0) => EXIT_OK,
            (0, _) => EXIT_INCOMPLETE,
            _ => EXIT_RUNTIME,
        })
    }

    /// The name of the case that a reply answers.
    ///
    /// # Errors
    /// The index of a prediction for which no case is left.
    fn case_of(&mut self, answered: Answered) -> Result<String, String> {
        match answered {
            Answered::Case(id) => Ok(id),
            Answered::Prediction { index, input } => {
                let predicted = self.predicted.get_or_insert_with(|| Predicted::of(&self.order, &self.cases));
                predicted.next(&index, input.as_deref()).ok_or(index)
            }
        }
    }

    fn reply(&mut self, id: &str, reply: &Reply, place: &str) -> Result<()> {
        let Some(case) = self.cases.get(id) else {
            return self.error(Some(id.to_owned()), format!("{place}: there is no such case"));
        };
        let Some(task) = task::find(&case.task) else {
            let error = format!("{place}: this kneepoint has no task {}", case.task);
            return self.error(Some(id.to_owned()), error);
        };
        let outcome = task.judge(case, reply);
        self.answered.insert(id.to_owned());
        let score = outcome.score();
        let quality = score.and_then(|score| score.quality);
        self.quality.add(quality);
        self.published.add(score.and_then(|score| score.metrics.get(PUBLISHED).copied()).or(quality));
        let verdict = self.format.verdict(case, reply);
        ScoreLine {
            case: Some(id.to_owned()),
            task: Some(case.task.into()),
            outcome: Some(outcome),
            valid: verdict.as_ref().map(|verdict| verdict.valid),
            error: verdict.and_then(|verdict| verdict.error),
            ..ScoreLine::default()
        }
        .print()
    }

    fn say(&self, silent: usize) {
        let mean = self.quality.percent();
        let published = self.published.percent().filter(|published| Some(published) != mean.as_ref());
        let published =
            published.map_or(String::new(), |published| format!(" ({published} by the published rule)"));
        let mean = mean.map_or(String::new(), |mean| format!(", mean score {mean}{published}"));
        console::note(&format!(
            "{} replies scored{mean}; {silent} cases without a reply, {} errors",
            self.quality.count, self.errors
        ));
    }
}

/// Judges the replies of a run again. What broke stays broken: its reply was not to what was asked.
fn run_again(folder: &Path) -> Result<u8> {
    let journal = super::output::open(folder)?;
    let cases: HashMap<&str, &Case> = journal.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let held: HashMap<&str, &HeldCase> =
        journal.held.cases.iter().map(|held| (held.case.as_str(), held)).collect();
    let mut changed = 0;
    for trial in &journal.trials {
        let now = judge_again(trial, cases.get(trial.case.as_str()).copied());
        let now = match held.get(trial.case.as_str()) {
            Some(held) => held.counted(now),
            None => now,
        };
        let differs = now != trial.outcome;
        changed += usize::from(differs);
        ScoreLine {
            case: (!trial.case.is_empty()).then(|| trial.case.to_string()),
            task: Some(trial.key.task.to_string()),
            trial: Some(trial.key),
            before: differs.then(|| trial.outcome.clone()),
            changed: Some(differs),
            outcome: Some(now),
            ..ScoreLine::default()
        }
        .print()?;
    }
    let trials = journal.trials.len();
    console::note(&format!("{trials} trials, {changed} with another judgement than in the journal"));
    Ok(EXIT_OK)
}

fn judge_again(trial: &Trial, case: Option<&Case>) -> Outcome {
    let again = match (&trial.outcome, &trial.reply, case) {
        (Outcome::Failed { .. }, ..) => None,
        (_, Some(reply), Some(case)) => task::find(&case.task).map(|task| task.judge(case, reply)),
        _ => None,
    };
    again.unwrap_or_else(|| trial.outcome.clone())
}
