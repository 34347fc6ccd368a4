//! Context lengths at which the reference does not run: nothing can be compared there, so nothing else is measured there.

use std::collections::BTreeMap;

use crate::error::{Error, Kind};
use crate::record::Outcome;
use crate::record::journal::Journal;
use crate::record::plan::Visit;
use crate::record::suite::Suite;

/// Where the reference does not run, and why.
#[derive(Debug, Default)]
pub(super) struct LostReference(BTreeMap<u32, String>);

impl LostReference {
    /// As a journal says: no launch of the reference came up as asked. Where broken trials are tried again, a server that did
    /// not start is, too.
    pub(super) fn of(journal: &Journal, suite: &Suite, retry_failed: bool) -> Self {
        let mut lost = Self::default();
        for &context in &suite.contexts {
            let label = &suite.reference().label;
            let mut launches = journal
                .launches
                .iter()
                .filter(|launch| launch.setting == *label && launch.context == context);
            let why = |launch: &crate::record::journal::LaunchRecord| match &launch.failure {
                Some(failure) => (!retry_failed).then(|| failure.clone()),
                None => (!launch.deviations.is_empty()).then(|| launch.deviations.join("; ")),
            };
            if let Some(Some(first)) = launches.next().map(why)
                && launches.all(|launch| why(launch).is_some())
            {
                lost.0.insert(context, first);
            }
        }
        lost
    }

    /// Takes note of a visit whose server did not come up as asked; says so where it is the reference's first one.
    pub(super) fn note(&mut self, suite: &Suite, visit: &Visit, outcome: &Outcome) -> Option<String> {
        let first = visit.round == 0 && visit.replicate == 0;
        if !first || visit.cell.setting != *suite.reference() {
            return None;
        }
        let why = match outcome {
            Outcome::Unscored { reason } => reason,
            Outcome::Failed { error, .. } => error,
            Outcome::Scored(_) => return None,
        };
        let context = visit.cell.context;
        self.0.insert(context, why.clone());
        Some(format!("the reference does not run at {context} tokens: nothing else is measured there"))
    }

    /// Whether the reference does not run at this context length (tokens).
    pub(super) fn at(&self, context: u32) -> bool {
        self.0.contains_key(&context)
    }

    /// Whether it runs at none of them.
    pub(super) fn everywhere(&self, contexts: &[u32]) -> bool {
        !contexts.is_empty() && contexts.iter().all(|context| self.at(*context))
    }

    /// What to say at the end.
    pub(super) fn error(&self) -> Option<Error> {
        let (context, why) = self.0.iter().next()?;
        let more = match self.0.len() {
            1 => String::new(),
            all => format!(" (and at {} more lengths)", all - 1),
        };
        let message = format!(
            "the reference does not run at {context} tokens{more}, so nothing can be compared there: {why}"
        );
        Some(
            Error::new(Kind::EngineStart, message)
                .hint("make the reference one that this server runs as it is asked to, then start a new run")
                .hint("`kneepoint run SUITE --dry-run` prints the exact commands, to be tried by hand"),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::Stage;
    use crate::record::filter::Filter;
    use crate::record::plan::plan;

    fn suite() -> Suite {
        let text = "name = \"t\"\ncontexts = [512, 1024]\nrounds = 2\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
                    weights = \"Q8_0\"\n[reference]\n[[setting]]\nkv = \"q8_0\"\n[[task]]\n\
                    name = \"retrieval/niah_single_1\"\nsamples = 2\n";
        crate::suite::parse(text, Path::new("t.toml"), &[]).unwrap()
    }

    #[test]
    fn only_the_reference_s_first_visit_loses_a_length() {
        let suite = suite();
        let plan = plan(&suite, &Filter::default()).unwrap();
        let void = Outcome::Unscored { reason: "void cell: other parser".into() };
        let mut lost = LostReference::default();
        for visit in plan.visits.iter().filter(|visit| visit.cell.setting != *suite.reference()) {
            assert_eq!(lost.note(&suite, visit, &void), None);
        }
        assert!(lost.error().is_none());
        let first = plan.visits.iter().find(|visit| visit.cell.setting == *suite.reference()).unwrap();
        let later = plan.visits.iter().rfind(|visit| visit.cell == first.cell).unwrap();
        assert!(later.round > 0 || later.replicate > 0);
        assert_eq!(lost.note(&suite, later, &void), None, "it ran before");
        assert!(lost.note(&suite, first, &void).unwrap().contains("nothing else is measured"));
        assert!(lost.at(first.cell.context) && !lost.everywhere(&suite.contexts));
        let error = lost.error().unwrap();
        assert!(error.to_string().contains("void cell: other parser"), "{error}");
        for context in &suite.contexts {
            let visit = plan
                .visits
                .iter()
                .find(|v| v.cell.context == *context && v.cell.setting == *suite.reference());
            let failed = Outcome::Failed { stage: Stage::Launch, error: "no port".into() };
            lost.note(&suite, visit.unwrap(), &failed);
        }
        assert!(lost.everywhere(&suite.contexts));
    }
}
