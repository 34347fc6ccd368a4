//! How long a run took, whatever was done to the machine's clock meanwhile.

use std::collections::BTreeMap;

use crate::record::journal::Journal;
use crate::record::{Source, metric};

/// How long the run took (s): of every session, from the start of its first to the end of its last trial by the monotonic
/// clock, in sum. Trials of journals that have no such clock go by their wall clock; 0 without readable times.
pub(super) fn duration_s(journal: &Journal) -> f64 {
    let mut wall = Span::default();
    let mut sessions: BTreeMap<u32, Span> = BTreeMap::new();
    // What comes from a pack took its time elsewhere.
    let suite = &journal.header.suite;
    for trial in journal.trials.iter().filter(|trial| !suite.is_packed(&trial.key.setting)) {
        let total_s = trial.measured(metric::TOTAL_S, Source::Client).unwrap_or_default();
        if let Some(tick) = trial.tick {
            sessions.entry(tick.session()).or_default().add(tick.at_s, total_s);
        } else if let Some(millis) = trial.started.millis() {
            wall.add(millis as f64 / 1000.0, total_s);
        }
    }
    wall.length() + sessions.values().map(Span::length).sum::<f64>()
}

/// How long servers worked on requests (s), over all trials.
pub(super) fn busy_s(journal: &Journal) -> f64 {
    let each = journal.trials.iter().filter_map(|trial| trial.measured(metric::TOTAL_S, Source::Client));
    each.sum()
}

/// From the earliest start to the latest end (s).
#[derive(Debug, Default)]
struct Span(Option<(f64, f64)>);

impl Span {
    fn add(&mut self, start: f64, length: f64) {
        let (first, last) = self.0.unwrap_or((start, start));
        self.0 = Some((first.min(start), last.max(start + length)));
    }

    fn length(&self) -> f64 {
        self.0.map_or(0.0, |(first, last)| last - first)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Tick;
    use crate::judge::analysis::testing;
    use crate::record::{KeyParts, Measurement, Outcome, Trial};

    const SUITE: &str = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
                         weights = \"Q8_0\"\n[reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n";

    /// Trials of two seconds each.
    fn journal(trials: &[(&str, Option<(u32, f64)>)]) -> Journal {
        let suite = crate::suite::parse(SUITE, Path::new("a.toml"), &[]).unwrap();
        let mut journal = Journal::new(testing::header(suite));
        for (index, (started, tick)) in (0..).zip(trials) {
            journal.trials.push(Trial {
                key: KeyParts {
                    setting: "m".into(),
                    context: 512,
                    round: 0,
                    replicate: 0,
                    task: "retrieval/niah_single_1".into(),
                    arm: None,
                    index,
                    repeat: 0,
                }
                .key(),
                case: "".into(),
                launch: 0,
                started: (*started).into(),
                tick: tick.map(|(session, at_s)| Tick::new(session, at_s)),
                reply: None,
                measurements: vec![Measurement::new(metric::TOTAL_S, Source::Client, 2.0)].into(),
                outcome: Outcome::Unscored { reason: String::new() },
            });
        }
        journal
    }

    #[test]
    fn ten_seconds_are_ten_seconds_also_when_the_clock_is_set_five_days_forward() {
        let jumped = journal(&[
            ("2026-01-01T00:00:00.000Z", Some((0, 1.0))),
            ("2026-01-06T00:00:03.000Z", Some((0, 4.0))),
            ("2026-01-01T00:00:08.000Z", Some((0, 9.0))),
        ]);
        assert!((duration_s(&jumped) - 10.0).abs() < 1e-9, "{}", duration_s(&jumped));
    }

    #[test]
    fn sessions_add_up_without_the_pause_between_them() {
        let resumed = journal(&[
            ("2026-01-01T00:00:00.000Z", Some((0, 1.0))),
            ("2026-01-01T00:00:03.000Z", Some((0, 4.0))),
            ("2026-01-09T00:00:00.000Z", Some((1, 30.0))),
        ]);
        assert!((duration_s(&resumed) - 7.0).abs() < 1e-9, "{}", duration_s(&resumed));
    }

    #[test]
    fn journals_without_a_monotonic_clock_go_by_the_wall_clock() {
        let old = [("2026-01-01T00:00:00.000Z", None), ("2026-01-01T00:01:00.000Z", None)];
        assert!((duration_s(&journal(&old)) - 62.0).abs() < 1e-9);
        let resumed_today = [old[0], old[1], ("2026-02-01T00:00:00.000Z", Some((0, 3.0)))];
        assert!((duration_s(&journal(&resumed_today)) - 64.0).abs() < 1e-9);
        assert!(duration_s(&journal(&[])).abs() < 1e-9);
    }
}
