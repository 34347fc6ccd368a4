//! Sharing a plan out among workers: who visits what.
//!
//! What is compared with each other is measured by one worker. So what is dealt are *blocks*: all visits of a round at a
//! context length, the reference's first visit in front. Where there are more workers than blocks, the settings of a block
//! are dealt among several workers, and each of them visits the reference for itself.
//!
//! The reference's second visit of a block goes to the next worker: its answers and its speed then lie beside those of the
//! same requests elsewhere, so the noise floor holds between workers, and one that differs shows.

use std::collections::{BTreeMap, HashSet};

use super::plan::{Plan, Visit};
use super::suite::{Relaunch, StoppingRule, Suite};
use crate::error::{Error, Result};

/// Tokens that a trial costs beside its context: a reply, and what goes on around it.
const TRIAL_TOKENS: u64 = 500;

/// Visits that stay together, by their round and context length; `None`: whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct BlockKey {
    round: Option<u32>,
    context: Option<u32>,
}

/// How blocks of a suite are cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// What a round decides is for the next: all rounds of a context length belong together.
    by_round: bool,
    /// One server answers at all context lengths: all lengths of a round belong together.
    by_context: bool,
}

impl Cut {
    fn of(suite: &Suite) -> Self {
        let decides = suite.stopping.is_some() || suite.tasks.iter().any(|task| task.window.is_some());
        Self { by_round: !decides, by_context: suite.engine.relaunch == Relaunch::Context }
    }

    fn key(self, visit: &Visit) -> BlockKey {
        BlockKey {
            round: self.by_round.then_some(visit.round),
            context: self.by_context.then_some(visit.cell.context),
        }
    }
}

/// Checks that a suite's plan can be shared out.
///
/// # Errors
/// A usage error that says why not.
pub fn can_be_shared(suite: &Suite) -> Result<()> {
    let searches = suite.stopping.is_some_and(|stopping| stopping.rule == Some(StoppingRule::Best));
    let has_budget = suite
        .stopping
        .is_some_and(|stopping| stopping.budget_tokens.is_some() || stopping.budget_s.is_some());
    let why = if suite.engine.url.is_some() {
        "its server runs already, and there is one of it"
    } else if suite.pack.is_some() {
        "its reference comes from a pack, so no two workers have anything in common"
    } else if has_budget {
        "its budget is one for all trials, and no worker knows what the others have used"
    } else if searches {
        "it searches for the best setting, where every visit decides on the next"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("suite {} cannot be spread over several workers: {why}", suite.name))
        .hint("run it without --gpus and --on"))
}

/// How many workers a plan keeps busy at most.
pub fn most_workers(suite: &Suite, plan: &Plan) -> u32 {
    let (cut, mut settings) = (Cut::of(suite), BTreeMap::<BlockKey, HashSet<&str>>::new());
    for visit in plan.visits.iter().filter(|visit| visit.cell.setting != *suite.reference()) {
        settings.entry(cut.key(visit)).or_default().insert(&visit.cell.setting.label);
    }
    let alone = plan.visits.iter().map(|visit| cut.key(visit)).filter(|key| !settings.contains_key(key));
    let alone = alone.collect::<std::collections::BTreeSet<_>>().len();
    let most = settings.values().map(HashSet::len).sum::<usize>() + alone;
    u32::try_from(most).unwrap_or(u32::MAX).max(1)
}

/// Returns what one of so many workers does of a plan, in the plan's order. All shares together are the plan: every trial
/// is of one share, but those of the reference where a block has several workers.
pub fn share(suite: &Suite, plan: &Plan, index: u32, workers: u32) -> Plan {
    if workers <= 1 {
        return plan.clone();
    }
    let (cut, deal) = (Cut::of(suite), Deal::of(suite, plan, workers));
    let is_ours = |visit: &&Visit| deal.takes(suite, visit, cut.key(visit), index);
    let visits = plan.visits.iter().filter(is_ours).cloned().collect();
    // Its servers have their machine to themselves, and are compared with each other.
    let load = if index == deal.idlest { plan.load.clone() } else { Vec::new() };
    Plan { visits, load }
}

/// Who takes what.
struct Deal {
    /// The workers of every block, in order.
    workers: BTreeMap<BlockKey, Vec<u32>>,
    /// Who visits the reference of a block a second time.
    second: BTreeMap<BlockKey, u32>,
    /// The settings of every block beside the reference, in the plan's order.
    settings: BTreeMap<BlockKey, Vec<String>>,
    /// Who has least to do.
    idlest: u32,
}

impl Deal {
    fn of(suite: &Suite, plan: &Plan, workers: u32) -> Self {
        let cut = Cut::of(suite);
        let mut costs = BTreeMap::<BlockKey, u64>::new();
        let mut settings = BTreeMap::<BlockKey, Vec<String>>::new();
        for visit in &plan.visits {
            let key = cut.key(visit);
            *costs.entry(key).or_default() += cost(visit);
            let (label, known) = (&visit.cell.setting.label, settings.entry(key).or_default());
            if visit.cell.setting != *suite.reference() && !known.contains(label) {
                known.push(label.clone());
            }
        }
        let (dealt, busy) = match u32::try_from(costs.len()) {
            Ok(blocks) if blocks < workers => split(&costs, &settings, workers),
            _ => whole(&costs, workers),
        };
        let next = |key: &BlockKey, of: &[u32]| match (of, cut.by_round) {
            // What one round decides of the reference's second visit belongs to its first.
            ([only], true) if key.round.is_some() && costs.len() as u64 >= u64::from(workers) => {
                (only + 1) % workers
            }
            _ => of.first().copied().unwrap_or_default(),
        };
        let second = dealt.iter().map(|(key, of)| (*key, next(key, of))).collect();
        let idlest = (0..workers).min_by_key(|worker| busy[*worker as usize]).unwrap_or_default();
        Self { workers: dealt, second, settings, idlest }
    }

    fn takes(&self, suite: &Suite, visit: &Visit, key: BlockKey, index: u32) -> bool {
        let Some(workers) = self.workers.get(&key) else { return false };
        if visit.replicate > 0 {
            return self.second.get(&key) == Some(&index);
        }
        let Some(place) = workers.iter().position(|worker| *worker == index) else { return false };
        if visit.cell.setting == *suite.reference() {
            return true;
        }
        let settings = self.settings.get(&key).map_or(&[][..], Vec::as_slice);
        let at = settings.iter().position(|label| *label == visit.cell.setting.label);
        at.is_some_and(|at| at % workers.len() == place)
    }
}

/// About what a visit takes (tokens).
fn cost(visit: &Visit) -> u64 {
    let each = u64::from(visit.cell.context) + TRIAL_TOKENS;
    (visit.trials.len() as u64).saturating_mul(each)
}

type Dealt = (BTreeMap<BlockKey, Vec<u32>>, Vec<u64>);

/// Every block to one worker: the longest first, each to whoever has least to do.
///
/// Formula: longest processing time first; the last worker ends at most 4/3 as late as it could (Graham 1969).
fn whole(costs: &BTreeMap<BlockKey, u64>, workers: u32) -> Dealt {
    let mut order: Vec<(&BlockKey, &u64)> = costs.iter().collect();
    order.sort_by_key(|(key, cost)| (std::cmp::Reverse(**cost), **key));
    let mut busy = vec![0_u64; workers as usize];
    let mut dealt = BTreeMap::new();
    for (key, cost) in order {
        let least = (0..workers).min_by_key(|worker| busy[*worker as usize]).unwrap_or_default();
        busy[least as usize] = busy[least as usize].saturating_add(*cost);
        dealt.insert(*key, vec![least]);
    }
    (dealt, busy)
}

/// Several workers to a block: each one goes where most is left for a worker, as long as there are settings.
fn split(costs: &BTreeMap<BlockKey, u64>, settings: &BTreeMap<BlockKey, Vec<String>>, workers: u32) -> Dealt {
    let mut dealt: BTreeMap<BlockKey, Vec<u32>> = costs.keys().map(|key| (*key, Vec::new())).collect();
    let mut busy = vec![0_u64; workers as usize];
    for worker in 0..workers {
        let open = |key: &&BlockKey| {
            let has = dealt.get(*key).map_or(0, Vec::len);
            has == 0 || has < settings.get(*key).map_or(0, Vec::len)
        };
        let each = |key: &BlockKey| costs[key] / (dealt.get(key).map_or(0, Vec::len) as u64 + 1);
        let empty = |key: &BlockKey| dealt.get(key).is_none_or(Vec::is_empty);
        let most =
            costs.keys().filter(open).max_by_key(|key| (empty(key), each(key), std::cmp::Reverse(*key)));
        let Some(key) = most.copied() else { break };
        busy[worker as usize] = each(&key);
        dealt.entry(key).or_default().push(worker);
    }
    (dealt, busy)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::TrialKey;
    use crate::record::filter::Filter;
    use crate::record::plan::plan;

    fn suite(rounds: u32, more: &str) -> Suite {
        let text = format!(
            "name = \"t\"\ncontexts = [512, 4096]\nrounds = {rounds}\n{more}\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
             weights = \"Q8_0\"\n[reference]\n[matrix]\nkv = [\"f16\", \"q8_0\", \"q4_0\", \"q5_0\"]\n[[task]]\n\
             name = \"retrieval/niah_single_1\"\nsamples = 6\n"
        );
        crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap()
    }

    fn shares(suite: &Suite, workers: u32) -> (Plan, Vec<Plan>) {
        let plan = plan(suite, &Filter::default()).unwrap();
        let shares = (0..workers).map(|index| share(suite, &plan, index, workers)).collect();
        (plan, shares)
    }

    #[test]
    fn shares_are_the_plan_and_no_trial_is_in_two() {
        for workers in 1..=6 {
            let suite = suite(3, "");
            let (plan, shares) = shares(&suite, workers);
            let keys: Vec<&TrialKey> = shares.iter().flat_map(Plan::keys).collect();
            assert_eq!(keys.len(), plan.trials(), "{workers} workers");
            assert_eq!(keys.iter().collect::<HashSet<_>>().len(), plan.trials());
            assert!(shares.iter().all(|share| share.trials() > 0), "{workers} workers");
        }
    }

    #[test]
    fn the_repeats_of_a_case_are_one_worker_s() {
        let suite = suite(3, "repeats = 3\n[sampling]\ntemperature = 0.5\n");
        for workers in 2..=6 {
            let (plan, shares) = shares(&suite, workers);
            let keys: Vec<&TrialKey> = shares.iter().flat_map(Plan::keys).collect();
            assert_eq!(keys.iter().collect::<HashSet<_>>().len(), plan.trials());
            for share in &shares {
                let mut cases = BTreeMap::<_, u32>::new();
                for key in share.keys() {
                    let case = (&key.setting, key.context, key.replicate, key.index);
                    *cases.entry(case).or_default() += 1;
                }
                assert!(cases.values().all(|count| *count == 3), "{workers}: {cases:?}");
            }
        }
    }

    #[test]
    fn a_setting_is_measured_where_the_reference_was_asked_the_same() {
        for workers in [1, 2, 4, 6, 9, 14, 18, 40] {
            let suite = suite(3, "");
            let (plan, shares) = shares(&suite, workers);
            let mut seen = HashSet::new();
            for share in &shares {
                let asked: HashSet<_> = share
                    .keys()
                    .filter(|key| key.setting == suite.reference().label && key.replicate == 0)
                    .map(|key| (key.context, key.index))
                    .collect();
                for key in share.keys() {
                    let is_reference = key.setting == suite.reference().label;
                    assert!(is_reference || asked.contains(&(key.context, key.index)), "{workers}: {key:?}");
                    assert!(seen.insert(*key) || is_reference, "{workers}: twice {key:?}");
                }
            }
            assert_eq!(seen.len(), plan.trials(), "{workers}");
        }
    }

    #[test]
    fn the_reference_is_visited_again_elsewhere() {
        let suite = suite(2, "");
        let (_, shares) = shares(&suite, 2);
        for share in &shares {
            let of = |replicate| {
                let visits = share.visits.iter().filter(move |visit| visit.replicate == replicate);
                visits.filter(|visit| visit.cell.setting == *suite.reference())
            };
            for again in of(1) {
                assert!(
                    !of(0)
                        .any(|first| (first.round, first.cell.context) == (again.round, again.cell.context))
                );
            }
            assert_eq!(of(1).count(), 2);
        }
    }

    #[test]
    fn rounds_that_decide_stay_together() {
        let suite = suite(4, "[stopping]\nrule = \"sequential\"\n");
        let (_, shares) = shares(&suite, 2);
        for share in &shares {
            let contexts: HashSet<u32> = share.visits.iter().map(|visit| visit.cell.context).collect();
            assert_eq!(contexts.len(), 1);
        }
    }

    #[test]
    fn more_workers_than_there_is_work_have_none() {
        let suite = suite(2, "");
        let plan = plan(&suite, &Filter::default()).unwrap();
        // 2 rounds at 2 lengths, 3 settings beside the reference.
        assert_eq!(most_workers(&suite, &plan), 12);
        assert!(share(&suite, &plan, 11, 20).trials() > 0 && share(&suite, &plan, 12, 20).trials() == 0);
    }

    #[test]
    fn one_server_for_all_lengths_is_one_worker_s() {
        let suite = suite(2, "[engine]\nrelaunch = \"setting\"\n");
        let (_, shares) = shares(&suite, 2);
        for share in &shares {
            let firsts = share.visits.iter().filter(|visit| visit.replicate == 0);
            let rounds: HashSet<u32> = firsts.map(|visit| visit.round).collect();
            assert_eq!(rounds.len(), 1);
        }
    }
}
