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
