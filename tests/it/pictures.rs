//! Every published picture reads in the dark and on a phone.

use std::path::{Path, PathBuf};

/// Pixels that a phone shows a picture in, and the smallest text that is read there.
const PHONE: f64 = 390.0;
const SMALLEST: f64 = 9.0;

fn published() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reports = std::fs::read_dir(root.join("reports")).unwrap().map(|entry| entry.unwrap().path());
    let folders = reports.chain([root.join("docs/pages")]);
    let files =
        folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.extension().is_some_and(|end| end == "svg")).collect()
}

/// The values of `name="…"`, or of `name:…` in a style.
fn numbers(svg: &str, name: &str) -> Vec<f64> {
    let after = |sign: &str| -> Vec<f64> {
        let number = |rest: &str| -> Option<f64> {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
            rest[..end].parse().ok()
        };
        let sign = format!("{name}{sign}");
        svg.match_indices(&sign).filter_map(|(at, _)| number(&svg[at + sign.len()..])).collect()
    };
    [after("=\""), after(":")].concat()
}

#[test]
fn every_published_picture_has_a_dark_palette_and_text_of_9_pixels_on_a_phone() {
    let pictures = published();
    assert!(pictures.len() >= 12, "{pictures:?}");
    for path in pictures {
        let svg = std::fs::read_to_string(&path).unwrap();
        let shown = path.display();
        let (_, style) = svg.split_once("<style>").unwrap_or_else(|| panic!("{shown} has no style"));
        let (style, drawn) = style.split_once("</style>").unwrap();
        assert!(style.contains("@media (prefers-color-scheme:dark){"), "{shown}");
        // Whatever has a colour of its own is the same in the dark: scores, and the numbers on them.
        for (at, _) in drawn.match_indices(" fill=\"#").chain(drawn.match_indices(" stroke=\"#")) {
            let line = drawn[..at].rsplit('\n').next().unwrap();
            let is_heat =
                path.ends_with("heatmap.svg") && (line.starts_with("<rect") || line.starts_with("<text"));
            assert!(is_heat, "{shown}: {line}");
        }
        let view = svg.split_once("viewBox=\"0 0 ").unwrap().1;
        let width: f64 = view.split(' ').next().unwrap().parse().unwrap();
        let sizes = numbers(&svg, "font-size");
        assert!(!sizes.is_empty(), "{shown}");
        for size in sizes {
            let pixels = size * PHONE / width;
            assert!(
                pixels >= SMALLEST,
                "{shown}: text of {size} in {width} is {pixels:.1} pixels on a phone"
            );
        }
        assert!(!svg.contains("<script") && svg.matches("http").count() == 1, "{shown}: only the namespace");
    }
}
