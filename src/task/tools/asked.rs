//! What every tool task with a data set checks of what a suite asks.

use crate::error::{Error, Result};
use crate::task::random::Random;
use crate::task::{Params, Task};
use crate::trial::Arm;

/// The arm that is asked for.
///
/// # Errors
/// A usage error when the task has no such arm.
pub(super) fn arm(task: &dyn Task, params: &Params) -> Result<Arm> {
    params.arm.filter(|arm| task.arms().contains(arm)).ok_or_else(|| {
        let asked = params.arm.map_or("none", Arm::name);
        let has: Vec<String> = task.arms().iter().map(|arm| format!("\"{arm}\"")).collect();
        Error::usage(format!("{}: no such arm: {asked}", task.name()))
            .hint(format!("give the task `arms = [{}]` or one of them", has.join(", ")))
    })
}

/// `params.samples` of the entries of a data set, in an order of the seed's: the same in every arm and at
/// every context, as these are compared.
///
/// # Errors
/// A usage error when there are not so many.
pub(super) fn sample<'a, T>(
    task: &dyn Task,
    params: &Params,
    seed: u64,
    entries: impl IntoIterator<Item = &'a T>,
) -> Result<Vec<&'a T>> {
    let mut order: Vec<&T> = entries.into_iter().collect();
    let (asked, all) = (params.samples as usize, order.len());
    if asked > all {
        return Err(Error::usage(format!("{}: {asked} samples of {all} entries", task.name()))
            .hint(format!("set the task's `samples` to at most {all}")));
    }
    Random::of_task(seed, task.name()).shuffle(&mut order);
    order.truncate(asked);
    Ok(order)
}
