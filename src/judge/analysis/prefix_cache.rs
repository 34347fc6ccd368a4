//! What keeps a server's prefix cache, by the change between two requests; and whether warm answers are the cold ones.

use std::collections::{BTreeMap, HashMap};

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{Estimate, PrefixCacheRow};
use super::{figures, speed};
use crate::record::{Case, Reply, Served, Trial};
use crate::task::serving::{Variant, prefix_cache};

/// One case that was asked three times.
struct Asked<'a> {
    launch: u32,
    case: &'a Case,
    warm: &'a Reply,
    cold: &'a Reply,
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
    let of_task = run.journal.cases.iter().filter(|case| case.task == prefix_cache::TASK);
    let cases: HashMap<&str, &Case> = of_task.map(|case| (case.id.as_str(), case)).collect();
    if cases.is_empty() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        for setting in &run.suite.settings {
            let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
            let mut by_variant: BTreeMap<Variant, Vec<Asked<'_>>> = BTreeMap::new();
            for asked in asked(run, &cases, visit) {
                if let Some(variant) = prefix_cache::variant_of(asked.case) {
                    by_variant.entry(variant).or_default().push(asked);
                }
            }
            rows.extend(by_variant.iter().map(|(variant, asked)| row(run, visit, *variant, asked)));
        }
    }
    rows
}

/// What was asked in a visit; nothing of a void cell. A case that is not scored still shows what the server did.
fn asked<'a>(run: &Run<'a>, cases: &HashMap<&str, &'a Case>, visit: VisitKey<'_>) -> Vec<Asked<'a>> {
    if run.void.contains_key(&(visit.setting, visit.context)) {
        return Vec::new();
    }
    let asked = |trial: &&'a Trial| {
        let trial: &'a Trial = trial;
        let turns: Vec<&'a Reply> = trial.reply.as_ref()?.turns().collect();
        let &[_, warm, cold] = turns.as_slice() else { return None };
        let case = *cases.get(trial.case.as_str())?;
        Some(Asked { launch: trial.launch, case, warm, cold })
    };
    run.trials(visit).iter().filter_map(asked).collect()
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
        same: count(&|one| prefix_cache::same_text(one.warm, one.cold)),
        right_warm: count(&|one| prefix_cache::is_right(one.case, one.warm)),
        right_cold: count(&|one| prefix_cache::is_right(one.case, one.cold)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Registry, testing};
    use super::*;
    use crate::record::TrialKey;
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
            prefix_cache::TASK
        );
        let suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
        let label = suite.reference().label.clone();
        let mut journal = Journal::new(testing::header(suite));
        for case in PrefixCache.cases(&params(2048, 14, None), 1, &WordCounter::default()).unwrap() {
            let variant = prefix_cache::variant_of(&case).unwrap();
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
                key: TrialKey {
                    setting: label.clone(),
                    context: 2048,
                    round: 0,
                    replicate: 0,
                    task: case.task.clone(),
                    arm: None,
                    index: case.index,
                },
                case: case.id.clone(),
                launch: 0,
                started: "2026-01-01T00:00:00Z".into(),
                tick: None,
                outcome: PrefixCache.score(&case, &reply),
                reply: Some(Box::new(reply)),
                measurements: Vec::new(),
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
