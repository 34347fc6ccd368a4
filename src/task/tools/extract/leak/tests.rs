use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn tool(name: &str) -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "units": {"enum": ["metric", "imperial"]},
            "detail": {"type": "boolean"},
            "near": {"type": "array", "items": {"type": "string"}},
            "at": {"type": "object"}
        }
    });
    Tool { name: name.into(), description: String::new(), parameters }
}

fn says(content: &str) -> Reply {
    Reply { content: content.into(), ..Reply::default() }
}

/// The calls that have leaked, as `name{arguments}`; `?` for arguments that cannot be read.
fn leaked(text: &str) -> Vec<String> {
    let leak = leak(&says(text), &[tool("get_weather"), tool("get_time")]);
    let shown = |call: Written| {
        format!("{}{}", call.name, call.arguments.map_or("?".to_owned(), |arguments| arguments.to_string()))
    };
    leak.into_iter().flat_map(|leak| leak.calls).map(shown).collect()
}

const LIMA: &str = r#"get_weather{"city":"Lima"}"#;

/// One call of `get_weather` for Lima in every syntax, as the models' templates and parsers have it.
const SYNTAXES: &[(&str, &str)] = &[
    (
        "qwen3-coder",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nLima\n</parameter>\n</function>\n</tool_call>",
    ),
    (
        "qwen3-coder, no outer tag",
        "I'll look.\n\n<function=get_weather>\n<parameter=city>\nLima\n</parameter>\n</function>\n",
    ),
    ("qwen3-coder, nothing closed", "<function=get_weather>\n<parameter=city>\nLima"),
    (
        "seed-oss",
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Lima</parameter>\n</function>\n</seed:tool_call>",
    ),
    ("llama 3.1 function", "<function=get_weather>{\"city\": \"Lima\"}</function>"),
    (
        "harmony",
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"Lima\"}<|call|>",
    ),
    (
        "harmony after its analysis",
        "<|channel|>analysis<|message|>Look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"Lima\"}<|call|>",
    ),
    (
        "harmony, recipient in the role",
        "<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{\"city\": \"Lima\"}<|call|>",
    ),
    (
        "harmony, in analysis",
        "<|channel|>analysis to=functions.get_weather code<|message|>{\"city\": \"Lima\"}<|call|>",
    ),
    ("harmony without special tokens", "commentary to=functions.get_weather json{\"city\": \"Lima\"}"),
    (
        "harmony without special tokens, after its analysis",
        "analysisWe look.assistantcommentary to=functions.get_weather json{\"city\": \"Lima\"}",
    ),
    ("mistral list", "[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]"),
    ("mistral args", "[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Lima\"}"),
    ("mistral id", "[TOOL_CALLS]get_weather[CALL_ID]abc123XYZ[ARGS]{\"city\": \"Lima\"}"),
    ("mistral v11", "[TOOL_CALLS]get_weather{\"city\": \"Lima\"}"),
    ("mistral without special tokens", "get_weather{\"city\": \"Lima\"}"),
    ("glm 4.5", "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Lima</arg_value>\n</tool_call>"),
    ("glm 4.7", "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Lima</arg_value></tool_call>"),
    ("glm without special tokens", "get_weather\n<arg_key>city</arg_key>\n<arg_value>Lima</arg_value>"),
    ("glm 4", "get_weather\n{\"city\": \"Lima\"}"),
    (
        "hunyuan 3",
        "<tool_calls:opensource>\n<tool_call:opensource>get_weather<tool_sep:opensource>\n<arg_key:opensource>city</arg_key:opensource>\n<arg_value:opensource>Lima</arg_value:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>",
    ),
    (
        "hunyuan 2",
        "<tool_calls>\n<tool_call>get_weather<tool_sep>\n<arg_key>city</arg_key>\n<arg_value>Lima</arg_value>\n</tool_call>\n</tool_calls>",
    ),
    (
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": \"Lima\"}<|tool_call_end|><|tool_calls_section_end|>",
    ),
    ("kimi without special tokens", "functions.get_weather:0{\"city\": \"Lima\"}"),
    (
        "deepseek v3",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Lima\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    (
        "deepseek v3.1",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Lima\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    (
        "deepseek v3.2",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Lima</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    ),
    (
        "deepseek v4, JSON inside",
        "<｜DSML｜tool_calls><｜DSML｜invoke name=\"get_weather\">{\"city\": \"Lima\"}</｜DSML｜invoke></｜DSML｜tool_calls>",
    ),
    (
        "minimax m2",
        "<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Lima</parameter>\n</invoke>\n</minimax:tool_call>",
    ),
    (
        "minimax m1",
        "<tool_calls>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n</tool_calls>",
    ),
    (
        "claude's manner",
        "<function_calls>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Lima</parameter>\n</invoke>\n</function_calls>",
    ),
    (
        "step 3",
        "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"get_weather\"><steptml:parameter name=\"city\">Lima</steptml:parameter></steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
    ),
    (
        "grok",
        "<xai:function_call name=\"get_weather\">\n<parameter name=\"city\">Lima</parameter>\n</xai:function_call>",
    ),
    ("tags named as the tool", "<get_weather>\n<city>Lima</city>\n</get_weather>"),
    ("minicpm 5", "<function name=\"get_weather\"><param name=\"city\">Lima</param></function>"),
    ("hermes", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n</tool_call>"),
    (
        "hermes, arguments first",
        "<tool_call>\n{\"arguments\": {\"city\": \"Lima\"}, \"name\": \"get_weather\"}\n</tool_call>",
    ),
    ("llama 3", "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}"),
    (
        "llama 3, python tag",
        "<|python_tag|>{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}",
    ),
    ("llama 3, built-in", "<|python_tag|>get_weather.call(city=\"Lima\")"),
    ("llama 4", "<|python_start|>[get_weather(city=\"Lima\")]<|python_end|>"),
    ("pythonic", "[get_weather(city=\"Lima\")]"),
    ("pythonic after words", "I'll look that up.\n\n[get_weather(city='Lima')]"),
    ("pythonic without brackets", "get_weather(city=\"Lima\")"),
    ("lfm2", "<|tool_call_start|>[get_weather(city=\"Lima\")]<|tool_call_end|>Looking."),
    ("minicpm 4", "<|tool_call_start|>\n```python\nget_weather(city=\"Lima\")\n```\n<|tool_call_end|>"),
    ("olmo 3", "<function_calls>\nget_weather(city=\"Lima\")\n</function_calls>"),
    ("gemma 3", "```tool_code\nget_weather(city=\"Lima\")\n```"),
    ("gemma 3, printed", "```tool_code\nprint(default_api.get_weather(city=\"Lima\"))\n```"),
    ("gemma 4", "<|tool_call>call:get_weather{city:<|\"|>Lima<|\"|>}<tool_call|>"),
    ("gemma 4, round brackets", "<|tool_call>call:get_weather(city: \"Lima\")<tool_call|>"),
    ("gemma 4 without special tokens", "call:get_weather{city:Lima}"),
    ("functiongemma", "<start_function_call>call:get_weather{city:<escape>Lima<escape>}<end_function_call>"),
    ("granite", "<|tool_call|>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]"),
    ("granite 20b", "<function_call> {\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}"),
    (
        "cohere command a",
        "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}\n]<|END_ACTION|>",
    ),
    (
        "cohere command r",
        "Action: ```json\n[\n    {\n        \"tool_name\": \"get_weather\",\n        \"parameters\": {\n            \"city\": \"Lima\"\n        }\n    }\n]```",
    ),
    ("phi 4", "functools[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]"),
    (
        "hunyuan a13b, jamba",
        "<tool_calls>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]</tool_calls>",
    ),
    ("nemotron", "<TOOLCALL>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]</TOOLCALL>"),
    (
        "internlm",
        "<|action_start|><|plugin|>\n{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}<|action_end|>",
    ),
    ("xlam", "[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}]"),
    (
        "longcat",
        "<longcat_tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}</longcat_tool_call>",
    ),
    ("apertus", "<|tools_prefix|>[{\"get_weather\": {\"city\": \"Lima\"}}]<|tools_suffix|>"),
    ("apertus without special tokens", "[{\"get_weather\": {\"city\": \"Lima\"}}]"),
    (
        "gigachat",
        "function call<|role_sep|>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}",
    ),
    ("functionary 3.2", ">>>get_weather\n{\"city\": \"Lima\"}"),
    (
        "solar open",
        "<|tool_calls|><|tool_call:begin|>a1b2<|tool_call:name|>get_weather<|tool_call:args|>{\"city\": \"Lima\"}<|tool_call:end|><|calls|>",
    ),
    ("qwen agent", "✿FUNCTION✿: get_weather\n✿ARGS✿: {\"city\": \"Lima\"}"),
    ("react", "Thought: I look.\nAction: get_weather\nAction Input: {\"city\": \"Lima\"}"),
    (
        "fenced JSON",
        "Sure:\n```json\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n```\nThat will tell.",
    ),
    (
        "OpenAI's own",
        "{\"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": \\\"Lima\\\"}\"}}]}",
    ),
    (
        "parallel uses",
        "{\"tool_uses\": [{\"recipient_name\": \"functions.get_weather\", \"parameters\": {\"city\": \"Lima\"}}]}",
    ),
    ("agents' JSON", "{\"action\": \"get_weather\", \"action_input\": {\"city\": \"Lima\"}}"),
    ("a tag and a name", "<tool_call>get_weather\n{\"city\": \"Lima\"}\n</tool_call>"),
    ("a tag and Python", "<tool_call>get_weather(city=\"Lima\")</tool_call>"),
    (
        "after inline thinking",
        "<think>I look.</think>\n\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n</tool_call>",
    ),
];

#[test]
fn a_call_has_leaked_in_every_syntax_and_is_read() {
    for (syntax, text) in SYNTAXES {
        assert_eq!(leaked(text), [LIMA], "{syntax}: {text}");
        assert_eq!(leak(&says(text), &[tool("get_time")]), None, "{syntax}: not offered");
        assert_eq!(leak(&says(text), &[]), None, "{syntax}: nothing offered");
    }
}

#[test]
fn the_prompted_arm_reads_every_syntax() {
    for (syntax, text) in SYNTAXES {
        let Extraction::Calls(calls) = from_prompted(&says(text), &[tool("get_weather")]) else {
            panic!("{syntax}: {text}");
        };
        let call = Call { name: "get_weather".into(), arguments: json!({"city": "Lima"}) };
        // Names as they stand in JSON are left as they are.
        assert!(calls == [call] || *syntax == "parallel uses", "{syntax}: {calls:?}");
    }
}

#[test]
fn several_calls_are_each_read_once() {
    let two = [LIMA, r#"get_time{"city":"Oslo"}"#];
    for text in [
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nLima\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=get_time>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
        "[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Lima\"}[TOOL_CALLS]get_time[ARGS]{\"city\": \"Oslo\"}",
        "[get_weather(city=\"Lima\"), get_time(city=\"Oslo\")]",
        "get_weather(city=\"Lima\")\nget_time(city=\"Oslo\")",
        "<function_calls>\nget_weather(city=\"Lima\")\nget_time(city=\"Oslo\")\n</function_calls>",
        "<|tool_call>call:get_weather{city:<|\"|>Lima<|\"|>}<tool_call|><|tool_call>call:get_time{city:<|\"|>Oslo<|\"|>}<tool_call|>",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Lima</arg_value></tool_call><tool_call>get_time<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>",
        "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": \"Lima\"}<|tool_call_end|><|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{\"city\": \"Oslo\"}<|tool_call_end|>",
        "<|python_tag|>{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Lima\"}}; {\"name\": \"get_time\", \"parameters\": {\"city\": \"Oslo\"}}",
        "[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}, {\"name\": \"get_time\", \"arguments\": {\"city\": \"Oslo\"}}]",
        "<|tools_prefix|>[{\"get_weather\": {\"city\": \"Lima\"}}, {\"get_time\": {\"city\": \"Oslo\"}}]<|tools_suffix|>",
        "<invoke name=\"get_weather\"><parameter name=\"city\">Lima</parameter></invoke>\n<invoke name=\"get_time\"><parameter name=\"city\">Oslo</parameter></invoke>",
    ] {
        assert_eq!(leaked(text), two, "{text}");
    }
}

#[test]
fn values_without_quotes_have_the_type_of_the_schema() {
    let arguments =
        json!({"city": "12", "days": 3, "units": "metric", "detail": true, "near": ["a"], "at": {"x": 1.5}});
    let pairs = [
        ("city", "12"),
        ("days", "3"),
        ("units", "metric"),
        ("detail", "True"),
        ("near", "[\"a\"]"),
        ("at", "{\"x\": 1.5}"),
    ];
    let of = |each: &dyn Fn(&str, &str) -> String| {
        pairs.iter().map(|(key, value)| each(key, value)).collect::<String>()
    };
    for text in [
        format!(
            "<function=get_weather>{}</function>",
            of(&|key, value| format!("<parameter={key}>\n{value}\n</parameter>\n"))
        ),
        format!(
            "<invoke name=\"get_weather\">{}</invoke>",
            of(&|key, value| format!("<parameter name=\"{key}\">{value}</parameter>"))
        ),
        format!(
            "<tool_call>get_weather{}</tool_call>",
            of(&|key, value| format!("<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"))
        ),
    ] {
        assert_eq!(leaked(&text), [format!("get_weather{arguments}")], "{text}");
    }
    let gemma = "<|tool_call>call:get_weather{city:<|\"|>12<|\"|>,days:3,near:[<|\"|>a, {b}<|\"|>],at:{x:1.5,y:null}}<tool_call|>";
    assert_eq!(
        leaked(gemma),
        [r#"get_weather{"city":"12","days":3,"near":["a, {b}"],"at":{"x":1.5,"y":null}}"#]
    );
    let dsml = "<｜DSML｜invoke name=\"get_weather\"><｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter><｜DSML｜parameter name=\"city\" string=\"true\">3</｜DSML｜parameter></｜DSML｜invoke>";
    assert_eq!(leaked(dsml), [r#"get_weather{"days":3,"city":"3"}"#]);
    let lines = "<function=get_weather>\n<parameter=city>\nLima\n<b>x</b>\n\n</parameter>\n</function>";
    assert_eq!(leaked(lines), [r#"get_weather{"city":"Lima\n<b>x</b>\n"}"#]);
}

#[test]
fn a_call_that_cannot_be_read_is_told() {
    for text in [
        "[TOOL_CALLS]get_weather[ARGS]{\"city\": Lima}",
        "<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": \"Li",
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": ",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}\n</tool_call>",
        "{'name': 'get_weather', 'arguments': {'city': 'Lima'}}",
        "<|tool_call>call:get_weather{city:<|\"|>Lima",
        "<|python_start|>[get_weather(city=\"Lima\"",
    ] {
        assert_eq!(leaked(text), ["get_weather?"], "{text}");
    }
    assert_eq!(leaked("<tool_call>get_time</tool_call>"), ["get_time{}"]);
    assert_eq!(leaked("<tool_call>{\"name\": \"get_time\"}</tool_call>"), ["get_time{}"]);
}

#[test]
fn talk_about_calls_is_none() {
    for text in [
        "",
        "It is sunny in Lima.",
        "I would call get_weather(city=\"Lima\") for that.",
        "get_weather is the function for that.",
        "get_weather: {\"city\": \"Lima\"} is what it takes.",
        "Call `get_weather(city=\"Lima\")` to see.",
        "Write `<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}</tool_call>` and wait.",
        "Use `<function=get_weather>` and `<parameter=city>`.",
        "In Python:\n```python\nweather = get_weather(city=\"Lima\")\nprint(weather)\n```",
        "In Python:\n```python\nget_weather(city=\"Lima\")\n```\nprints the weather.",
        "```python\ndef get_weather(city):\n    return 1\n\nget_weather(city=\"Lima\")\n```",
        "The syntax of Qwen3-Coder:\n```xml\n<tool_call>\n<function=get_weather>\n<parameter=city>\nLima\n</parameter>\n</function>\n</tool_call>\n```\nIt is XML.",
        "The syntax of Hermes:\n```\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n</tool_call>\nand so on\n```",
        // The tools themselves, as they were offered.
        "[{\"name\": \"get_weather\", \"description\": \"Weather\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}}]",
        "{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}}",
        // JSON answers.
        "{\"name\": \"get_weather\", \"purpose\": \"weather\"}",
        "{\"name\": \"Bob\", \"arguments\": {\"for\": 1}}",
        "{\"get_weather\": {\"calls\": 3}, \"get_time\": {\"calls\": 1}}",
        "The counts are {\"get_weather\": {\"calls\": 3}} today.",
        // Tools that were not offered.
        "<tool_call>\n{\"name\": \"get_news\", \"arguments\": {}}\n</tool_call>",
        "[get_news(city=\"Lima\")]",
        // Thoughts about calls, with an answer behind them.
        "<think>I could write <tool_call>{\"name\": \"get_weather\", \"arguments\": {}}</tool_call>.</think>It is sunny.",
        "<think>[get_weather(city=\"Lima\")]</think>It is sunny.",
        "<|channel|>analysis<|message|>to=functions.get_weather<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>It is sunny.",
        "The header says to=functions.get_weather there.",
        "The tag <function=get_weather> begins a call.",
        "<get_weather>Lima</get_weather> is how one could mark it up.",
        "<get_weather> and <city> are tags.",
        "You would send {\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}} to the server.",
        "Action: get_weather is called when the user asks.",
    ] {
        assert_eq!(leaked(text), Vec::<String>::new(), "{text}");
    }
}

/// Decided: a call that ends the thinking and leaves nothing to say is a call that nobody got.
#[test]
fn a_call_that_ends_the_thinking_has_leaked_where_nothing_follows() {
    let call = "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Lima\"}}\n</tool_call>";
    let in_field = |reasoning: &str, content: &str| Reply {
        reasoning: reasoning.into(),
        content: content.into(),
        ..Reply::default()
    };
    let offered = [tool("get_weather")];
    for reply in [
        in_field(&format!("I look it up.\n{call}"), ""),
        in_field(&format!("I look it up.\n{call}"), "\n\n"),
        says(&format!("<think>I look it up.\n{call}")),
        says(&format!("<think>I look it up.\n{call}</think>\n")),
        in_field(
            "I look.<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": \"Lima\"}<|tool_call_end|>",
            "",
        ),
    ] {
        let leak = leak(&reply, &offered).unwrap_or_else(|| panic!("{reply:?}"));
        assert!(leak.in_thinking && leak.calls.len() == 1, "{leak:?}");
    }
    for reply in [
        in_field(&format!("I look it up.\n{call}"), "It is sunny."),
        in_field(&format!("{call} would be right, but I know it."), ""),
        in_field("I could write {\"name\": \"get_weather\", \"arguments\": {}}", ""),
        in_field("get_weather(city=\"Lima\")", ""),
        in_field(&format!("Either {call} or nothing"), ""),
    ] {
        assert_eq!(leak(&reply, &offered), None, "{reply:?}");
    }
    let called = crate::record::ToolCall { id: None, name: "get_weather".into(), arguments: "{}".into() };
    let reply = Reply { tool_calls: vec![called], ..in_field(call, "") };
    assert_eq!(leak(&reply, &offered), None, "the server parsed it");
}

/// Texts of megabytes that make careless scanners quadratic. The limit is far above what it takes.
#[test]
fn hostile_texts_take_bounded_time() {
    let start = std::time::Instant::now();
    let tools: Vec<Tool> = ["f", "get_weather"].map(tool).to_vec();
    for pattern in [
        "<function=f>",
        "<function=f><parameter=a>",
        "<parameter=a>",
        "<invoke name=\"f\">",
        "<arg_key>",
        "f<arg_key>a</arg_key>",
        "<tool_call>f",
        "f{",
        "f{\"a\":",
        "f(",
        "f(a=",
        "f(a=\"",
        "\nf(",
        "\nf(a=1)",
        "[f(",
        "call:f{",
        "call:f{a:[",
        "call:f{a:{",
        "[TOOL_CALLS]f[ARGS]",
        "to=functions.f",
        "{\"name\":\"f\"",
        "{\"f\":{",
        "```",
        "```\nf(a=1)\n",
        "`f",
        "<",
        "<think>",
        "(",
        "\n",
    ] {
        leak(&says(&pattern.repeat(2_000_000 / pattern.len())), &tools);
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        leak(&says(&text), &[tool("f"), tool("")]);
    }

    #[test]
    fn no_call_like_text_makes_it_panic(
        text in r#"(<tool_call>|</tool_call>|<function=f>|<parameter=a>|</parameter>|invoke name="|parameter name="|<arg_key>|</arg_key>|<arg_value>|\[TOOL_CALLS\]|\[ARGS\]|\[CALL_ID\]|call:|<escape>|to=functions\.|f|\(|\)|\[|\]|\{|\}|"|'|:|,|=|1|a|é|`|```|\n| |<|>|<think>|</think>){0,40}"#
    ) {
        let reply = says(&text);
        let tools = [tool("f")];
        leak(&reply, &tools);
        from_prompted(&reply, &tools);
    }

    #[test]
    fn prose_is_no_call(text in "([a-z,.!?()0-9]{1,8}[ \n]){0,40}") {
        prop_assert_eq!(leak(&says(&text), &[tool("get_weather")]), None);
    }

    #[test]
    fn texts_come_back_from_every_quoted_syntax(city in "[a-zA-Zé ,.{}\\[\\]()'-]{1,20}") {
        let json = json!({"city": city}).to_string();
        for text in [
            format!("[TOOL_CALLS]get_weather[ARGS]{json}"),
            format!("<tool_call>{{\"name\": \"get_weather\", \"arguments\": {json}}}</tool_call>"),
            format!("[get_weather(city={})]", Value::String(city.clone())),
            format!("<|tool_call>call:get_weather{{city:<|\"|>{city}<|\"|>}}<tool_call|>"),
            format!("<function=get_weather><parameter=city>{city}</parameter></function>"),
        ] {
            prop_assert_eq!(leaked(&text), [format!("get_weather{json}")], "{}", text);
        }
    }
}
