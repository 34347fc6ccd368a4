//! What the trials of a run have in common, as a hash; and whether a header is still the one that it was made of.

use std::collections::BTreeMap;

use serde_json::Value;

use super::header::Header;
use crate::record::suite::Suite;
use crate::record::{EngineInfo, FileInfo, ModelInfo, short_hash};

/// The newest version that any task has. Where no case names a task's version, all up to this are tried.
pub(crate) const NEWEST_TASK_VERSION: u32 = 3;
/// Most combinations of task versions that are tried.
const MOST_TRIES: usize = 65_536;

/// What a run's trials have in common: suite, filters, versions of its tasks, engine builds, model and other files.
///
/// Give it what the header holds, paths written as there: whoever reads the header makes the same hash of it. `version`
/// is that of a task by name; 0 for one that is not known.
pub fn fingerprint(
    suite: &Suite,
    filters: &[String],
    version: fn(&str) -> u32,
    engines: &[EngineInfo],
    models: &[ModelInfo],
    files: &[FileInfo],
) -> String {
    let versions = suite.tasks.iter().map(|spec| format!("{}={}", spec.name, version(&spec.name)));
    hash(suite.fingerprint(), filters, versions.collect(), (engines, models, files))
}

fn hash(
    suite: String,
    filters: &[String],
    versions: Vec<String>,
    (engines, models, files): (&[EngineInfo], &[ModelInfo], &[FileInfo]),
) -> String {
    let engines = engines.iter().map(|engine| {
        let bytes = engine.sha256.as_ref().map_or_else(String::new, |sha256| format!(" {sha256}"));
        format!("{}={}{bytes}", engine.name, engine.version)
    });
    let files = files.iter().map(|file| format!("{}={}", file.name, file.sha256));
    let models = models.iter().map(|model| format!("{}:{}={}", model.name, model.weights, model.sha256));
    let parts = std::iter::once(suite).chain(filters.iter().cloned()).chain(versions);
    let parts: Vec<String> = parts.chain(engines).chain(models).chain(files).collect();
    short_hash(parts.join("\n").as_bytes())
}

/// The hash of the suite as a header holds it: [`Suite::fingerprint`], but of the text, so that a kneepoint whose
/// suites have further keys makes the same of an older journal.
pub(super) fn suite_hash(header: &[u8]) -> Option<String> {
    let mut header: Value = serde_json::from_slice(header).ok()?;
    let suite = header.pointer_mut("/header/suite")?.as_object_mut()?;
    *suite.get_mut("description")? = Value::String(String::new());
    suite.shift_remove("gates");
    // Where a search goes follows from the limits.
    let load = suite.get_mut("load").and_then(Value::as_object_mut);
    if let Some(load) = load.filter(|load| !load.contains_key("search")) {
        load.shift_remove("limits");
    }
    Some(short_hash(&serde_json::to_vec(suite).ok()?))
}

/// Says when a header is not the one that its fingerprint was made of. `suite`: its [`suite_hash`]; `versions`: those of the
/// tasks that cases were made of.
pub(super) fn doubt(header: &Header, versions: &BTreeMap<&str, u32>, suite: &str) -> Option<String> {
    let Header { fingerprint, filters, engines, models, files, .. } = header;
    let mut candidates = candidates(header, versions)?;
    let set_up = (engines.as_slice(), models.as_slice(), files.as_slice());
    let fits = candidates.any(|versions| hash(suite.to_owned(), filters, versions, set_up) == *fingerprint);
    (!fits).then(|| {
        format!(
            "the journal's header was changed after the run or is damaged: its fingerprint {fingerprint} is not that \
             of its suite, engines and models, so the figures may rest on another margin, confidence or setting than \
             the run's"
        )
    })
}

/// The versions that the tasks may have had, `TASK=VERSION` each; `None` when there are too many to try.
fn candidates(
    header: &Header,
    versions: &BTreeMap<&str, u32>,
) -> Option<impl Iterator<Item = Vec<String>> + use<>> {
    let possible = header.suite.tasks.iter().map(|spec| match versions.get(spec.name.as_str()) {
        Some(version) => (spec.name.clone(), *version, 1),
        // No case was made of it: any version; 0 where the task was not known.
        None => (spec.name.clone(), 0, NEWEST_TASK_VERSION + 1),
    });
    let possible: Vec<(String, u32, u32)> = possible.collect();
    let tries = possible.iter().try_fold(1_usize, |all, (.., count)| all.checked_mul(*count as usize));
    let tries = tries.filter(|tries| *tries <= MOST_TRIES)?;
    Some((0..tries).map(move |mut number| {
        let mut choose = |count: u32| {
            let chosen = number % count as usize;
            number /= count as usize;
            chosen as u32
        };
        possible.iter().map(|(name, first, count)| format!("{name}={}", first + choose(*count))).collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::journal::records::Record;
    use crate::record::journal::whole::Journal;
    use crate::record::suite::LoadSpec;
    use crate::task::version_of;

    fn journal() -> Journal {
        journal_of("concurrency = [2]\nrequests = 4\nprompt_tokens = 64\noutput_tokens = 8\n")
    }

    fn journal_of(load: &str) -> Journal {
        let head = "name = \"t\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 2\n\
                    [[task]]\nname = \"tools/arguments\"\nsamples = 2\n[[gate]]\nmetric = \"quality\"\nmin = 0.5\n\
                    [load]\n";
        let text = format!("{head}{load}[load.limits]\nttft_s = 0.5\n");
        let suite = crate::suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap();
        let mut header = testing::header(suite);
        let Header { suite, filters, engines, models, files, .. } = &header;
        header.fingerprint = fingerprint(suite, filters, version_of, engines, models, files);
        Journal::new(header)
    }

    fn doubt_of(journal: &Journal) -> Option<String> {
        let line = serde_json::to_vec(&Record::Header(Box::new(journal.header.clone()))).unwrap();
        doubt(&journal.header, &BTreeMap::new(), &suite_hash(&line).unwrap())
    }

    #[test]
    fn a_header_as_written_is_not_doubted_and_a_changed_one_is() {
        assert_eq!(doubt_of(&journal()), None);
        let change = |change: fn(&mut Header)| {
            let mut journal = journal();
            change(&mut journal.header);
            doubt_of(&journal)
        };
        assert!(change(|header| header.suite.margin = 0.4).unwrap().contains("fingerprint"));
        assert!(change(|header| header.suite.confidence = 0.6).is_some());
        assert!(change(|header| header.filters.push("task=retrieval/*".into())).is_some());
        assert!(change(|header| header.suite.settings[0].label.push('x')).is_some());
        assert_eq!(change(|header| header.suite.gates.clear()), None, "only judges");
        assert_eq!(change(|header| header.suite.description = "other".into()), None);
    }

    #[test]
    fn limits_are_doubted_where_a_search_went_by_them() {
        let of = |load: &str, change: fn(&mut LoadSpec)| {
            let mut journal = journal_of(load);
            journal.header.suite.load.iter_mut().for_each(change);
            doubt_of(&journal)
        };
        let listed = "concurrency = [2]\nrequests = 4\n";
        let searched = "requests = 40\n[load.search]\nover = \"rate\"\nfrom = 0.1\nto = 8\n";
        assert_eq!(of(searched, |_| {}), None);
        assert_eq!(of(listed, |load| load.limits = None), None);
        assert!(of(searched, |load| load.limits = None).is_some());
    }

    #[test]
    fn a_task_of_an_older_version_is_not_doubted() {
        let mut old = journal();
        let suite = old.header.suite.fingerprint();
        let versions = vec!["retrieval/niah_single_1=1".to_owned(), "tools/arguments=1".to_owned()];
        assert!(version_of("retrieval/niah_single_1") > 1 && version_of("tools/arguments") > 1);
        old.header.fingerprint = hash(suite, &[], versions, (&[], &[], &[]));
        assert_eq!(doubt_of(&old), None);
    }
}
