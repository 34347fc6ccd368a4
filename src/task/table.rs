//! The table of tasks: one line for each.

use super::{Task, Weight, code, coherence, longform, reasoning, retrieval, serving, tools};
use crate::import;
use crate::record::suite::TaskSpec;

/// Every task that kneepoint knows.
pub static TASKS: &[&dyn Task] = &[
    &retrieval::niah::SINGLE_1,
    &retrieval::niah::SINGLE_2,
    &retrieval::niah::SINGLE_3,
    &retrieval::niah::MULTIKEY_1,
    &retrieval::niah::MULTIKEY_2,
    &retrieval::niah::MULTIKEY_3,
    &retrieval::niah::MULTIVALUE,
    &retrieval::niah::MULTIQUERY,
    &retrieval::variable_tracking::VariableTracking,
    &retrieval::common_words::CommonWords,
    &retrieval::frequent_words::FrequentWords,
    &retrieval::confusable_keys::ConfusableKeys,
    &retrieval::graph_walks::GraphWalks,
    &retrieval::counting::Counting,
    &retrieval::ordinal_recall::OrdinalRecall,
    &retrieval::same_asks::SameAsks,
    &reasoning::arithmetic_story::ArithmeticStory,
    &reasoning::deduction::Deduction,
    &coherence::kld::Kld,
    &coherence::greedy_divergence::GreedyDivergence,
    &coherence::degeneration::Degeneration,
    &coherence::block_plan::BlockPlan,
    &coherence::repeated_words::RepeatedWords,
    &coherence::running_sum::RunningSum,
    &coherence::state_ledger::StateLedger,
    &coherence::instruction_retention::InstructionRetention,
    &coherence::self_consistency::SelfConsistency,
    &longform::merge::MERGE,
    &longform::table::TABLE,
    &longform::rename::RENAME,
    &longform::route::ROUTE,
    &longform::patch::PATCH,
    &tools::arguments::Arguments,
    &tools::selection::Selection,
    &tools::parallel::Parallel,
    &tools::abstention::Abstain,
    &tools::context_pressure::ContextPressure,
    &tools::json_schema::JsonSchema,
    &tools::multi_turn::MultiTurn,
    &tools::long_chain::LongChain,
    &code::patch::CodePatch,
    &serving::prefix_cache::PrefixCache,
    &serving::speed::Speed,
    &import::ruler::Ruler,
    &import::qa::Qa,
    &import::bfcl::Bfcl,
    &import::requests::Requests,
];

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    TASKS.iter().copied().find(|task| task.name() == name)
}

/// How a suite's task enters its report; `None` for a task that this build does not know.
pub fn weight_of(spec: &TaskSpec) -> Option<Weight> {
    find(&spec.name).map(|task| task.card().weight.told(spec.primary))
}

/// Version of a task in this build; 0 for a task that it does not know.
pub fn version_of(name: &str) -> u32 {
    find(name).map_or(0, |task| task.version())
}
