//! The alarm of the first round: settings whose next-token distributions are far from the reference's.
//!
//! It decides no verdict. A setting that raises it is visited after those that do not, and given up where its cases so far lean
//! below the margin, too: two signs that a longer look would most likely end at `worse`.

use std::collections::BTreeMap;

use super::super::kld::Comparison;

/// Mean KLD that raises the alarm (nat), by the lower end of its interval. In the published quickstart settings that were no worse
/// moved by at most 0.004 nat, and worse ones by 0.03 and 0.18: the alarm is for what is far, and what is near is for the tasks to tell.
pub(super) const FAR: f64 = 0.1;

/// By setting, the least that its distributions moved (nat), where that is far.
pub(super) fn alarms(comparison: &Comparison) -> BTreeMap<String, f64> {
    let least = |(setting, (summary, _)): (&String, &(super::super::summary::KldSummary, _))| {
        let low = summary.mean.low.filter(|low| *low > FAR)?;
        Some((setting.clone(), low))
    };
    comparison.cells.iter().filter_map(least).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::judge::analysis::{Registry, kld, run::Run};
    use crate::record::journal;

    #[test]
    fn the_published_quickstart_raises_it_for_two_bits_alone() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart");
        let journal = journal::load(&folder).unwrap();
        let run = Run::new(&journal, &Registry).unwrap();
        let raised = alarms(&kld::compare(&run, 384));
        let labels: Vec<&str> = raised.keys().map(String::as_str).collect();
        assert_eq!(labels, ["Q2_K kv=f16"]);
        assert!(raised["Q2_K kv=f16"] > 0.15, "{raised:?}");
    }
}
