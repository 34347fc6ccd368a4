//! Pages of large runs stay small enough to be mailed and opened, and say what they left out.

use kneepoint::judge::analysis::summarise;
use kneepoint::judge::report;

#[path = "../../benches/made_up/mod.rs"]
pub(crate) mod made_up;

use made_up::{CELLS, Size, TRIALS, journal};

/// The page of a made-up run, and how many trials and cells it has.
fn page(size: Size) -> (String, usize, usize) {
    // Draws decide nothing about sizes.
    let journal = journal(Size { draws: 200, ..size }).unwrap();
    let summary = summarise(&journal).unwrap();
    let page = report::report_page(&summary, &journal).unwrap();
    (page, journal.trials.len(), summary.cells.len())
}

#[test]
fn a_run_of_7000_trials_is_below_3_mb() {
    let (page, trials, cells) = page(TRIALS);
    assert!(trials >= 7000 && cells == 40, "{trials} trials, {cells} cells");
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    // A prompt has 5,400 characters, of which the ends are shown; replies are shown from where they part.
    assert!(page.contains("characters) …") && page.contains("<mark>"));
}

#[test]
fn a_thousand_cells_are_all_there_and_their_replies_are_not() {
    // Two cases are as good as eight: replies are left out all the same.
    let (page, _, cells) = page(Size { items: 2, ..CELLS });
    assert_eq!(cells, 1000);
    assert!(page.len() < 6_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<details id=\"cell-").count(), 1000);
    assert!(page.contains("they are in the journal"), "what was left out is said");
}
