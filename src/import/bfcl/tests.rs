use serde_json::json;

use super::*;
use crate::error::Kind;
use crate::task::testing::{WordCounter, params};

/// A question of one function `f` whose parameters have these schemas, with these answers.
fn target(category: &str, properties: Value, required: Value, truth: Value) -> Target {
    let function = json!([{"name": "a.f", "description": "", "parameters":
        {"type": "dict", "properties": properties, "required": required}}]);
    let ground_truth = json!([{"a.f": truth}]);
    serde_json::from_value(
        json!({"source": "x", "category": category, "function": function, "ground_truth": ground_truth}),
    )
    .unwrap()
}

/// What the checker says of a call with these arguments (JSON) in the native arm: the error's name, or "".
fn verdict(target: &Target, arguments: &str) -> &'static str {
    let call = ToolCall { id: None, name: "a_f".into(), arguments: arguments.into() };
    let reply = Reply { tool_calls: vec![call], ..Reply::default() };
    judge(target, Some(Arm::Native), &reply).err().map_or("", |wrong| wrong.kind)
}

/// What it says of a reply's text in the prompted arm.
fn said(target: &Target, text: &str) -> &'static str {
    let reply = Reply { content: text.into(), ..Reply::default() };
    judge(target, Some(Arm::Prompted), &reply).err().map_or("", |wrong| wrong.kind)
}

/// One parameter `p` with a schema and accepted values; each case is its argument and the verdict.
fn check_all(schema: Value, accepted: Value, cases: &[(&str, &str)]) {
    let target = target("simple_python", json!({"p": schema}), json!([]), json!({"p": accepted}));
    for (argument, expected) in cases {
        let arguments = format!("{{\"p\": {argument}}}");
        assert_eq!(verdict(&target, &arguments), *expected, "{argument}");
    }
}

const TYPE: &str = "type_error:simple";
const NESTED: &str = "type_error:nested";
const OTHER: &str = "value_error:others";

#[test]
fn a_bool_is_no_int_and_an_int_no_bool() {
    check_all(
        json!({"type": "integer"}),
        json!([1]),
        &[("1", ""), ("true", TYPE), ("1.0", TYPE), ("\"1\"", TYPE), ("2", OTHER)],
    );
    check_all(
        json!({"type": "boolean"}),
        json!([true]),
        &[("true", ""), ("1", TYPE), ("\"true\"", TYPE), ("false", OTHER)],
    );
}

#[test]
fn an_int_stands_for_a_float_at_the_top_level_only() {
    check_all(
        json!({"type": "float"}),
        json!([5.0]),
        &[("5", ""), ("5.0", ""), ("5.5", OTHER), ("true", TYPE)],
    );
    check_all(json!({"type": "integer"}), json!([5]), &[("5.0", TYPE)]);
    let floats = json!({"type": "array", "items": {"type": "float"}});
    check_all(
        floats.clone(),
        json!([[1.5, 2.0]]),
        &[("[1.5, 2.0]", ""), ("[1.5, 2]", NESTED), ("[]", "value_error:list/tuple")],
    );
    // An int passes where the first answer's element is one: then it is what the answer has.
    check_all(floats, json!([[1, 2.5]]), &[("[1, 2.5]", ""), ("[1.0, 2.5]", "")]);
}

#[test]
fn a_variable_has_the_type_of_the_answer_and_is_compared_as_it_is() {
    let schema = json!({"type": "integer"});
    check_all(
        schema.clone(),
        json!(["", "n_items"]),
        &[("\"n_items\"", ""), ("\"N_items\"", OTHER), ("5", OTHER), ("5.0", TYPE)],
    );
    check_all(schema, json!([""]), &[("5", OTHER), ("\"\"", TYPE)]);
    // The dictionary is a variable here: raw equality, not key by key.
    check_all(
        json!({"type": "string"}),
        json!([{"a": 1}]),
        &[("{\"a\": 1}", ""), ("{\"a\": 1.0}", ""), ("{\"a\": [1]}", OTHER)],
    );
    let target = target(
        "simple_python",
        json!({"p": {"type": "array", "items": {"type": "integer"}}}),
        json!([]),
        json!({"p": ["items"]}),
    );
    assert_eq!(said(&target, "[a.f(p=items)]"), "");
    assert_eq!(said(&target, "[a.f(p=other)]"), OTHER);
}

#[test]
fn parameters_may_stay_out_where_the_answer_lists_the_empty_string() {
    let properties = json!({"p": {"type": "string"}, "q": {"type": "integer"}, "r": {"type": "string"}});
    let target = target("simple_python", properties, json!(["p"]), json!({"p": ["x"], "q": [3, ""]}));
    assert_eq!(verdict(&target, r#"{"p": "x"}"#), "");
    assert_eq!(verdict(&target, r#"{"p": "x", "q": 3}"#), "");
    assert_eq!(verdict(&target, r#"{"p": "x", "q": 4}"#), OTHER);
    assert_eq!(verdict(&target, r#"{"q": 3}"#), "simple_function_checker:missing_required");
    // In the schema, but not in the answers.
    assert_eq!(verdict(&target, r#"{"p": "x", "r": "y"}"#), "simple_function_checker:unexpected_param");
    let wanted = super::tests::target(
        "simple_python",
        json!({"q": {"type": "integer"}}),
        json!([]),
        json!({"q": [3]}),
    );
    assert_eq!(verdict(&wanted, "{}"), "simple_function_checker:missing_optional");
}

#[test]
fn strings_are_compared_without_case_blanks_and_some_punctuation() {
    let wrong = "value_error:string";
    check_all(
        json!({"type": "string"}),
        json!(["April 1, 2024", "it's", ""]),
        &[
            ("\"april 1,2024\"", ""),
            ("\"April-1.20/2_4*^\"", ""),
            ("\"it\\\"s\"", ""),
            ("\"April 2, 2024\"", wrong),
            ("\"April:1 2024\"", wrong),
            ("\"April\\t1 2024\"", wrong),
            ("\" \"", ""),
            ("20240401", TYPE),
        ],
    );
    check_all(json!({"type": "any"}), json!(["x"]), &[("\"X\"", ""), ("1", TYPE)]);
}

#[test]
fn lists_keep_their_order_and_their_strings_are_normalised() {
    let schema = json!({"type": "array", "items": {"type": "string"}});
    let wrong = "value_error:list/tuple";
    check_all(
        schema,
        json!([["New York", "a"], ["b"]]),
        &[
            ("[\"new york\", \"A\"]", ""),
            ("[\"b\"]", ""),
            ("[\"a\", \"New York\"]", wrong),
            ("[\"New York\"]", wrong),
            ("[1]", NESTED),
            ("\"b\"", TYPE),
        ],
    );
    check_all(
        json!({"type": "array", "items": {"type": "string"}}),
        json!([["a"], ""]),
        &[("[]", ""), ("[\"a\"]", "")],
    );
    let tuple = json!({"type": "tuple", "items": {"type": "integer"}});
    let tuple = target("simple_python", json!({"p": tuple}), json!([]), json!({"p": [[1, 2]]}));
    assert_eq!((said(&tuple, "[a.f(p=(1, 2))]"), said(&tuple, "[a.f(p=[1, 2])]")), ("", ""));
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let list = target("simple_python", json!({"p": list}), json!([]), json!({"p": [[1, 2]]}));
    assert_eq!((said(&list, "[a.f(p=[1, 2])]"), said(&list, "[a.f(p=(1, 2))]")), ("", TYPE));
}

#[test]
fn dictionaries_have_no_extra_keys_and_each_value_among_its_own() {
    let answer = json!([{"city": ["San Francisco", "SF"], "n": [1, ""], "l": [[1, "A b"]]}]);
    let key = "value_error:dict_key";
    check_all(
        json!({"type": "dict"}),
        answer,
        &[
            (r#"{"city": "sf", "l": [1, "A b"]}"#, ""),
            (r#"{"city": "san francisco", "n": true, "l": [1, "A b"]}"#, ""),
            (r#"{"city": "sf", "n": 2, "l": [1, "A b"]}"#, "value_error:dict_value"),
            // Only strings at the first level are normalised.
            (r#"{"city": "sf", "l": [1, "ab"]}"#, "value_error:dict_value"),
            (r#"{"city": "sf"}"#, key),
            (r#"{"city": "sf", "l": [1, "A b"], "x": 1}"#, key),
            ("[]", TYPE),
        ],
    );
    check_all(
        json!({"type": "dict"}),
        json!(["", {"a": [1]}, {"a": [2]}]),
        &[(r#"{"a": 2}"#, ""), (r#"{"a": 3}"#, "value_error:dict_value")],
    );
}

#[test]
fn lists_of_dictionaries_are_compared_by_position() {
    let schema = json!({"type": "array", "items": {"type": "dict"}});
    check_all(
        schema,
        json!([[{"a": [1]}, {"a": [2], "b": ["x", ""]}]]),
        &[
            (r#"[{"a": 1}, {"a": 2}]"#, ""),
            (r#"[{"a": 1}, {"a": 2, "b": "X"}]"#, ""),
            (r#"[{"a": 2}, {"a": 1}]"#, "value_error:dict_value"),
            (r#"[{"a": 1}]"#, "value_error:list_dict_count"),
            (r#"[{"a": 1}, 5]"#, NESTED),
        ],
    );
}

#[test]
fn other_values_are_compared_as_python_compares() {
    check_all(
        json!({"type": "float"}),
        json!([0.1, 1e20]),
        &[("0.1", ""), ("100000000000000000000", ""), ("0.10000000000000000001", ""), ("0.2", OTHER)],
    );
    check_all(
        json!({"type": "integer"}),
        json!([98765432109876543210u128.to_string().parse::<serde_json::Number>().unwrap()]),
        &[("98765432109876543210", ""), ("98765432109876543211", OTHER)],
    );
}

#[test]
fn names_have_dots_in_text_and_none_in_tool_calls() {
    let target = target("simple_python", json!({"p": {"type": "integer"}}), json!(["p"]), json!({"p": [1]}));
    assert_eq!(verdict(&target, "{\"p\": 1}"), "");
    assert_eq!(said(&target, "[a.f(p=1)]"), "");
    assert_eq!(said(&target, r#"{"name": "a.f", "arguments": {"p": 1}}"#), "");
    let name = "simple_function_checker:wrong_func_name";
    assert_eq!(said(&target, "[a_f(p=1)]"), name);
    let dotted = ToolCall { id: None, name: "a.f".into(), arguments: "{\"p\": 1}".into() };
    let reply = Reply { tool_calls: vec![dotted], ..Reply::default() };
    assert_eq!(judge(&target, Some(Arm::Native), &reply).unwrap_err().kind, name);
    // Without an arm the reply says which it is.
    assert!(judge(&target, None, &reply).is_err());
    assert_eq!(target.tools(true)[0].name, "a_f");
}

#[test]
fn the_count_of_calls_goes_by_category() {
    let simple = |category| target(category, json!({"p": {"type": "integer"}}), json!([]), json!({"p": [1]}));
    assert_eq!(said(&simple("simple_python"), "[a.f(p=1), a.f(p=1)]"), "simple_function_checker:wrong_count");
    assert_eq!(said(&simple("simple_python"), "[]"), "simple_function_checker:wrong_count");
    assert_eq!(
        said(&simple("live_multiple"), "[a.f(p=1), a.f(p=1)]"),
        "multiple_function_checker:wrong_count"
    );
    assert_eq!(said(&simple("live_multiple"), "[a.f(p=1)]"), "");
    assert_eq!(said(&simple("parallel"), "[]"), "parallel_function_checker_no_order:wrong_count");
    assert_eq!(said(&simple("simple_python"), "I would call f."), "ast_decoder:decoder_failed");
}

#[test]
fn parallel_calls_are_taken_greedily() {
    let function = |name: &str| json!({"name": name, "parameters": {"type": "dict", "properties": {"p": {"type": "integer"}}, "required": []}});
    let target = |truth: Value| -> Target {
        serde_json::from_value(json!({"source": "x", "category": "live_parallel_multiple",
            "function": [function("f"), function("g")], "ground_truth": truth}))
        .unwrap()
    };
    let two = target(json!([{"f": {"p": [1]}}, {"g": {"p": [2]}}]));
    assert_eq!((said(&two, "[g(p=2), f(p=1)]"), said(&two, "[f(p=1), g(p=2)]")), ("", ""));
    let unmatched = "parallel_function_checker_no_order:cannot_find_match";
    assert_eq!(said(&two, "[f(p=1), f(p=1)]"), unmatched);
    // The first answer takes the first call that passes, though the second answer needs it.
    let greedy = target(json!([{"f": {"p": [1, 2]}}, {"f": {"p": [1]}}]));
    assert_eq!((said(&greedy, "[f(p=1), f(p=2)]"), said(&greedy, "[f(p=2), f(p=1)]")), (unmatched, ""));
}

#[test]
fn irrelevance_passes_without_a_call_and_relevance_with_one() {
    let target = |category: &str| Target {
        source: "x".into(),
        category: category.into(),
        function: Vec::new(),
        ground_truth: Vec::new(),
    };
    for (text, has_call) in [
        ("I cannot.", false),
        ("[]", false),
        ("[f(a=1)]", true),
        ("{\"name\": \"f\", \"arguments\": {}}", true),
        ("[f(a=1)", true),
        ("f(a=1).", false),
    ] {
        assert_eq!(said(&target("live_irrelevance"), text).is_empty(), !has_call, "{text}");
        assert_eq!(said(&target("live_relevance"), text).is_empty(), has_call, "{text}");
    }
}

const QUESTIONS: &str = r#"{"id": "live_multiple_0-0-0", "question": [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]], "function": [{"name": "m.add", "description": "Adds.", "parameters": {"type": "dict", "required": ["a"], "properties": {"a": {"type": "float"}, "b": {"type": "tuple", "items": {"type": "any"}}, "c": {"type": "dict", "properties": {"d": {"type": "boolean", "default": true}}}}}}]}
{"id": "live_irrelevance_1-0-0", "question": [[{"role": "user", "content": "Hello!"}]], "function": []}
"#;
const ANSWERS: &str =
    r#"{"id": "live_multiple_0-0-0", "ground_truth": [{"m.add": {"a": [2.0], "b": [["x"], ""]}}]}"#;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("q.json"), QUESTIONS).unwrap();
    std::fs::write(dir.path().join("a.json"), ANSWERS).unwrap();
    let pair = format!("{},{}", dir.path().join("q.json").display(), dir.path().join("a.json").display());
    (dir, pair.into())
}

#[test]
fn a_suite_asks_in_every_arm_and_the_perfect_reply_passes() {
    let (_dir, pair) = folder();
    for arm in [Arm::Native, Arm::Prompted, Arm::Constrained] {
        let mut params = params(2048, 2, Some(arm));
        params.file = Some(pair.clone());
        let cases = Bfcl.cases(&params, 1, &WordCounter::default()).unwrap();
        for case in &cases {
            assert_eq!(case.clone().seal().id, case.id);
            let outcome = Bfcl.score(case, &Bfcl.perfect(case).unwrap());
            let forced = arm == Arm::Constrained && case.index == 1;
            assert_eq!(outcome.score().map(|score| score.quality), (!forced).then_some(Some(1.0)), "{arm}");
        }
        let Prompt::Chat { messages, tools, .. } = &cases[0].prompt else { panic!("no chat") };
        assert_eq!((tools.is_empty(), messages.len()), (arm == Arm::Prompted, 2));
        assert!(messages[0].content.ends_with("Be brief."));
        if arm != Arm::Prompted {
            let kinds = [
                "/properties/a/type",
                "/properties/b/type",
                "/properties/b/items/type",
                "/properties/c/type",
                "/type",
            ];
            let kinds = kinds.map(|at| tools[0].parameters.pointer(at).and_then(Value::as_str).unwrap());
            assert_eq!(kinds, ["number", "array", "string", "object", "object"]);
            assert_eq!(tools[0].name, "m_add");
        }
        params.samples = 3;
        let error = Bfcl.cases(&params, 1, &WordCounter::default()).unwrap_err();
        assert!(error.to_string().contains("holds 2 cases"), "{error}");
    }
}

#[test]
fn a_spent_budget_has_its_own_label() {
    let (_dir, pair) = folder();
    let mut params = params(2048, 1, Some(Arm::Prompted));
    params.file = Some(pair);
    let case = Bfcl.cases(&params, 1, &WordCounter::default()).unwrap().remove(0);
    let label = |content: &str| {
        let reply =
            Reply { content: content.into(), finish_reason: Some(FinishReason::Length), ..Reply::default() };
        Bfcl.score(&case, &reply).score().unwrap().label
    };
    assert_eq!(label("[m.add(a=").as_deref(), Some("truncated"));
    assert_eq!(label("[m.add(a=3)]").as_deref(), Some(OTHER));
}

#[test]
fn bad_lines_and_forms_that_are_not_read_are_named() {
    let question = |id: &str, turns: &str, function: &str| {
        format!("{{\"id\": \"{id}\", \"question\": {turns}, \"function\": {function}}}")
    };
    let f = |kind: &str| {
        format!(
            "[{{\"name\": \"f\", \"parameters\": {{\"properties\": {{\"p\": {{\"type\": \"{kind}\"}}}}}}}}]"
        )
    };
    let turn = "[[{\"role\": \"user\", \"content\": \"x\"}]]";
    let answers = |truth: &str| {
        let truth: Vec<Map<String, Value>> = serde_json::from_str(truth).unwrap();
        ["simple_python_0", "multi_turn_base_0", "simple_java_0"]
            .map(|id| (id.to_owned(), truth.clone()))
            .into_iter()
            .collect()
    };
    for (line, truth, named) in [
        (question("simple_python_0", turn, &f("float")), "[{\"g\": {}}]", "which is not among the functions"),
        (question("simple_python_0", turn, &f("long")), "[{\"f\": {}}]", "f.p: BFCL has no type `long`"),
        (question("simple_python_0", turn, &f("float")), "[]", "nothing to score against"),
        (question("simple_python_0", turn, &f("float")), "[{\"f\": {\"p\": 1}}]", "not a list"),
        (question("simple_python_0", "[[], []]", &f("float")), "[{\"f\": {}}]", "2 turns"),
        (question("simple_python_7", turn, &f("float")), "[{\"f\": {}}]", "no answers to simple_python_7"),
        (question("multi_turn_base_0", turn, &f("float")), "[{\"f\": {}}]", "no multi_turn"),
        (question("simple_java_0", turn, &f("float")), "[{\"f\": {}}]", "no java"),
        ("{}".into(), "[]", "missing field"),
    ] {
        let error = imported(&Line { number: 1, text: &line }, "", &answers(truth)).unwrap_err();
        assert!(error.contains(named), "{error} instead of {named}");
    }
    let (dir, pair) = folder();
    std::fs::write(dir.path().join("a.json"), format!("{ANSWERS}\n{ANSWERS}\n")).unwrap();
    let mut params = params(2048, 1, Some(Arm::Native));
    params.file = Some(pair);
    let error = Bfcl.cases(&params, 1, &WordCounter::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(
        error.to_string().contains("a.json:2: an answer to live_multiple_0-0-0 stands further up"),
        "{error}"
    );
}

#[test]
fn the_category_is_that_of_the_question_else_of_the_file() {
    let category = |id: &str, file: &str| {
        let line = json!({"id": id, "question": [[]], "function": []}).to_string();
        question(&line, file, &HashMap::new()).map(|asked| asked.target.category)
    };
    assert_eq!(category("live_relevance_3-3-0", "x").unwrap(), "live_relevance");
    assert_eq!(category("irrelevance_12", "BFCL_v4_parallel").unwrap(), "irrelevance");
    assert_eq!(category("mine_1", "BFCL_v4_live_irrelevance").unwrap(), "live_irrelevance");
    assert!(category("restaurant_1", "x").unwrap_err().contains("no answers"), "no form of another kind");
}

#[test]
fn a_huge_reply_is_judged() {
    let target = target("simple_python", json!({"p": {"type": "integer"}}), json!([]), json!({"p": [1]}));
    for pattern in ["[a.f(p=[", "f(", "'''", "\\", "(1,", "{'a':"] {
        let text = pattern.repeat(100_000_000 / pattern.len());
        assert_eq!(said(&target, &text), "ast_decoder:decoder_failed");
        assert_eq!(verdict(&target, &text), "ast_decoder:decoder_failed");
    }
}
