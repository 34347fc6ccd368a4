//! Colours of pictures, in light and in dark, and what every picture begins with. A picture that a page shows as an image
//! follows the reader's preference by its own style.

use std::fmt::Write as _;

/// Width of every picture (user units). Shown 390 pixels wide, as on a phone, the smallest text has 9.
pub(super) const WIDTH: f64 = 560.0;

/// Size of the smallest text (user units): 13 / 560 * 390 = 9.05.
pub(super) const SMALL: f64 = 13.0;
const _: () = assert!(SMALL * 390.0 >= 9.0 * WIDTH);

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Behind everything.
    Paper,
    /// The picture's rim.
    Edge,
    /// Lines of a grid.
    Grid,
    /// A spot without a figure.
    Empty,
    /// Text.
    Ink,
    /// Text of less weight.
    Faint,
    /// What is dominated, and lines that lead to names.
    Muted,
    /// What is on the front.
    Front,
    /// What is not decided.
    Open,
    /// What is worse.
    Worse,
    /// Two more lines of the load curve.
    Plum,
    Green,
}

/// Every tone: name of its class, in light, in dark.
const TONES: [(Tone, &str, &str, &str); 12] = [
    (Tone::Paper, "paper", "#ffffff", "#14181c"),
    (Tone::Edge, "edge", "#d5dbe1", "#38424c"),
    (Tone::Grid, "grid", "#e6eaee", "#262d34"),
    (Tone::Empty, "empty", "#f1f3f5", "#20262c"),
    (Tone::Ink, "ink", "#1f2933", "#e4e8ec"),
    (Tone::Faint, "faint", "#5f6b76", "#a0abb6"),
    (Tone::Muted, "muted", "#7a858f", "#7d8894"),
    (Tone::Front, "front", "#0b5cad", "#6db3ff"),
    (Tone::Open, "open", "#8a5a00", "#e0a84a"),
    (Tone::Worse, "worse", "#b3261e", "#ff8a80"),
    (Tone::Plum, "plum", "#7a1f5c", "#e08cc4"),
    (Tone::Green, "green", "#1f7a4d", "#62c793"),
];

impl Tone {
    fn class(self) -> &'static str {
        TONES.iter().find(|(tone, ..)| *tone == self).map_or("ink", |(_, class, ..)| class)
    }

    /// The attribute of a shape or text that is filled with the tone.
    pub(super) fn fill(self) -> String {
        format!(r#"class="{}""#, self.class())
    }

    /// The attribute of a line in the tone.
    pub(super) fn stroke(self) -> String {
        format!(r#"class="s-{}""#, self.class())
    }

    /// The attribute of a shape that is filled with the tone, with a rim.
    pub(super) fn rimmed(self, rim: Self) -> String {
        format!(r#"class="{} s-{}""#, self.class(), rim.class())
    }
}

/// Begins a picture: its size, its title (XML), its colours and its own background.
pub(super) fn begin(height: f64, title: &str) -> String {
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="{SMALL}">"#
    );
    let _ = writeln!(svg, "<title>{title}</title>");
    let _ =
        writeln!(svg, "<style>{}@media (prefers-color-scheme:dark){{{}}}</style>", rules(false), rules(true));
    let _ = writeln!(
        svg,
        r#"<rect x="0.5" y="0.5" width="{}" height="{}" rx="6" {}/>"#,
        WIDTH - 1.0,
        height - 1.0,
        Tone::Paper.rimmed(Tone::Edge)
    );
    svg
}

fn rules(dark: bool) -> String {
    let rule = |(_, class, light, other): &(Tone, &str, &str, &str)| {
        let colour = if dark { other } else { light };
        format!(".{class}{{fill:{colour}}}.s-{class}{{stroke:{colour}}}")
    };
    TONES.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linear red, green and blue (0..1) of `#rrggbb`.
    fn linear(colour: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let share = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// Contrast of two colours (1..21), WCAG 2.2.
    fn contrast(a: &str, b: &str) -> f64 {
        let luminance = |colour| {
            let [red, green, blue] = linear(colour);
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    fn of(tone: Tone) -> [&'static str; 2] {
        TONES.iter().find(|(other, ..)| *other == tone).map(|(.., light, dark)| [*light, *dark]).unwrap()
    }

    #[test]
    fn text_and_marks_stand_out_in_light_and_in_dark() {
        let paper = of(Tone::Paper);
        for scheme in [0, 1] {
            for text in [Tone::Ink, Tone::Faint] {
                assert!(contrast(of(text)[scheme], paper[scheme]) >= 4.5, "{text:?} {scheme}");
            }
            for mark in [Tone::Muted, Tone::Front, Tone::Open, Tone::Worse, Tone::Plum, Tone::Green] {
                assert!(contrast(of(mark)[scheme], paper[scheme]) >= 3.0, "{mark:?} {scheme}");
            }
            assert!(contrast(of(Tone::Faint)[scheme], of(Tone::Empty)[scheme]) >= 4.5, "{scheme}");
        }
    }

    /// What a colour looks like without one kind of cone: matrices of Machado, Oliveira and Fernandes 2009 (severity 1)
    /// over linear light: no red, no green, no blue.
    const WITHOUT: [[[f64; 3]; 3]; 3] = [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];

    /// CIELAB (D65) of linear light.
    fn lab(light: [f64; 3]) -> [f64; 3] {
        let rows = [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ];
        let white = [0.95047, 1.0, 1.08883];
        let [x, y, z] = [0, 1, 2].map(|at| {
            let share = rows[at].iter().zip(light).map(|(a, b)| a * b).sum::<f64>() / white[at];
            if share > 0.008856 { share.cbrt() } else { 7.787 * share + 16.0 / 116.0 }
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn colours_that_share_a_form_differ_without_one_kind_of_cone() {
        // Bars and names have no form of their own: they show what is on the front, dominated and worse by colour.
        let together = [Tone::Front, Tone::Muted, Tone::Worse];
        for scheme in [0, 1] {
            for matrix in WITHOUT {
                let seen = together.map(|tone| {
                    let light = linear(of(tone)[scheme]);
                    lab(matrix
                        .map(|row| row.iter().zip(light).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0)))
                });
                for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                    let apart = seen[a].iter().zip(seen[b]).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                    assert!(apart > 10.0, "{:?} and {:?} ({scheme}): {apart}", together[a], together[b]);
                }
            }
        }
    }

    #[test]
    fn a_picture_has_both_palettes() {
        let svg = begin(100.0, "t");
        assert!(svg.contains("@media (prefers-color-scheme:dark){.paper{fill:#14181c}"), "{svg}");
    }
}
