//! What keeps a server's prefix cache, by the change between two requests; and whether warm answers are the cold ones.

use std::collections::{BTreeMap, HashMap};

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{Estimate, PrefixCacheRow};
use super::{figures, speed};
use crate::record::{Case, Reply, Served, Trial};
use crate::task::serving::Variant;
use crate::task::{Comparison, WarmAndCold};

/// One case that was asked three times.
struct Asked<'a> {
    launch: u32,
    warm: &'a Reply,
    cold: &'a Reply,
    compared: WarmAndCold,
}

impl Asked<'_> {
    fn warm(&self) -> Served {
        self.warm.served.unwrap_or_default()
    }

    /// How the cold request was served, unless the server took from its cache all the same.
    fn cold(&self) -> Option<Served> {
        self.cold.served.filter(|served| served.cached_tokens.is_none_or(|cached| cached == 0))
    }

    fn ratio(&self) -> Option<f64> {
        let (warm, cold) = (self.warm().ttft_s?, self.cold()?.ttft_s?);
        (cold > 0.0).then(|| warm / cold)
    }
}

/// The rows of every setting and change, by context, in suite order.
pub(crate) fn rows(run: &Run<'_>) -> Vec<PrefixCacheRow> {
    let warm = warm(run);
    let of_tasks = run.journal.cases.iter().filter(|case| warm.contains_key(case.task.as_str()));
    let cases: HashMap<&str, (&Case, Comparison)> =
        of_tasks.map(|case| (case.id.as_str(), (case, warm[case.task.as_str()]))).collect();
    if cases.is_empty() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        for setting in &run.suite.settings {
            let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
            let mut by_change: BTreeMap<Variant, Vec<Asked<'_>>> = BTreeMap::new();
            for asked in asked(run, &cases, visit) {
                by_change.entry(asked.compared.change).or_default().push(asked);
            }
            rows.extend(by_change.iter().map(|(change, asked)| row(run, visit, *change, asked)));
        }
    }
    rows
}

/// The suite's tasks that lay a warm reply beside the cold one, and how.
fn warm<'a>(run: &Run<'a>) -> HashMap<&'a str, Comparison> {
    let of_task = run.suite.tasks.iter().map(|spec| (&*spec.name, run.tasks.comparison(&spec.name)));
    of_task.filter(|(_, comparison)| matches!(comparison, Comparison::Warm(_))).collect()
}

/// What was asked in a visit; nothing of a void cell. A case that is not scored still shows what the server did.
fn asked<'a>(
    run: &Run<'a>,
    cases: &HashMap<&str, (&'a Case, Comparison)>,
    visit: VisitKey<'_>,
) -> Vec<Asked<'a>> {
    if run.void.contains_key(&(visit.setting, visit.context)) {
        return Vec::new();
    }
    let asked = |trial: &'a Trial| {
        let turns: Vec<&'a Reply> = trial.reply.as_ref()?.turns().collect();
        let &[_, warm, cold] = turns.as_slice() else { return None };
        let (case, comparison) = cases.get(trial.case.as_str())?;
        let compared = comparison.warm(case, warm, cold)?;
        Some(Asked { launch: trial.launch, warm, cold, compared })
    };
    run.trials(visit).filter_map(asked).collect()
}

fn row(run: &Run<'_>, visit: VisitKey<'_>, variant: Variant, asked: &[Asked<'_>]) -> PrefixCacheRow {
    let median = |what: &str, of: &dyn Fn(&Asked<'_>) -> Option<f64>| -> Option<Estimate> {
        let mut by_launch: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for one in asked {
            by_launch.entry(one.launch).or_default().extend(of(one));
        }
        let visits: Vec<Vec<f64>> = by_launch.into_values().filter(|values| !values.is_empty()).collect();
        let purpose = format!("cache {what} {} {} {}", visit.context, variant.name(), visit.setting);
        speed::estimate(&visits, run.resampling, &purpose).map(|(estimate, _)| estimate)
    };
    let mean = |of: fn(&Served) -> Option<f64>| {
        let shares: Vec<f64> = asked.iter().filter_map(|one| of(&one.warm())).collect();
        figures::share(&shares, run.resampling.confidence)
    };
    let compared: Vec<&Asked<'_>> = asked.iter().filter(|one| one.cold().is_some()).collect();
    let count = |of: &dyn Fn(&Asked<'_>) -> bool| compared.iter().filter(|one| of(one)).count() as u32;
    PrefixCacheRow {
        setting: visit.setting.into(),
        context: visit.context,
        variant: variant.name().into(),
        cases: asked.len() as u32,
        possible: mean(Served::possible),
        reused: mean(Served::reused),
        warm_ttft_s: median("warm", &|one| one.warm().ttft_s),
        cold_ttft_s: median("cold", &|one| one.cold()?.ttft_s),
        ttft_ratio: median("ratio", &|one| one.ratio()),
        compared: compared.len() as u32,
        same: count(&|one| one.compared.same_text),
        right_warm: count(&|one| one.compared.right_warm),
        right_cold: count(&|one| one.compared.right_cold),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Registry, testing};
    use super::*;
    use crate::record::KeyParts;
    use crate::record::journal::Journal;
    use crate::task::Task as _;
    use crate::task::serving::prefix_cache::PrefixCache;
    use crate::task::testing::{WordCounter, params};

    /// A run whose server keeps what it can, but for a conversation that goes on, and answers a question of the same
    /// system prompt otherwise when it is warm.
    fn journal(cached_when_cold: u32) -> Journal {
        let text = format!(
            "name = \"t\"\ncontexts = [2048]\ndraws = 200\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
             weights = \"Q8_0\"\n[reference]\n[[task]]\nname = \"{}\"\nsamples = 14\n",
            PrefixCache.card().name
        );
        let suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
        let label = suite.reference().label.clone();
        let mut journal = Journal::new(testing::header(suite));
        for case in PrefixCache.cases(&params(2048, 14, None), 1, &WordCounter::default()).unwrap() {
            let blank = Reply::default();
            let variant = PrefixCache.comparison().warm(&case, &blank, &blank).unwrap().change;
            let cached = if variant == Variant::Append { 0 } else { 900 };
            let served = |cached_tokens, ttft_s, cold| Served {
                prompt_tokens: Some(1000),
                cached_tokens: Some(cached_tokens),
                shared_tokens: Some(900),
                ttft_s: Some(ttft_s),
                cold,
            };
            let says = |content: &str, served| Reply {
                content: content.into(),
                served: Some(served),
                ..Reply::default()
            };
            let warm = if variant == Variant::SameSystem { "other" } else { "same" };
            let turns = vec![
                says("first", served(0, 2.0, false)),
                says(warm, served(cached, 0.25, false)),
                says("same", served(cached_when_cold, 2.0, true)),
            ];
            let reply = Reply::of_conversation(turns).unwrap();
            journal.trials.push(Trial {
                key: KeyParts {
                    setting: label.as_str().into(),
                    context: 2048,
                    round: 0,
                    replicate: 0,
                    task: case.task,
                    arm: None,
                    index: case.index,
                    repeat: 0,
                }
                .key(),
                case: case.id,
                launch: 0,
                started: "2026-01-01T00:00:00Z".into(),
                tick: None,
                outcome: PrefixCache.score(&case, &reply),
                reply: Some(Box::new(reply)),
                measurements: Vec::new().into(),
            });
            journal.cases.push(case);
        }
        journal
    }

    fn found(journal: &Journal) -> Vec<PrefixCacheRow> {
        rows(&Run::new(journal, &Registry).unwrap())
    }

    fn of(rows: &[PrefixCacheRow], variant: Variant) -> &PrefixCacheRow {
        rows.iter().find(|row| row.variant == variant.name()).unwrap()
    }

    #[test]
    fn every_change_has_its_row() {
        let rows = found(&journal(0));
        assert_eq!(rows.len(), Variant::ALL.len());
        let repeat = of(&rows, Variant::Repeat);
        assert_eq!((repeat.cases, repeat.compared, repeat.same), (2, 2, 2));
        assert_eq!((repeat.possible.unwrap().value, repeat.reused.unwrap().value), (0.9, 0.9));
        assert_eq!((repeat.warm_ttft_s.unwrap().value, repeat.ttft_ratio.unwrap().value), (0.25, 0.125));
        assert_eq!(of(&rows, Variant::Append).reused.unwrap().value, 0.0);
        assert_eq!(of(&rows, Variant::SameSystem).same, 0);
        assert_eq!((repeat.right_warm, repeat.right_cold), (0, 0));
    }

    #[test]
    fn a_server_that_is_never_cold_has_nothing_to_compare() {
        let rows = found(&journal(500));
        let repeat = of(&rows, Variant::Repeat);
        assert_eq!(
            (repeat.cases, repeat.compared, repeat.cold_ttft_s, repeat.ttft_ratio),
            (2, 0, None, None)
        );
        assert!(repeat.reused.is_some() && repeat.warm_ttft_s.is_some());
    }

    #[test]
    fn other_runs_have_no_rows() {
        let mut journal = journal(0);
        journal.cases.clear();
        assert!(found(&journal).is_empty());
    }
}
