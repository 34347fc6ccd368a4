//! Times until something happens, where some were not watched long enough to see it.

/// How long something was watched, and whether it happened then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Time of the event, or of the end of the watching.
    pub time: f64,
    /// Whether it happened; else it did not until then.
    pub event: bool,
}

/// Events and observations at risk at each time with events, ascending.
fn table(observations: &[Observation]) -> Vec<(f64, f64, f64)> {
    let mut ascending: Vec<Observation> = observations.to_vec();
    ascending.sort_by(|a, b| a.time.total_cmp(&b.time));
    let mut table = Vec::new();
    let mut at_risk = ascending.len() as f64;
    for tied in ascending.chunk_by(|a, b| a.time == b.time) {
        let events = tied.iter().filter(|observation| observation.event).count() as f64;
        if events > 0.0 {
            table.push((tied[0].time, events, at_risk));
        }
        at_risk -= tied.len() as f64;
    }
    table
}

/// Share to which nothing has happened before `time` (0..1); `None` when nothing was watched that long.
///
/// Formula: Kaplan and Meier (1958), product-limit estimate.
pub fn survival(observations: &[Observation], time: f64) -> Option<f64> {
    let watched = observations.iter().any(|observation| observation.time >= time || observation.event);
    let before = table(observations).into_iter().filter(|(at, ..)| *at < time);
    let share = before.map(|(_, events, at_risk)| 1.0 - events / at_risk).product();
    watched.then_some(share)
}

/// For every observation whether it happened to it (1 or 0) less what was to be expected up to its time if all were
/// alike. The sum over a group is the log-rank test's observed minus expected.
///
/// Formula: log-rank scores (Peto and Peto 1972), the expectation by Nelson and Aalen's cumulative hazard.
pub fn log_rank_scores(observations: &[Observation]) -> Vec<f64> {
    let table = table(observations);
    let expected = |time: f64| {
        let until = table.iter().take_while(|(at, ..)| *at <= time);
        until.map(|(_, events, at_risk)| events / at_risk).sum::<f64>()
    };
    let score =
        |observation: &Observation| f64::from(u8::from(observation.event)) - expected(observation.time);
    observations.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::*;

    fn observed(times: &[(f64, bool)]) -> Vec<Observation> {
        times.iter().map(|&(time, event)| Observation { time, event }).collect()
    }

    /// Weeks of remission of 21 patients with 6-mercaptopurine and 21 without (Freireich et al. 1963).
    fn freireich() -> (Vec<Observation>, Vec<Observation>) {
        let drug = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|week| (f64::from(week), true));
        let left = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|week| (f64::from(week), false));
        let none = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23];
        (observed(&[&drug[..], &left].concat()), observed(&none.map(|week| (f64::from(week), true))))
    }

    #[test]
    fn survival_of_a_known_trial() {
        // Kalbfleisch and Prentice (1980), table 1.2: S(6) = .857, S(10) = .753, S(23) = .448.
        let (drug, _) = freireich();
        for (week, share) in [(6.0, 1.0), (6.5, 0.857), (10.5, 0.753), (23.5, 0.448)] {
            close(survival(&drug, week).unwrap(), share, 5e-4);
        }
        assert_eq!(survival(&[], 1.0), None);
        assert_eq!(survival(&observed(&[(5.0, false)]), 6.0), None);
        assert_eq!(survival(&observed(&[(5.0, true)]), 6.0), Some(0.0));
    }

    #[test]
    fn log_rank_of_a_known_trial() {
        // The same: 9 observed and 19.25 expected with the drug, 21 and 10.75 without.
        let (drug, none) = freireich();
        let scores = log_rank_scores(&[drug, none].concat());
        close(scores[..21].iter().sum(), 9.0 - 19.25, 0.01);
        close(scores[21..].iter().sum(), 21.0 - 10.75, 0.01);
    }

    #[test]
    fn nothing_happened_scores_nothing() {
        assert_eq!(log_rank_scores(&observed(&[(3.0, false), (9.0, false)])), [0.0, 0.0]);
    }
}
