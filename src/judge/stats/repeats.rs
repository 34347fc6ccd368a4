//! Several answers to one question.

/// The chance that `k` answers drawn from these are all right: C(right, k) / C(answers, k), which estimates pass^k without bias;
/// `None` for fewer than `k` answers.
///
/// Formula: Yao and others 2024, "tau-bench" (arXiv 2406.12045), section 3.
pub fn all_right(right: u32, answers: u32, k: u32) -> Option<f64> {
    (k <= answers).then(|| {
        let drawn = (0..k).map(|at| f64::from(right.saturating_sub(at)) / f64::from(answers - at));
        drawn.product()
    })
}

/// Standard deviation within groups: the root of their variances, pooled by degrees of freedom. Groups of one value say nothing;
/// `None` where all are.
///
/// Formula: Bland and Altman 1996, "Measurement error" (BMJ 313, 744), as the residual standard deviation of a one-way analysis
/// of variance, which is theirs for groups of unequal sizes, too.
pub fn deviation_within<'g>(groups: impl IntoIterator<Item = &'g [f64]>) -> Option<f64> {
    let (mut squares, mut freedom) = (0.0, 0.0);
    for group in groups.into_iter().filter(|group| group.len() > 1) {
        let mean = group.iter().sum::<f64>() / group.len() as f64;
        squares += group.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        freedom += group.len() as f64 - 1.0;
    }
    (freedom > 0.0).then(|| (squares / freedom).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::*;

    #[test]
    fn all_of_so_many_are_right_as_often_as_draws_without_return_say() {
        // C(3, 2) / C(5, 2) = 3 / 10, C(3, 3) / C(5, 3) = 1 / 10.
        close(all_right(3, 5, 1).unwrap(), 0.6, 1e-12);
        close(all_right(3, 5, 2).unwrap(), 0.3, 1e-12);
        close(all_right(3, 5, 3).unwrap(), 0.1, 1e-12);
        assert_eq!((all_right(3, 5, 4), all_right(3, 5, 5)), (Some(0.0), Some(0.0)));
        assert_eq!((all_right(5, 5, 5), all_right(0, 5, 1)), (Some(1.0), Some(0.0)));
        assert_eq!((all_right(3, 5, 6), all_right(0, 0, 1)), (None, None));
    }

    #[test]
    fn it_is_unbiased() {
        // Of five answers that are right with probability 0.7 each: the mean over all outcomes is 0.7^3.
        let chance = |right: u32| {
            let ways = [1.0, 5.0, 10.0, 10.0, 5.0, 1.0][right as usize];
            ways * 0.7_f64.powi(right as i32) * 0.3_f64.powi(5 - right as i32)
        };
        let mean: f64 = (0..=5).map(|right| chance(right) * all_right(right, 5, 3).unwrap()).sum();
        close(mean, 0.343, 1e-12);
    }

    #[test]
    fn deviations_are_pooled_over_groups() {
        // Sums of squares 0.5 (of 1, 0) and 2/3 (of 1, 1, 0), over 1 + 2 degrees of freedom.
        let groups: [&[f64]; 4] = [&[1.0, 0.0], &[1.0, 1.0, 0.0], &[0.25], &[]];
        close(deviation_within(groups).unwrap(), ((0.5 + 2.0 / 3.0) / 3.0_f64).sqrt(), 1e-12);
        assert_eq!(deviation_within([&[0.5, 0.5][..]]), Some(0.0));
        assert_eq!(deviation_within([&[0.5][..]]), None);
    }
}
