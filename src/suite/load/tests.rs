use super::*;

fn task(folder: &Path, keys: &str) -> Result<TaskSpec> {
    let text = format!(
        "name = \"t\"\ncontexts = [2048]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n\
         [[task]]\nsamples = 1\n{keys}\n"
    );
    Ok(parse(&text, &folder.join("suite.toml"), &[])?.tasks.remove(0))
}

#[test]
fn mode_and_text_are_checked_and_what_is_not_said_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.txt"), "One sentence. Another one.").unwrap();
    let task = |keys: &str| task(folder.path(), keys);
    let plain = task("name = \"retrieval/niah_single_2\"").unwrap();
    assert_eq!((plain.mode, plain.text.clone()), (Mode::Chat, None));
    let written = serde_json::to_value(&plain).unwrap();
    assert!(written.get("mode").is_none() && written.get("text").is_none(), "{written}");

    let both = task("name = \"retrieval/niah_single_2\"\nmode = \"prefill\"\ntext = \"own.txt\"").unwrap();
    assert_eq!(both.mode, Mode::Prefill);
    assert_eq!(both.text.clone().unwrap().path, folder.path().join("own.txt"));
    let text = serde_json::to_string(&both).unwrap();
    assert_eq!(serde_json::from_str::<TaskSpec>(&text).unwrap(), both);

    for (keys, expected) in [
        ("name = \"coherence/kld\"\nmode = \"prefill\"", "has no mode prefill"),
        ("name = \"retrieval/niah_single_1\"\ntext = \"own.txt\"", "takes no text"),
        ("name = \"retrieval/niah_single_2\"\ntext = \"missing\"", "cannot read text"),
        (
            "name = \"retrieval/niah_single_2\"\nmode = \"prefill\"\noptions = { thinking_tokens = 64 }",
            "does not think",
        ),
    ] {
        let error = task(keys).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.location().is_some());
    }
}

#[test]
fn a_second_file_is_in_the_suites_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = |keys: &str| task(folder.path(), keys).unwrap().file.unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let pair = file("name = \"tools/bfcl\"\nfile = \"q.json,answers/a.json\"");
    assert_eq!(pair.display().to_string(), format!("{},{}", at("q.json"), at("answers/a.json")));
    assert_eq!(file("name = \"tools/bfcl\"\nfile = \"q.json\"").display().to_string(), at("q.json"));
    let comma = file("name = \"retrieval/ruler\"\nfile = \"a,b.jsonl\"");
    assert_eq!(comma.display().to_string(), at("a,b.jsonl"));
}

fn judged(keys: &str) -> Result<Suite> {
    let text = format!(
        "name = \"t\"\ncontexts = [2048]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n\
         [matrix]\nkv = [\"q8_0\"]\n[[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 1\n{keys}\n"
    );
    parse(&text, Path::new("suite.toml"), &[])
}

#[test]
fn stopping_and_gates_are_read() {
    let suite = judged(
        "[stopping]\nrule = \"racing\"\nbudget_s = 3600\n[[gate]]\nmetric = \"quality\"\n\
         cells = [\"setting=*q8_0*\"]\nno_worse_than_reference = true\nstrict = true\n",
    )
    .unwrap();
    assert!(suite.stops_by_outcome());
    assert_eq!(suite.gates[0].words(), "quality no worse than the reference, shown (setting=*q8_0*)");
    assert!(!judged("[stopping]\nbudget_tokens = 5\n").unwrap().stops_by_outcome());
    let bare = judged("").unwrap();
    let gated = judged("[[gate]]\nmetric = \"decode\"\nmin = 10.5\n").unwrap();
    assert_eq!(bare.fingerprint(), gated.fingerprint(), "a gate changes no trial");
    assert_ne!(bare.fingerprint(), suite.fingerprint(), "stopping does");
}

#[test]
fn mistakes_in_stopping_and_gates_are_shown_where_they_are() {
    for (keys, expected) in [
        ("[stopping]\n", "says nothing"),
        ("[stopping]\nrule = \"sequental\"\n", "sequental"),
        ("[stopping]\nbudget_tokens = 0\n", "budget_tokens is 0"),
        ("[stopping]\nbudget_s = -1\n", "budget_s is -1"),
        ("[[gate]]\nmetric = \"quality\"\n", "has no limit"),
        ("[[gate]]\nmetric = \"decode\"\nno_worse_than_reference = true\n", "no verdict on decode"),
        ("[[gate]]\nmetric = \"decode\"\ntask = \"x\"\nmin = 1\n", "of one task"),
        ("[[gate]]\nmetric = \"quality\"\ntask = \"x\"\nmin = 0.5\n", "unknown task"),
        ("[[gate]]\nmetric = \"quality\"\nmin = 0.5\ncells = [\"setting=*q9*\"]\n", "about no cell"),
        ("[[gate]]\nmetric = \"quality\"\nmin = 0.5\ncells = [\"task=x\"]\n", "names no cells"),
    ] {
        let error = judged(keys).unwrap_err();
        assert!(error.to_string().contains(expected), "{keys}: {error}");
        assert!(error.location().is_some(), "{keys}");
    }
}

fn settings(keys: &str) -> Result<Vec<String>> {
    let text = format!(
        "name = \"t\"\ncontexts = [2048]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\nderive = [\"Q4_0\"]\n\
         [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 1\n{keys}\n"
    );
    let suite = parse(&text, Path::new("suite.toml"), &[])?;
    let written = serde_json::to_string(&suite).unwrap();
    assert_eq!(serde_json::from_str::<Suite>(&written).unwrap(), suite);
    Ok(suite.settings.into_iter().map(|setting| setting.label).collect())
}

#[test]
fn options_and_drafts_are_part_of_a_setting() {
    let found = settings(
        "[reference]\n[[setting]]\nspeculation = \"draft-simple\"\ndraft = \"m:Q4_0\"\noptions = { draft_max = 4, ubatch = 128 }\n\
         [[setting]]\nspeculation = \"ngram-simple,draft-simple\"\ndraft = \"m\"\noptions.mlock = true\n",
    );
    assert_eq!(
        found.unwrap(),
        [
            "m kv=f16",
            "m kv=f16 spec=draft-simple draft=m:Q4_0 draft_max=4 ubatch=128",
            "m kv=f16 spec=ngram-simple,draft-simple draft=m:Q8_0 mlock=true",
        ]
        .map(|label| label.replace("m kv", "Q8_0 kv"))
    );
}

#[test]
fn a_matrix_leaves_drafts_and_options_out_where_they_mean_nothing() {
    let found = settings(
        "[reference]\n[matrix]\nspeculation = [\"off\", \"draft-simple\"]\ndraft = [\"m:Q4_0\"]\n\
         exclude = [{ options = { draft_max = 8, ubatch = 128 } }]\n\
         [matrix.options]\ndraft_max = [4, 8]\nubatch = [128, 512]\n",
    );
    let expected = [
        "Q8_0 kv=f16",
        "Q8_0 kv=f16 ubatch=128",
        "Q8_0 kv=f16 ubatch=512",
        "Q8_0 kv=f16 spec=draft-simple draft=m:Q4_0 draft_max=4 ubatch=128",
        "Q8_0 kv=f16 spec=draft-simple draft=m:Q4_0 draft_max=4 ubatch=512",
        "Q8_0 kv=f16 spec=draft-simple draft=m:Q4_0 draft_max=8 ubatch=512",
    ];
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn mistakes_in_options_point_at_them() {
    for (keys, expected, hint) in [
        ("options.ubach = 128", "unknown option of llama.cpp `ubach`", "did you mean `ubatch`"),
        ("options.ubatch = 0", "takes a whole number from 1", ""),
        ("options.ubatch = \"many\"", "not `many`", ""),
        ("options.split_mode = \"layers\"", "did you mean `layer`", ""),
        ("options.draft_max = 4", "belongs to speculation draft-simple", ""),
        ("options.ubatch = [1]", "a number, a text", ""),
        ("draft = \"m\"", "drafts without a second model", ""),
        ("speculation = \"draft-simple\"\ndraft = \"n\"", "unknown model `n`", ""),
        (
            "speculation = \"draft-simple\"\ndraft = \"m:Q5_0\"",
            "unknown weight quant of this model `Q5_0`",
            "",
        ),
    ] {
        let error = settings(&format!("[reference]\n[[setting]]\n{keys}\n")).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.location().is_some_and(|place| !place.span.is_empty()), "{keys}");
        assert!(error.hints().join(" ").contains(hint), "{:?}", error.hints());
    }
}
