//! Figures that have no field of their own: what they are is declared in [`metric`](crate::record::metric).

use super::frame::VisitKey;
use super::run::Run;
use super::speed;
use super::summary::{CellSummary, Estimate};
use crate::error::Result;
use crate::record::metric::{Figure, Over};

/// Fills in the figures of a cell that say how they are shown.
pub(crate) fn measure(run: &Run<'_>, cell: &mut CellSummary, declared: &[Figure]) -> Result<()> {
    for figure in declared {
        let Some(shown) = &figure.shown else { continue };
        let visit = VisitKey { setting: &cell.setting, context: cell.context, replicate: 0 };
        let value = match shown.over {
            Over::Median => median(run, visit, figure.name)?,
            Over::Largest => run.frame.largest(visit, figure.name).map(exact),
            Over::Total => run.frame.total(visit, figure.name)?.map(exact),
        };
        cell.figures.extend(value.map(|value| (figure.name.to_owned(), value)));
    }
    Ok(())
}

fn median(run: &Run<'_>, visit: VisitKey<'_>, column: &str) -> Result<Option<Estimate>> {
    let purpose = format!("figure {column} {} {}", visit.context, visit.setting);
    let found = speed::estimate(&run.frame.by_launch(visit, column)?, run.resampling, &purpose);
    Ok(found.map(|(estimate, _)| estimate))
}

/// One number that is not drawn from others.
fn exact(value: f64) -> Estimate {
    Estimate { value, low: None, high: None, n: 1 }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::super::testing::{self, Play};
    use super::*;
    use crate::record::metric::{Shown, TTFT_S, Unit};
    use crate::record::{Direction, Source};

    const fn ttft(over: Over) -> Figure {
        let shown = Shown {
            head: "first token",
            unit: Unit::Seconds,
            better: Some(Direction::Down),
            over,
            in_terminal: true,
        };
        Figure { name: TTFT_S, metric: TTFT_S, sources: &[Source::Client], shown: Some(shown) }
    }

    #[test]
    fn a_declared_figure_needs_no_field() {
        let play = Play::new("").reference();
        let run = Run::new(&play.journal, &Registry).unwrap();
        let measured = |over| {
            let mut cell = CellSummary::unmeasured(testing::REFERENCE, 512);
            measure(&run, &mut cell, &[ttft(over)]).unwrap();
            cell.figures[TTFT_S]
        };
        let (median, largest, total) =
            (measured(Over::Median), measured(Over::Largest), measured(Over::Total));
        assert!(
            median.low.unwrap() <= median.value && median.value < largest.value,
            "{median:?} {largest:?}"
        );
        assert_eq!((largest.value, largest.n), (0.5, 1), "the longest prompts take 500 ms");
        assert!((total.value / median.value) > 19.0, "{total:?}");
        let mut cell = CellSummary::unmeasured(testing::OTHER, 512);
        measure(&run, &mut cell, &[ttft(Over::Median), ttft(Over::Total)]).unwrap();
        assert!(cell.figures.is_empty(), "what nobody measured is absent, not 0");
    }
}
