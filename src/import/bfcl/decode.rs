//! Takes the calls out of a reply, as BFCL does: from the server's tool calls, or from text like
//! `[f(a=1, b="x"), g()]`.
//!
//! BFCL's decoder of prompted replies reads the whole text and nothing but Python. Here the thinking is left out, and
//! JSON and the models' own syntaxes are read too, as many of BFCL's handlers of single models do; what the published
//! decoder says is kept beside.

use serde_json::Value;

use crate::record::{Arm, Reply, Tool};
use crate::task::tools::extract::{Extraction, MAX_CALLS, from_prompted, from_server, from_text};
use crate::task::tools::python::calls::{self, Call};

/// How the calls of a reply are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the published decoder reads them.
    Published,
    /// As JSON in the text.
    Json,
    /// In a syntax of the model's own, in the text.
    OwnSyntax,
}

impl Form {
    /// The name of a form that the published decoder does not read.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Published => None,
            Self::Json => Some("json_calls"),
            Self::OwnSyntax => Some("own_syntax"),
        }
    }
}

/// The calls of a reply as the published decoder reads them.
///
/// # Errors
/// Why there are none that can be read.
pub(super) fn published(native: bool, reply: &Reply) -> Result<Vec<Call>, String> {
    if native {
        return of_extraction(from_server(&reply.tool_calls), "the reply holds no tool calls");
    }
    written(&reply.content)
}

/// The calls of a reply, and how they are written. The model's own syntax is only read in the prompted arm: elsewhere
/// the server should have read it.
///
/// # Errors
/// Why there are none that can be read.
pub(super) fn decode(
    arm: Option<Arm>,
    native: bool,
    reply: &Reply,
    offered: &[Tool],
) -> Result<(Vec<Call>, Form), String> {
    if native {
        return published(native, reply).map(|calls| (calls, Form::Published));
    }
    let answer = reply.answer();
    let none = match written(&answer) {
        Ok(calls) => return Ok((calls, Form::Published)),
        Err(reason) => reason,
    };
    let json = from_text(&answer);
    if arm != Some(Arm::Prompted) || matches!(json, Extraction::Calls(_)) {
        return of_extraction(json, &none).map(|calls| (calls, Form::Json));
    }
    of_extraction(from_prompted(reply, offered), &none).map(|calls| (calls, Form::OwnSyntax))
}

fn of_extraction(found: Extraction, none: &str) -> Result<Vec<Call>, String> {
    match found {
        Extraction::NoCall => Err(none.to_owned()),
        Extraction::BadJson => Err("a call is not JSON".to_owned()),
        Extraction::Calls(calls) => calls
            .into_iter()
            .map(|call| match &call.arguments {
                Value::Object(arguments) => {
                    let arguments = arguments.iter().map(|(key, value)| (key.clone(), value.into()));
                    Ok(Call { name: call.name, arguments: arguments.collect() })
                }
                _ => Err(format!("the arguments of {} are not an object", call.name)),
            })
            .collect(),
    }
}

/// Calls written as Python. Backquotes, blanks and line ends around them do not count, and neither does a
/// missing bracket at either end.
pub(super) fn written(text: &str) -> Result<Vec<Call>, String> {
    let text = text.trim_matches(['`', '\n', ' ']);
    let open = if text.starts_with('[') { "" } else { "[" };
    let close = if text.ends_with(']') { "" } else { "]" };
    calls::list(&[open, text, close].concat())
}

/// Returns whether there is a call at all, for the categories that ask just that.
pub(super) fn has_call(decoded: &Result<Vec<Call>, String>) -> bool {
    decoded.as_ref().is_ok_and(|calls| !calls.is_empty() && calls.len() <= MAX_CALLS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::ToolCall;
    use crate::task::tools::extract::MAX_BYTES;
    use crate::task::tools::python::Python;

    fn shown(text: &str) -> Vec<String> {
        let calls = written(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let show = |call: Call| {
            let arguments: Vec<String> = call.arguments.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{}({})", call.name, arguments.join(", "))
        };
        calls.into_iter().map(show).collect()
    }

    #[test]
    fn calls_are_read_as_pythons_own_parser_reads_them() {
        for (text, read) in [
            ("[f(a=1, b=\"x\"), g.h()]", vec!["f(a=1, b=\"x\")", "g.h()"]),
            ("```\n[f(a=1)]\n```", vec!["f(a=1)"]),
            ("f(a=1), g(b=2)", vec!["f(a=1)", "g(b=2)"]),
            ("[f(a=1)", vec!["f(a=1)"]),
            ("[f(\n  a = [1, 2.50, -3,],\n)]", vec!["f(a=[1, 2.5, -3])"]),
            ("[f(a=(1,), b=(2), c=(), d=(1, 'x'))]", vec!["f(a=(1), b=2, c=(), d=(1, \"x\"))"]),
            ("[f(a={'k': {'n': None}, \"l\": [True]})]", vec!["f(a={\"k\": {\"n\": None}, \"l\": [True]})"]),
            (
                "[f(a=x, b=true, c=1_000, d=0x1F, e=1e3, f=.5)]",
                vec!["f(a=\"x\", b=\"true\", c=1000, d=31, e=1000.0, f=0.5)"],
            ),
            ("[f(5, a=1)]", vec!["f(a=1)"]),
            ("[f(a=g(b=1), c=g(), d=x[0])]", vec!["f(a={\"g\": {\"b\": 1}}, c=\"g()\", d=\"x[0]\")"]),
            (
                r#"[f(a='it\'s', b="\u00e9\x41\n\q", c=r'\d', d='a' 'b')]"#,
                vec![r#"f(a="it's", b="éA\n\\q", c="\\d", d="ab")"#],
            ),
            ("[f(a='''two\nlines''')]", vec!["f(a=\"two\\nlines\")"]),
            ("[]", vec![]),
            // Comments stand for nothing.
            ("[f(a=1, # the first\n  b=2) # done\n]", vec!["f(a=1, b=2)"]),
            ("[f(a=(1, # one\n  ))]", vec!["f(a=(1))"]),
            ("[f(a='# no comment')]", vec!["f(a=\"# no comment\")"]),
            // The published decoder takes any sign for a minus, and evaluates what stands around an operator.
            ("[f(a=+1, b=not True, c=-5, d=~2)]", vec!["f(a=-1, b=-1, c=-5, d=-2)"]),
            (
                "[f(a='x' + \"y\" 'z', b=1+2*3, c=2**-1, d=7//2, e=- 2 + +3, f=(1+2)*3)]",
                vec!["f(a=\"xyz\", b=7, c=0.5, d=3, e=1, f=9)"],
            ),
            ("[f(a='-' * 3, b=[1] + [2])]", vec!["f(a=\"---\", b=[1, 2])"]),
            // What stands without a name is dropped, whatever it is.
            ("[f(x.y, -x, a=1)]", vec!["f(a=1)"]),
            ("[f(a=nothing)]", vec!["f(a=\"nothing\")"]),
        ] {
            assert_eq!(shown(text), read, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_calls_is_refused() {
        for text in [
            "Hello",
            "I cannot help with that.",
            "[f(a=1) and more]",
            "[f(a=1)] done",
            "[1, 2]",
            "[f(a=1, a=2)]",
            "[f(a=007)]",
            "[f(a=1j)]",
            "[f(a=)]",
            "[f(a='x)]",
            "[f(a=\"x\ny\")]",
            "[f(a={1: 2})]",
            "[f(a=-x)]",
            "[f(a=-(1+2))]",
            "[f(a=-'x')]",
            "[f(a=not x)]",
            "[f(a=x + 1)]",
            "[f(a='x' + 1)]",
            "[f(a=1/0)]",
            "[f(a=1 +)]",
            "[f(a=1) # done",
            "[f(a=x.y)]",
            "```python\n[f(a=1)]\n```",
            "",
        ] {
            let read = written(text);
            assert!(read.as_ref().is_err() || text.is_empty() && read == Ok(Vec::new()), "{text}: {read:?}");
        }
        let deep = format!("[f(a={}1{})]", "[".repeat(100), "]".repeat(100));
        assert!(written(&deep).unwrap_err().contains("levels"));
        for sign in ["-", "not ", "~ ", "(", "2**"] {
            let deep = format!("[f(a={}1)]", sign.repeat(1000));
            assert!(written(&deep).unwrap_err().contains("levels"), "{sign}");
        }
        assert!(written(&"f".repeat(MAX_BYTES + 1)).unwrap_err().contains("longer"));
    }

    fn says(content: &str) -> Reply {
        Reply { content: content.into(), ..Reply::default() }
    }

    #[test]
    fn json_is_read_where_there_is_no_python_and_named() {
        let reply = says("```json\n[{\"name\": \"f\", \"arguments\": {\"a\": 5.0}}]\n```");
        let call = Call { name: "f".into(), arguments: vec![("a".into(), Python::Float(5.0))] };
        assert_eq!(decode(None, false, &reply, &[]), Ok((vec![call], Form::Json)));
        assert!(published(false, &reply).is_err(), "the published decoder takes Python alone");
        let has_call = |text: &str| has_call(&decode(None, false, &says(text), &[]).map(|(calls, _)| calls));
        assert!(!has_call("[]") && !has_call("No function fits."));
        assert!(has_call("[f()]"));
    }

    #[test]
    fn thinking_is_left_out_and_the_published_decoder_reads_it() {
        let reply = says("<think>Maybe [g()]?</think>\n[f(a=1)]");
        let (calls, form) = decode(None, false, &reply, &[]).unwrap();
        assert_eq!((calls[0].name.as_str(), calls.len(), form), ("f", 1, Form::Published));
        assert!(published(false, &reply).is_err());
    }

    #[test]
    fn the_native_arm_reads_tool_calls_alone() {
        assert!(published(true, &says("[f()]")).is_err());
        let call = |arguments: &str| Reply {
            tool_calls: vec![ToolCall { id: None, name: "f".into(), arguments: arguments.into() }],
            ..Reply::default()
        };
        assert_eq!(published(true, &call("{\"a\": 1}")).unwrap()[0].argument("a"), Some(&Python::int("1")));
        assert!(published(true, &call("[1]")).is_err() && published(true, &call("{")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,100}") {
            let _ = written(&text);
        }

        #[test]
        fn no_python_like_text_makes_it_panic(text in r#"([\[\](){},=:.'"\\-]|r'|'''|f|é|1|0x|1e|\\x4|\\u00|\\7|None|\n| ){0,40}"#) {
            let _ = written(&text);
        }

        #[test]
        fn whole_numbers_and_texts_come_back(number in any::<i64>(), text in "[a-z' ]{0,10}") {
            let quoted = text.replace('\'', "\\'");
            let call = written(&format!("[f(n={number}, t='{quoted}')]")).unwrap().remove(0);
            prop_assert_eq!(call.argument("n"), Some(&Python::int(&number.to_string())));
            prop_assert_eq!(call.argument("t"), Some(&Python::Text(text)));
        }
    }
}
