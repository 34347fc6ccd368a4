use super::super::Resampling;
use super::*;

const RESAMPLING: Resampling =
    Resampling { seed: 1, draws: 1000, confidence: 0.95, graded_from: Resampling::GRADED_UNITS };

fn rule(floor: Option<f64>) -> Rule {
    Rule { margin: 0.02, floor, room: 1.0, level: 0.05, anytime: false }
}

fn interval(value: f64, low: f64, high: f64) -> Estimate {
    Estimate { value, low: Some(low), high: Some(high), n: 100 }
}

#[test]
fn verdicts_follow_the_rule() {
    let rule = rule(Some(0.03));
    let verdict = |value, low, high, p| rule.verdict(Some(&interval(value, low, high)), Some(p), 0.0);
    assert_eq!(verdict(0.0, -0.01, 0.01, 1.0), Verdict::NoWorse);
    assert_eq!(verdict(-0.10, -0.15, -0.05, 0.001), Verdict::Worse);
    assert_eq!(verdict(-0.10, -0.25, 0.05, 0.2), Verdict::NotSeparable);
    assert_eq!(verdict(-0.025, -0.04, -0.01, 0.001), Verdict::NotSeparable, "within the A/A floor");
    assert_eq!(verdict(-0.10, -0.15, -0.05, 0.06), Verdict::NotSeparable, "not over all cells");
    assert_eq!(rule.verdict(None, None, 0.0), Verdict::NotSeparable);
}

/// It would be so for one that gets nothing right.
#[test]
fn where_the_reference_has_no_more_than_the_margin_to_lose_nothing_is_no_worse() {
    let equal = interval(0.0, -0.005, 0.005);
    let of = |room| Rule { room, ..rule(Some(0.0)) }.verdict(Some(&equal), Some(1.0), 0.0);
    assert_eq!((of(0.02), of(0.021)), (Verdict::NotSeparable, Verdict::NoWorse));
    let lost = interval(-0.015, -0.018, -0.012);
    let verdict = Rule { room: 0.015, ..rule(Some(0.0)) }.verdict(Some(&lost), Some(0.001), 0.0);
    assert_eq!(verdict, Verdict::Worse);
}

#[test]
fn what_the_reference_broke_on_is_no_proof_that_a_setting_is_no_worse() {
    let equal = interval(0.0, -0.01, 0.01);
    assert_eq!(rule(Some(0.0)).verdict(Some(&equal), Some(1.0), 0.05), Verdict::NotSeparable);
}

#[test]
fn without_an_aa_pair_nothing_is_called_worse() {
    let worse = interval(-0.5, -0.6, -0.4);
    assert_eq!(rule(None).verdict(Some(&worse), Some(0.0), 0.0), Verdict::NotSeparable);
}

#[test]
fn equal_scores_on_few_cases_prove_nothing() {
    for (n, proven) in [(4, false), (60, false), (188, false), (200, true)] {
        let difference =
            paired_difference(&[ClusterSums::singletons(&vec![0.0; n])], RESAMPLING, "t").unwrap();
        assert_eq!(difference.estimate.value, 0.0);
        let verdict = rule(Some(0.0)).verdict(Some(&difference.estimate), Some(1.0), 0.0);
        assert_eq!(verdict == Verdict::NoWorse, proven, "{n} pairs: {difference:?}");
    }
}
