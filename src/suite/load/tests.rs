use super::*;
use crate::record::suite::{Arrivals, LoadSearch, LoadSpec, SearchOver};

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
fn whether_a_task_counts_is_said_where_it_has_a_quality() {
    let task = |name: &str, keys: &str| task(Path::new("."), &format!("name = \"{name}\"\n{keys}"));
    let counts = |name, keys| task(name, keys).unwrap().primary;
    assert_eq!(counts("retrieval/niah_multikey_1", ""), None);
    assert_eq!(counts("retrieval/niah_multikey_1", "primary = true"), Some(true));
    assert_eq!(counts("retrieval/niah_multikey_2", "primary = false"), Some(false));
    let silent = serde_json::to_value(task("retrieval/niah_multikey_1", "").unwrap()).unwrap();
    assert!(silent.get("primary").is_none(), "suites of old keep their fingerprint: {silent}");
    for (name, said) in
        [("coherence/kld", "has no quality of its own"), ("serving/prefix_cache", "not how good answers are")]
    {
        let error = task(name, "primary = true").unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
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

fn loaded(keys: &str) -> Result<LoadSpec> {
    let text = format!(
        "name = \"t\"\ncontexts = [512, 2048]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n\
         [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 8\n\
         [[task]]\nname = \"coherence/kld\"\nsamples = 1\n\
         [[task]]\nname = \"tools/arguments\"\nsamples = 5\ncontexts = [2048]\narms = [\"native\", \"prompted\"]\n\
         [load]\n{keys}\n"
    );
    Ok(parse(&text, Path::new("suite.toml"), &[])?.load.unwrap())
}

#[test]
fn a_load_phase_has_what_it_needs_filled_in() {
    let load = loaded("concurrency = [1, 8, 4]\nrates = [0.5]\nrequests = 100\n").unwrap();
    assert_eq!((load.context, load.slots, load.requests), (512, 8, Some(100)));
    let steps: Vec<String> = load.steps().into_iter().map(Arrivals::words).collect();
    assert_eq!(steps, ["1 stream", "8 streams", "4 streams", "0.5 requests/s"]);
    // The longest prompt may come out a tenth longer.
    let long =
        loaded("rates = [2]\nduration_s = 30\nprompt_tokens = [64, 400]\noutput_tokens = 80\n").unwrap();
    assert_eq!((long.context, long.slots), (2048, 4));
    assert_eq!([0, 1, 2].map(|number| long.sizes(number)), [(64, 80), (400, 80), (64, 80)]);

    let quality =
        "concurrency = [2]\nrequests = 4\n[load.quality]\ntask = \"tools/arguments\"\nsamples = 3\n";
    let load = loaded(quality).unwrap();
    let asked = load.quality.clone().unwrap();
    assert_eq!((asked.samples, asked.context, asked.arm), (3, 2048, Some(crate::record::Arm::Native)));
    assert_eq!(load.context, 2048, "the cases must fit, too");
    let text = serde_json::to_string(&load).unwrap();
    assert_eq!(serde_json::from_str::<LoadSpec>(&text).unwrap(), load);
}

#[test]
fn a_search_has_what_it_needs_filled_in() {
    let search = "requests = 40\n[load.limits]\nttft_s = 1\n[load.search]\nover = \"streams\"\nto = 64\n";
    let load = loaded(search).unwrap();
    let found = load.search.unwrap();
    let expected = LoadSearch { over: SearchOver::Streams, from: 1.0, to: 64.0, within: 0.1, goal: 0.95 };
    assert_eq!((found, load.slots, load.steps()), (expected, 64, Vec::new()));
    let rate = "requests = 100\nslots = 8\n[load.search]\nover = \"rate\"\nfrom = 0.5\nto = 4\nwithin = 0.2\ngoal = 0.99\n\
                [load.quality]\ntask = \"retrieval/niah_multikey_2\"\n";
    let load = loaded(rate).unwrap();
    assert_eq!((load.search.unwrap().to, load.slots), (4.0, 8));
    let text = serde_json::to_string(&load).unwrap();
    assert_eq!(serde_json::from_str::<LoadSpec>(&text).unwrap(), load);
}

#[test]
fn limits_decide_where_a_search_goes() {
    let search = |limit: &str| {
        let keys = "duration_s = 9\n[load.search]\nover = \"rate\"\nfrom = 1\nto = 4\n[load.limits]\n";
        judged(&format!("[load]\n{keys}ttft_s = {limit}\n")).unwrap().fingerprint()
    };
    assert_ne!(search("1"), search("2"));
}

#[test]
fn mistakes_in_a_search_are_shown_where_they_are() {
    let streams = "requests = 40\n[load.limits]\nttft_s = 1\n[load.search]\nover = \"streams\"\n";
    let rate = "requests = 40\n[load.search]\nover = \"rate\"\n";
    for (keys, expected, hint) in [
        (format!("concurrency = [2]\n{streams}to = 8"), "beside a list of steps", "leave out `concurrency`"),
        (format!("rates = [2]\n{rate}from = 1\nto = 8"), "beside a list of steps", "leave out"),
        (
            "requests = 40\n[load.search]\nover = \"streams\"\nto = 8".to_owned(),
            "nothing that ends it",
            "[load.limits]",
        ),
        (format!("{streams}to = 1"), "goes from 1 to 1", ""),
        (format!("{streams}to = 2000"), "to (streams) is 2000", ""),
        (format!("{streams}to = 8.5"), "to (streams) is 8.5", ""),
        (format!("{streams}from = 0\nto = 8"), "from (streams) is 0", ""),
        (format!("{streams}from = nan\nto = 8"), "from (streams) is NaN", ""),
        (format!("{rate}to = 8"), "at which rate it starts", "from = 0.1"),
        (format!("{rate}from = 2\nto = 1"), "goes from 2 to 1", ""),
        (format!("{rate}from = 2\nto = 1e9"), "to (requests/s) is", ""),
        (format!("{streams}to = 8\nwithin = 0.001"), "within (a share: 0.1 is 10%) is 0.001", ""),
        (format!("{streams}to = 8\ngoal = 0.2"), "goal (a share: 0.95 is 95%) is 0.2", ""),
        (
            format!("{streams}to = 8\ngoal = 0.99"),
            "40 requests a step cannot tell",
            "requests = 100, or goal = 1",
        ),
        (format!("{streams}to = 8\nover_ = 1"), "over_", ""),
        (format!("{}to = 8", streams.replace("streams", "users")), "users", ""),
        (
            format!(
                "slots = 1\n{rate}from = 1\nto = 8\n[load.quality]\ntask = \"retrieval/niah_multikey_2\""
            ),
            "without a load",
            "more than one slot",
        ),
    ] {
        let error = loaded(&keys).unwrap_err();
        assert!(error.to_string().contains(expected), "{keys}: {error}");
        assert!(error.location().is_some(), "{keys}");
        assert!(error.hints().join(" ").contains(hint), "{keys}: {:?}", error.hints());
    }
}

#[test]
fn limits_judge_a_load_and_change_no_request() {
    let fingerprint = |keys: &str| judged(&format!("[load]\n{keys}")).unwrap().fingerprint();
    let bare = fingerprint("concurrency = [2]\nrequests = 4\n");
    assert_eq!(bare, fingerprint("concurrency = [2]\nrequests = 4\n[load.limits]\nttft_s = 0.5\n"));
    assert_ne!(bare, fingerprint("concurrency = [4]\nrequests = 4\n"));
    assert_ne!(bare, judged("").unwrap().fingerprint());
}

#[test]
fn mistakes_in_a_load_phase_are_shown_where_they_are() {
    let step = "concurrency = [2]\nrequests = 4\n";
    for (keys, expected) in [
        ("requests = 4".to_owned(), "neither how many streams"),
        ("concurrency = [2]".to_owned(), "how long a step is"),
        ("concurrency = [0]\nrequests = 4".to_owned(), "concurrency (streams) is 0"),
        ("concurrency = [2, 2]\nrequests = 4".to_owned(), "named twice"),
        ("rates = [0]\nrequests = 4".to_owned(), "rate (requests/s) is 0"),
        ("rates = [1]\nrequests = 1".to_owned(), "requests is 1"),
        (format!("{step}prompt_tokens = []"), "prompt_tokens is empty"),
        (format!("{step}prompt_tokens = [64, 5]"), "prompt_tokens is 5"),
        (format!("{step}prompt_tokens = 2000"), "no context of the suite holds"),
        (format!("{step}context = 512\nprompt_tokens = 1000"), "does not hold a request"),
        (format!("{step}context = 1024"), "not one of the suite's"),
        (format!("{step}shared_prefix_tokens = 250"), "shared_prefix_tokens is 250"),
        (format!("{step}slots = 0"), "slots is 0"),
        (format!("{step}slotz = 3"), "slotz"),
        (format!("{step}[load.limits]"), "limits nothing"),
        (format!("{step}[load.limits]\nttft_s = 0"), "ttft_s is 0"),
        (format!("{step}[load.quality]\ntask = \"x\""), "unknown task"),
        (format!("{step}[load.quality]\ntask = \"coherence/kld\""), "no scores of its own"),
        (format!("{step}[load.quality]\ntask = \"retrieval/niah_multikey_2\"\nsamples = 9"), "samples"),
        (format!("{step}[load.quality]\ntask = \"tools/arguments\"\ncontext = 512"), "does not run at 512"),
        (
            format!("{step}[load.quality]\ntask = \"tools/arguments\"\narm = \"constrained\""),
            "arm constrained",
        ),
        (
            "rates = [1]\nrequests = 4\n[load.quality]\ntask = \"retrieval/niah_multikey_2\"".to_owned(),
            "without a load",
        ),
    ] {
        let error = loaded(&keys).unwrap_err();
        assert!(error.to_string().contains(expected), "{keys}: {error}");
        assert!(error.location().is_some(), "{keys}");
    }
}
/// A GGUF file that says its quant and nothing else.
fn gguf(file_type: u32) -> Vec<u8> {
    let key = "general.file_type";
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend([0; 8]);
    out.extend(1_u64.to_le_bytes());
    out.extend((key.len() as u64).to_le_bytes());
    out.extend(key.as_bytes());
    out.extend(4_u32.to_le_bytes());
    out.extend(file_type.to_le_bytes());
    out
}

fn with_model(folder: &Path, model: &str, matrix: &str) -> Result<Suite> {
    let text = format!(
        "name = \"t\"\ncontexts = [2048]\n[reference]\n[matrix]\n{matrix}\n[[model]]\nname = \"m\"\n{model}\n\
         [[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n"
    );
    parse(&text, &folder.join("suite.toml"), &[])
}

#[test]
fn a_pattern_offers_every_quant_of_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("Foo-Q8_0.gguf"), [gguf(7), vec![0; 50]].concat()).unwrap();
    std::fs::write(at.join("Foo-Q4_0.gguf"), gguf(2)).unwrap();
    std::fs::write(at.join("Foo-Q4_1.gguf"), [gguf(3), vec![0; 10]].concat()).unwrap();
    let labels = |model: &str, matrix: &str| -> Vec<String> {
        let suite = with_model(at, model, matrix).unwrap();
        suite.settings.iter().map(|setting| setting.weights.clone()).collect()
    };
    let pattern = "path = \"Foo-*.gguf\"";
    assert_eq!(
        labels(pattern, "weights = [\"all\"]"),
        ["Q8_0", "Q4_1", "Q4_0"],
        "the largest is the reference's"
    );
    let chosen = format!("{pattern}\nweights = \"q4_1\"\nderive = [\"Q6_K\"]");
    assert_eq!(labels(&chosen, "weights = [\"all\"]"), ["Q4_1", "Q8_0", "Q4_0", "Q6_K"]);
    assert_eq!(labels("path = \".\"", "weights = [\"Q4_0\"]"), ["Q8_0", "Q4_0"]);
    let suite = with_model(at, pattern, "weights = [\"Q4_0\"]").unwrap();
    assert_eq!(suite.models[0].path, Some(at.join("Foo-Q8_0.gguf")));
    assert_eq!(suite.models[0].quants[1].path, Some(at.join("Foo-Q4_0.gguf")));
    let text = serde_json::to_string(&suite).unwrap();
    assert_eq!(serde_json::from_str::<Suite>(&text).unwrap(), suite);
    for (model, matrix, expected) in [
        (pattern, "weights = [\"Q5_0\"]", "unknown weight quant"),
        ("path = \"Bar-*.gguf\"", "", "no GGUF file matches"),
        ("path = \"Foo-*.gguf\"\nweights = \"Q5_0\"", "", "unknown weight quant here"),
        ("path = \"Foo-*.gguf\"\nquants = [\"Q4_0\"]", "", "has no `from`"),
        ("path = \"Foo-*.gguf\"\nderive = [\"Q4_0\"]", "", "it is there already"),
        ("path = \"Foo.gguf\"", "", "does not say its weight quant"),
    ] {
        let error = with_model(at, model, matrix).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.location().is_some());
    }
}

#[test]
fn a_model_of_a_hub_is_named_and_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let load = |model: &str, matrix: &str| with_model(folder.path(), model, matrix);
    let suite = load("from = \"hf:owner/repo:q4_k_m\"\nquants = [\"Q8_0\"]", "weights = [\"all\"]").unwrap();
    let weights: Vec<&str> = suite.settings.iter().map(|setting| setting.weights.as_str()).collect();
    assert_eq!(weights, ["Q4_K_M", "Q8_0"]);
    assert_eq!(suite.models[0].from.as_deref(), Some("hf:owner/repo:q4_k_m"));
    assert_eq!(load("from = \"hf:o/r:a/m-IQ4_XS.gguf\"", "").unwrap().models[0].weights, "IQ4_XS");
    assert_eq!(load("from = \"hf:o/r\"\nweights = \"awq-4bit\"", "").unwrap().models[0].weights, "awq-4bit");
    for (model, expected) in [
        ("from = \"owner/repo\"", "does not begin with `hf:`"),
        ("from = \"hf:owner/repo\"", "does not say its weight quant"),
        ("from = \"hf:o/r:Q4_0\"\nquants = [\"Q4_0\"]", "named twice"),
        ("from = \"hf:o/r:Q4_0\"\npath = \"m.gguf\"", "exactly one of"),
    ] {
        let error = load(model, "").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.location().is_some());
    }
}

/// What an existing suite resolves to is written as before, so that its fingerprint stays.
#[test]
fn a_plain_model_is_written_as_before() {
    let suite = with_model(Path::new("x"), "path = \"m.gguf\"\nweights = \"Q8_0\"", "").unwrap();
    let written = serde_json::to_string(&suite.models[0]).unwrap();
    assert_eq!(written, r#"{"name":"m","package":null,"path":"x/m.gguf","weights":"Q8_0","derive":[]}"#);
}

#[test]
fn scores_by_probability_are_checked_before_anything_runs() {
    let suite = |engine: &str, tasks: &str| {
        let text = format!(
            "name = \"a\"\ncontexts = [512]\n[engine]\nname = \"{engine}\"\n[[model]]\nname = \"m\"\npath = \"/m\"\n\
             weights = \"Q8_0\"\n[reference]\n{tasks}"
        );
        super::super::parse(&text, Path::new("a.toml"), &[])
    };
    let task = |name: &str, keys: &str| format!("[[task]]\nname = \"{name}\"\nsamples = 8\n{keys}\n");
    let scored = task("retrieval/niah_multikey_2", "score = \"probability\"\nquestions = 4");
    let spec = suite("llama.cpp", &scored).unwrap().tasks.remove(0);
    assert_eq!((spec.score, spec.questions), (crate::record::Scoring::Probability, 4));
    assert_eq!([0, 3, 4, 7].map(|index| spec.round_of(index, 2)), [0, 0, 1, 1]);
    for (engine, tasks, word) in [
        (
            "llama.cpp",
            task("coherence/instruction_retention", "score = \"probability\""),
            "no answer that could be scored",
        ),
        ("llama.cpp", task("retrieval/niah_single_1", "questions = 2"), "questions to one text"),
        ("llama.cpp", task("retrieval/niah_multikey_2", "questions = 33"), "questions to one text"),
        (
            "llama.cpp",
            task("retrieval/niah_multikey_2", "score = \"probability\"\noptions.thinking_tokens = 100"),
            "thinking",
        ),
        ("llama.cpp", scored.clone() + &task("retrieval/common_words", ""), "must have the same score"),
        ("llama.cpp", task("coherence/running_sum", "questions = 2"), "with this score"),
        (
            "llama.cpp",
            task("tools/selection", "score = \"probability\"\narms = [\"native\"]"),
            "beside a score by probability",
        ),
        ("tabbyapi", scored.clone(), "does not tell how probable"),
    ] {
        let error = suite(engine, &tasks).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let windowed = |window: &str| {
        task("retrieval/niah_multikey_2", &format!("score = \"probability\"\nwindow = {window}"))
    };
    let chosen = suite("llama.cpp", &windowed("[0.1, 0.9]")).unwrap().tasks[0].window.unwrap();
    assert_eq!((chosen.low(), chosen.high()), (0.1, 0.9));
    for wrong in ["[0.9, 0.1]", "[0.5, 1.5]", "[-0.1, 0.5]"] {
        assert!(suite("llama.cpp", &windowed(wrong)).unwrap_err().to_string().contains("no part of 0 to 1"));
    }
    let beside_match =
        suite("llama.cpp", &task("retrieval/niah_multikey_2", "window = [0.1, 0.9]")).unwrap_err();
    assert!(beside_match.to_string().contains("right or wrong"), "{beside_match}");
    // A call can be forced where it is text.
    let tools = suite("llama.cpp", &task("tools/selection", "score = \"probability\"")).unwrap();
    assert_eq!(tools.tasks[0].arms, [crate::record::Arm::Prompted]);
    assert!(
        suite("llama.cpp", &task("coherence/running_sum", "score = \"probability\"\nquestions = 2")).is_ok()
    );
    // What has no score of its own goes with either.
    assert!(suite("llama.cpp", &(scored + &task("serving/speed", ""))).is_ok());
}

fn sampled(keys: &str, models: &str, settings: &str) -> Result<Suite> {
    let text = format!(
        "name = \"t\"\ncontexts = [2048]\n{keys}\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n{models}\n\
         {settings}\n[[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 2\n[[task]]\nname = \"coherence/kld\"\nsamples = 1\n"
    );
    parse(&text, Path::new("suite.toml"), &[])
}

#[test]
fn what_a_model_and_a_setting_say_of_sampling_replaces_what_the_suite_says() {
    let other = "[model.sampling]\ntop_k = 20\ntemperature = 0.6\n[[model]]\nname = \"n\"\npath = \"n.gguf\"\nweights = \"Q8_0\"";
    let settings = "[reference]\n[matrix]\nkv = [\"q8_0\"]\n[[setting]]\nmodel = \"n\"\n[[setting]]\nkv = \"q4_0\"\n\
                    sampling = { temperature = 1.0, presence_penalty = 1.5, seed = 9 }";
    let suite = sampled("[sampling]\ntop_p = 0.9", other, settings).unwrap();
    let of = |at: usize| suite.sampling_of(&suite.settings[at]);
    assert_eq!((of(0).temperature, of(0).top_k, of(0).top_p), (0.6, 20, 0.9));
    assert_eq!(of(1), of(0), "the matrix has the reference's");
    assert_eq!(of(2), suite.sampling, "another model has none of its own");
    assert_eq!((of(3).temperature, of(3).top_k, of(3).presence_penalty, of(3).seed), (1.0, 20, 1.5, 9));
    // What the setting says itself is in its name, what its model says is the model's.
    let labels: Vec<&str> = suite.settings.iter().map(|setting| setting.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "m Q8_0 kv=f16",
            "m Q8_0 kv=q8_0",
            "n Q8_0 kv=f16",
            "m Q8_0 kv=q4_0 temperature=1 presence_penalty=1.5 seed=9"
        ]
    );
    let text = serde_json::to_string(&suite).unwrap();
    assert_eq!(serde_json::from_str::<Suite>(&text).unwrap(), suite);

    let reference = "[reference]\nsampling = { temperature = 0.8 }\n[matrix]\nkv = [\"q8_0\"]";
    let suite = sampled("", "", reference).unwrap();
    assert!(suite.settings.iter().all(|setting| suite.sampling_of(setting).temperature == 0.8));
    assert_eq!(suite.settings[1].label, "Q8_0 kv=q8_0 temperature=0.8");
}

#[test]
fn a_suite_that_samples_alike_is_written_as_ever() {
    let plain = sampled("", "", "[reference]").unwrap();
    let written = serde_json::to_value(&plain).unwrap();
    assert!(written["settings"][0].get("sampling").is_none() && written["tasks"][0].get("repeats").is_none());
    assert!(written["sampling"].get("presence_penalty").is_none());
    let same = sampled("", "[model.sampling]\ntemperature = 0.0", "[reference]").unwrap();
    assert_eq!(same.fingerprint(), plain.fingerprint(), "saying what is so anyway changes nothing");
    let warm = sampled("", "[model.sampling]\ntemperature = 0.1", "[reference]").unwrap();
    assert_ne!(warm.fingerprint(), plain.fingerprint());
    let thrice = sampled("repeats = 3", "[model.sampling]\ntemperature = 0.1", "[reference]").unwrap();
    assert_ne!(thrice.fingerprint(), warm.fingerprint());
}

#[test]
fn cases_are_repeated_where_a_score_can_differ() {
    let warm = "[model.sampling]\ntemperature = 0.7";
    let suite = sampled("repeats = 3", warm, "[reference]").unwrap();
    let repeats: Vec<u32> = suite.tasks.iter().map(|task| task.repeats).collect();
    assert_eq!(repeats, [3, 1], "distributions are no draws");
    assert_eq!(sampled("repeats = 1", "", "[reference]").unwrap().repeats(), None);

    let one_task = |name: &str, more: &str| {
        let text = format!(
            "name = \"t\"\ncontexts = [2048]\nrepeats = 2\n[sampling]\ntemperature = 0.7\n[[model]]\nname = \"m\"\n\
             path = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n[[task]]\nname = \"{name}\"\nsamples = 2\n{more}\n"
        );
        parse(&text, Path::new("suite.toml"), &[])
    };
    for (suite, said) in [
        (sampled("repeats = 3", "", "[reference]"), "repeats = 3 at temperature 0 (Q8_0 kv=f16)"),
        (
            sampled("repeats = 3\n[sampling]\ntemperature = 0.7\ntop_k = 1", "", "[reference]"),
            "repeats = 3 at top_k 1",
        ),
        (
            sampled("repeats = 3", warm, "[reference]\n[[setting]]\nsampling = { temperature = 0.0 }"),
            "at temperature 0 (Q8_0 kv=f16 temperature=0)",
        ),
        (sampled("repeats = 0", warm, "[reference]"), "repeats is 0"),
        (sampled("repeats = 101", warm, "[reference]"), "repeats is 101"),
        (one_task("retrieval/niah_multikey_2", "score = \"probability\""), "beside score = \"probability\""),
        (one_task("coherence/kld", ""), "nothing to ask several times"),
        (sampled("[sampling]\ntemperature = 11.0", "", "[reference]"), "temperature is 11"),
        (sampled("", "[model.sampling]\ntop_p = 1.5", "[reference]"), "top_p is 1.5"),
        (sampled("", "", "[reference]\nsampling = { presence_penalty = 3.0 }"), "presence_penalty is 3"),
        (sampled("", "", "[reference]\nsampling = { temprature = 0.3 }"), "unknown field `temprature`"),
        (
            sampled(
                "",
                "",
                "[reference]\n[matrix]\nkv = [\"q8_0\", \"q4_0\"]\nexclude = [{ kv = \"q4_0\", sampling = { seed = 2 } }]",
            ),
            "`sampling` in an exclusion",
        ),
    ] {
        let error = suite.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(error.location().is_some(), "{error}");
    }
}
