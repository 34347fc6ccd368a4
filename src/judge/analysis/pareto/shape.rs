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
/// Formula: hypervolume by slicing objectives; While et al. (2006), over the points that none dominates. The cost grows
/// with their number to the power of the number of objectives less one.
pub(crate) fn hypervolume(points: &[Vec<f64>]) -> f64 {
    let objectives = points.first().map_or(0, Vec::len);
    let mut front: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
    volume(&mut front, objectives)
}

/// The volume in the first so many objectives; the order of the points is nobody's afterwards.
fn volume(points: &mut [&[f64]], objectives: usize) -> f64 {
    match objectives {
        0 => 0.0,
        1 => points.iter().map(|point| point[0].max(0.0)).fold(0.0, f64::max),
        2 => area(points),
        _ => slices(points, objectives - 1),
    }
}

/// Steps from the right to the left: each adds what it is higher than all to its right.
fn area(points: &mut [&[f64]]) -> f64 {
    points.sort_by(|a, b| b[0].total_cmp(&a[0]));
    let (mut area, mut height) = (0.0, 0.0);
    for point in points {
        if point[1] > height && point[0] > 0.0 {
            area += point[0] * (point[1] - height);
            height = point[1];
        }
    }
    area
}

/// Slices from the top down, each as thick as it is to the next point and as wide as all points above.
fn slices(points: &mut [&[f64]], last: usize) -> f64 {
    points.sort_by(|a, b| b[last].total_cmp(&a[last]));
    let mut above: Vec<&[f64]> = Vec::with_capacity(points.len());
    let mut volume_below = 0.0;
    for (at, point) in points.iter().enumerate() {
        let dominated = above.iter().any(|other| (0..last).all(|axis| other[axis] >= point[axis]));
        if !dominated {
            above.push(point);
        }
        let next = points.get(at + 1).map_or(0.0, |next| next[last].max(0.0));
        let thick = point[last].max(0.0) - next;
        if thick > 0.0 {
            volume_below += thick * volume(&mut above, last);
        }
    }
    volume_below
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
        // What reaches below the origin in one objective dominates nothing.
        close(&[vec![0.5, -1.0], vec![-0.5, 1.0]], 0.0);
        close(&[vec![1.0, 1.0, -0.5], vec![0.5, 0.5, 0.5]], 0.125);
    }

    proptest::proptest! {
        /// Beside a grid of cells, each of which counts when some point reaches its far corner.
        #[test]
        fn volumes_are_those_of_a_grid(
            cells in proptest::collection::vec(proptest::collection::vec(-2_i32..=4, 4), 0..9),
            objectives in 1_usize..=4,
        ) {
            let points: Vec<Vec<f64>> =
                cells.iter().map(|point| point[..objectives].iter().map(|&at| f64::from(at) / 4.0).collect()).collect();
            let side = 4_i32.pow(objectives as u32);
            let reached = |cell: &i32| {
                cells.iter().any(|point| {
                    (0..objectives).all(|axis| point[axis] > cell / 4_i32.pow(axis as u32) % 4)
                })
            };
            let expected = (0..side).filter(reached).count() as f64 / f64::from(side);
            proptest::prop_assert!((hypervolume(&points) - expected).abs() < 1e-12);
        }
    }
}
