//! The shape of a front: its knee, and the volume that it dominates. Points are gains: more is better in every
//! objective.

/// Distance of the farthest point from the chord, and the point, of those that may be the knee; `None` when none of them
/// lies beyond the chord (a straight or hollow front, or fewer than three points).
///
/// Objectives are normalised to 0..1 over the front; the chord is the plane through the points that are best in
/// one objective and worst in the others, sum = 1.
///
/// Formula: Das (1999), "On characterizing the knee of the Pareto curve", with the ideal ends of the chord.
pub(crate) fn knee(front: &[Vec<f64>], may_be: impl Fn(usize) -> bool) -> Option<(usize, f64)> {
    if front.len() < 3 {
        return None;
    }
    let ranges = ranges(front);
    let moving: Vec<usize> = (0..ranges.len()).filter(|&at| ranges[at].1 > ranges[at].0).collect();
    if moving.len() < 2 {
        return None;
    }
    let distance = |point: &Vec<f64>| {
        let share = |&at: &usize| (point[at] - ranges[at].0) / (ranges[at].1 - ranges[at].0);
        (moving.iter().map(share).sum::<f64>() - 1.0) / (moving.len() as f64).sqrt()
    };
    let distances = front.iter().map(distance).enumerate().filter(|(at, _)| may_be(*at));
    // Of equally far points the first, which is the first of the suite.
    let farthest = distances.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    (farthest.1 > 1e-9).then_some(farthest)
}

/// Smallest and largest value of each objective.
pub(crate) fn ranges(points: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let objectives = points.first().map_or(0, Vec::len);
    let range = |at: usize| {
        let values = points.iter().map(|point| point[at]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    (0..objectives).map(range).collect()
}

/// The volume that points (0..1 in every objective) dominate above the origin (0..1).
///
/// Formula: hypervolume by slicing objectives; While et al. (2006). The cost grows with the number of points to
/// the power of the number of objectives less one.
pub(crate) fn hypervolume(points: &[Vec<f64>]) -> f64 {
    let objectives = points.first().map_or(0, Vec::len);
    match objectives {
        0 => 0.0,
        1 => points.iter().map(|point| point[0].max(0.0)).fold(0.0, f64::max),
        _ => slices(points, objectives - 1),
    }
}

fn slices(points: &[Vec<f64>], last: usize) -> f64 {
    let mut heights: Vec<f64> =
        points.iter().map(|point| point[last]).filter(|height| *height > 0.0).collect();
    heights.sort_by(f64::total_cmp);
    heights.dedup();
    let mut below = 0.0;
    let mut volume = 0.0;
    for height in heights {
        let reaching: Vec<Vec<f64>> =
            points.iter().filter(|point| point[last] >= height).map(|point| point[..last].to_vec()).collect();
        volume += (height - below) * hypervolume(&reaching);
        below = height;
    }
    volume
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_where_little_is_given_up() {
        let front = vec![vec![1.0, 0.0], vec![0.9, 0.8], vec![0.5, 0.95], vec![0.0, 1.0]];
        let (at, distance) = knee(&front, |_| true).unwrap();
        assert_eq!(at, 1);
        assert_eq!(knee(&front, |at| at != 1).map(|(at, _)| at), Some(2));
        assert!((distance - 0.7 / 2.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn straight_hollow_and_short_fronts_have_no_knee() {
        assert_eq!(knee(&[vec![1.0, 0.0], vec![0.5, 0.5], vec![0.0, 1.0]], |_| true), None);
        assert_eq!(knee(&[vec![1.0, 0.0], vec![0.2, 0.2], vec![0.0, 1.0]], |_| true), None);
        assert_eq!(knee(&[vec![1.0, 0.0], vec![0.0, 1.0]], |_| true), None);
        assert_eq!(
            knee(&[vec![1.0, 2.0], vec![2.0, 2.0], vec![3.0, 2.0]], |_| true),
            None,
            "one objective moves"
        );
    }

    #[test]
    fn volumes_of_boxes() {
        let close = |points: &[Vec<f64>], volume: f64| {
            assert!((hypervolume(points) - volume).abs() < 1e-12, "{}", hypervolume(points));
        };
        close(&[], 0.0);
        close(&[vec![0.5, 0.5]], 0.25);
        close(&[vec![0.5, 1.0], vec![1.0, 0.5]], 0.75);
        close(&[vec![0.5, 1.0], vec![1.0, 0.5], vec![0.4, 0.4]], 0.75);
        // Three boxes by inclusion and exclusion: .5 + .5 + .5 - 3 * .25 + .125
        close(&[vec![0.5, 1.0, 1.0], vec![1.0, 0.5, 1.0], vec![1.0, 1.0, 0.5]], 0.875);
    }
}
