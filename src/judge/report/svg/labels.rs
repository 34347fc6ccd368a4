//! Labels that overlap neither each other nor the points.

use unicode_width::UnicodeWidthStr;

/// Height of a label's line (pixels).
pub(super) const LINE: f64 = 16.0;

/// Estimated width of a character at the label's size (pixels): an upper bound for usual sans-serif fonts.
const CHARACTER: f64 = 7.2;

/// Half the side of the square that a point keeps free (pixels).
const POINT: f64 = 7.0;

/// How many times the whole placement is gone over to mend early choices.
const PASSES: usize = 4;

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    fn overlap(&self, other: &Self) -> f64 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        if width > 0.0 && height > 0.0 { width * height } else { 0.0 }
    }

    fn outside(&self, frame: &Self) -> f64 {
        let left = (frame.x - self.x).max(0.0);
        let right = (self.x + self.width - frame.x - frame.width).max(0.0);
        let top = (frame.y - self.y).max(0.0);
        let bottom = (self.y + self.height - frame.y - frame.height).max(0.0);
        (left + right) * self.height + (top + bottom) * self.width
    }

    /// A level or upright line as a thin rectangle.
    pub(super) fn along(from: (f64, f64), to: (f64, f64)) -> Self {
        Self {
            x: from.0.min(to.0) - 1.5,
            y: from.1.min(to.1) - 1.5,
            width: (from.0 - to.0).abs() + 3.0,
            height: (from.1 - to.1).abs() + 3.0,
        }
    }

    /// The nearest place of the rectangle to a point.
    pub(super) fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x.clamp(self.x, self.x + self.width), y.clamp(self.y, self.y + self.height))
    }
}

/// Width of a label's text (pixels).
pub(super) fn width(text: &str) -> f64 {
    text.width() as f64 * CHARACTER + 8.0
}

/// A place for the label of every point that has a text, in the order of the points. Greedy from the most crowded point on,
/// then improved a few times; the cost of a place is what it covers, and how far it is. `lines` are covered
/// only where there is no better place.
pub(super) fn place(points: &[(f64, f64)], texts: &[String], lines: &[Rect], frame: Rect) -> Vec<Rect> {
    let obstacles: Vec<Rect> = points
        .iter()
        .map(|(x, y)| Rect { x: x - POINT, y: y - POINT, width: 2.0 * POINT, height: 2.0 * POINT })
        .collect();
    let mut placed: Vec<Option<Rect>> = vec![None; points.len()];
    let mut order: Vec<usize> = (0..points.len()).collect();
    let crowd = |at: usize| {
        let near = |other: &&(f64, f64)| distance(points[at], **other) < 60.0;
        points.iter().filter(near).count()
    };
    order.sort_by_key(|&at| std::cmp::Reverse(crowd(at)));
    for _ in 0..PASSES {
        for &at in order.iter().filter(|at| !texts[**at].is_empty()) {
            let cost = |place: &Rect| {
                let covered: f64 = lines.iter().map(|line| place.overlap(line)).sum();
                covered / 4.0 + cost(place, at, points, &obstacles, &placed, &frame)
            };
            let best = candidates(points[at], width(&texts[at]))
                .into_iter()
                .min_by(|a, b| cost(a).total_cmp(&cost(b)));
            placed[at] = best;
        }
    }
    let fallback = |at: usize| Rect { x: points[at].0, y: points[at].1, width: 0.0, height: 0.0 };
    placed.into_iter().enumerate().map(|(at, place)| place.unwrap_or(fallback(at))).collect()
}

/// Places around a point: rings of growing distance.
fn candidates((x, y): (f64, f64), width: f64) -> Vec<Rect> {
    let mut places = Vec::new();
    for ring in 0..9 {
        let reach = 11.0 + LINE * f64::from(ring);
        for step in 0..16 {
            let angle = std::f64::consts::TAU * f64::from(step) / 16.0;
            let (dx, dy) = (angle.cos(), angle.sin());
            let (ax, ay) = (x + dx * reach, y + dy * reach);
            // The label hangs on the ring by the side that faces the point.
            let left = ax - width * (1.0 - dx) / 2.0;
            let top = ay - LINE * (1.0 - dy) / 2.0;
            places.push(Rect { x: left, y: top, width, height: LINE });
        }
    }
    places
}

fn cost(
    place: &Rect,
    at: usize,
    all: &[(f64, f64)],
    obstacles: &[Rect],
    placed: &[Option<Rect>],
    frame: &Rect,
) -> f64 {
    let points: f64 = obstacles.iter().map(|obstacle| place.overlap(obstacle)).sum();
    let others = placed.iter().enumerate().filter(|(other, _)| *other != at);
    let labels: f64 = others.filter_map(|(_, other)| *other).map(|other| place.overlap(&other)).sum();
    let far = distance(all[at], place.nearest(all[at]));
    // A name that is nearer to another point is read as that point's.
    let rivals = all.iter().enumerate().filter(|(other, _)| *other != at);
    let nearness =
        |(_, other): (usize, &(f64, f64))| (far + 6.0 - distance(*other, place.nearest(*other))).max(0.0);
    let mistaken: f64 = rivals.map(nearness).sum();
    10.0 * labels + 6.0 * points + 20.0 * place.outside(frame) + far + 1.5 * mistaken
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Rect = Rect { x: 0.0, y: 0.0, width: 464.0, height: 330.0 };

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("Q{i}_K kv=q8_0 spec=ngram")).collect()
    }

    fn assert_clear(points: &[(f64, f64)]) {
        let texts = names(points.len());
        let places = place(points, &texts, &[], FRAME);
        for (i, a) in places.iter().enumerate() {
            assert_eq!(a.outside(&FRAME), 0.0, "label {i} leaves the frame");
            for b in &places[i + 1..] {
                assert_eq!(a.overlap(b), 0.0, "labels overlap: {a:?} {b:?}");
            }
            for (x, y) in points {
                let dot = Rect { x: x - 4.0, y: y - 4.0, width: 8.0, height: 8.0 };
                assert_eq!(a.overlap(&dot), 0.0, "label {i} covers a point");
            }
        }
    }

    #[test]
    fn scattered_points_have_clear_labels() {
        let points: Vec<(f64, f64)> =
            (0..12).map(|i| (60.0 + f64::from(i * 53 % 360), 30.0 + f64::from(i * 97 % 280))).collect();
        assert_clear(&points);
    }

    #[test]
    fn clusters_of_near_equal_points_have_clear_labels() {
        let mut points: Vec<(f64, f64)> =
            (0..6).map(|i| (150.0 + 3.0 * f64::from(i), 170.0 + 2.0 * f64::from(i % 3))).collect();
        points.extend((0..5).map(|i| (380.0 - 2.0 * f64::from(i), 60.0 + 4.0 * f64::from(i))));
        assert_clear(&points);
    }

    #[test]
    fn labels_step_aside_for_lines() {
        let line = Rect::along((200.0, 170.0), (450.0, 170.0));
        let places = place(&[(200.0, 170.0)], &names(1), &[line], FRAME);
        assert_eq!(places[0].overlap(&line), 0.0, "{places:?}");
    }

    #[test]
    fn points_in_a_corner_keep_their_labels_inside() {
        assert_clear(&[(2.0, 2.0), (462.0, 328.0), (462.0, 2.0), (2.0, 328.0)]);
    }
}
