#!/usr/bin/env python3
"""Makes docs/seen/constrained.md: what engines hold of a JSON Schema, keyword by keyword.

    python3 docs/seen/constrained.py --kneepoint target/debug/kneepoint --binary 10434=/path/to/llama-server --url 11549=http://127.0.0.1:8080 > docs/seen/constrained.md

    ... --engine /path/to/venv/bin/python=vllm-0.33.0-....whl --engine /path/to/other/bin/python=sglang-0.5.23-....whl

llama.cpp: `kneepoint schema-check --json` on a server of the pinned package, and on every other that `--binary` names or that runs at
`--url` (build 11549: `xllamacpp.Server` of the package xllamacpp 2026.10.11549, which has the server but no program). xgrammar and llguidance: their
own matchers, outlines_core the expression that it makes, where the packages can be imported; each value below is written without white space and laid before them. An engine: the
function in its wheel that says which library gets a schema, and those libraries, at the versions that it asks for, in a Python of
their own. A column is there only if its software ran. Outside CI: it starts servers and wants packages (xgrammar imports torch and
transformers, which take no part in this).
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

# Build of the pinned package.
PINNED = "10068"

LLGUIDANCE = """A llama.cpp that was built with llguidance (the server in xllamacpp 2026.10.11549 is) hands the schema to it whole: the grammar that it
reports begins with `%llguidance`, `schema-check` says so, and llguidance's column holds for it."""

ENGINES = """From source, and by running what it names: the function in the engine's wheel that decides which library gets a schema, and
then those libraries, at the versions that the engine asks for. No server was asked. In brackets: the library, where it is not xgrammar."""

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def an_object(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


# What is asked about: a name, the keyword (and where it stands), a schema, right values, wrong ones.
ROWS = [
    ("type", "type", NUMBER, [3], ["3", 1.5]),
    ("enum", "enum", {"enum": ["a", 1, None]}, ["a", 1, None], ["b", 2]),
    ("enum, a text with a quote", "enum", {"enum": ['a"b']}, ['a"b'], ["ab"]),
    ("const", "const", {"const": {"a": 1}}, [{"a": 1}], [{"a": 2}]),
    ("required", "required", an_object(a=NUMBER), [{"a": 1}], [{}]),
    ("additionalProperties: false", "additionalProperties", an_object(a=NUMBER), [{"a": 1}], [{"a": 1, "b": 1}]),
    ("minLength", "minLength", {**TEXT, "minLength": 2}, ["ab"], ["a"]),
    ("maxLength", "maxLength", {**TEXT, "maxLength": 2}, ["ab"], ["abc"]),
    ("maxLength above 2,000", "maxLength", {**TEXT, "maxLength": 2500}, ["ab"], ["a" * 2501]),
    ("pattern, anchored", "pattern", {**TEXT, "pattern": "^[a-z]{2}$"}, ["ab"], ["a", "AB"]),
    ("pattern, not anchored", "pattern", {**TEXT, "pattern": "[a-z]{2}"}, ["ab", "1ab1"], ["a"]),
    ("pattern with \\d", "pattern", {**TEXT, "pattern": "^\\d+$"}, ["12"], ["a"]),
    ("pattern with look-ahead", "pattern", {**TEXT, "pattern": "^(?!ab)[a-z]+$"}, ["ba"], ["ab"]),
    ("minLength beside pattern", "minLength", {**TEXT, "pattern": "^[a-z]*$", "minLength": 2}, ["ab"], ["a"]),
    ("format: date", "format", {**TEXT, "format": "date"}, ["2026-03-07"], ["7.3.2026"]),
    ("format: email", "format", {**TEXT, "format": "email"}, ["a@example.org"], ["a"]),
    ("format beside pattern", "format", {**TEXT, "format": "date", "pattern": "^[0-9-]+$"}, ["2026-03-07"], ["1"]),
    ("minimum of an integer", "minimum", {**NUMBER, "minimum": 3}, [3, 40], [2, -1]),
    ("maximum of an integer", "maximum", {**NUMBER, "maximum": 30}, [30, -4], [31]),
    ("minimum of an integer, below zero", "minimum", {**NUMBER, "minimum": -30}, [-5, 40], [-31]),
    ("maximum of an integer, below zero", "maximum", {**NUMBER, "maximum": -15}, [-16, -100], [-12, 3]),
    ("exclusiveMinimum beside minimum", "exclusiveMinimum", {**NUMBER, "minimum": 3, "exclusiveMinimum": 5}, [6], [5]),
    ("minimum of a number", "minimum", {"type": "number", "minimum": 0.5}, [0.5, 2], [0.25]),
    ("bounds of a number around zero", "maximum", {"type": "number", "minimum": -1, "maximum": 1}, [-0.5, 0.25], [1.5]),
    ("multipleOf", "multipleOf", {**NUMBER, "multipleOf": 5}, [10], [11]),
    ("multipleOf, below zero", "multipleOf", {**NUMBER, "multipleOf": 5}, [-10], [-11]),
    ("multipleOf, a fraction", "multipleOf", {"type": "number", "multipleOf": 0.25}, [0.5, 0.75], [0.3]),
    ("multipleOf without a type", "multipleOf", {"multipleOf": 5}, [10], [11]),
    ("minItems", "minItems", {"type": "array", "items": NUMBER, "minItems": 2}, [[1, 2]], [[1]]),
    ("minItems without items", "minItems", {"type": "array", "minItems": 2}, [[1, 2]], [[1]]),
    ("maxItems", "maxItems", {"type": "array", "items": NUMBER, "maxItems": 2}, [[1, 2]], [[1, 2, 3]]),
    ("uniqueItems", "uniqueItems", {"type": "array", "items": NUMBER, "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    ("uniqueItems without a type", "uniqueItems", {"items": NUMBER, "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    ("contains", "contains", {"type": "array", "items": NUMBER, "contains": {"const": 7}}, [[7]], [[1]]),
    ("prefixItems", "items", {"type": "array", "prefixItems": [NUMBER, TEXT], "items": False, "minItems": 2},
     [[1, "a"]], [[1, "a", 2]]),
    ("minProperties", "minProperties", {"type": "object", "additionalProperties": NUMBER, "minProperties": 1},
     [{"a": 1}], [{}]),
    ("patternProperties", "type", {"patternProperties": {"^n": NUMBER}},
     [{"n1": 1}], [{"n1": "x"}]),
    ("propertyNames", "pattern", {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}, [{"a": 1}], [{"A": 1}]),
    ("dependentRequired", "dependentRequired",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "dependentRequired": {"a": ["b"]}},
     [{"a": 1, "b": 1}, {"b": 1}], [{"a": 1}]),
    ("anyOf", "anyOf", {"anyOf": [NUMBER, TEXT]}, [1, "a"], [True]),
    ("oneOf, both fit", "oneOf", {"oneOf": [{**NUMBER, "minimum": 0}, {**NUMBER, "maximum": 10}]}, [11, -1], [5]),
    ("siblings of anyOf", "required",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["b"],
      "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    ("allOf of objects", "required", {"allOf": [an_object(a=NUMBER)]}, [{"a": 1}], [{"a": "x"}]),
    ("allOf of texts", "minLength", {"allOf": [TEXT, {"minLength": 2}]}, ["ab"], ["a", 1]),
    ("not", "not", {**TEXT, "not": {"enum": ["root"]}}, ["a"], ["root"]),
    ("if, then", "required",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}, [{"a": 1, "b": 1}, {"a": 2}], [{"a": 1}]),
    ("unevaluatedProperties", "unevaluatedProperties",
     {"type": "object", "properties": {"a": NUMBER}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}]),
    ("$ref to a definition", "type", {"$defs": {"n": NUMBER}, **an_object(a={"$ref": "#/$defs/n"})}, [{"a": 1}], [{"a": "x"}]),
    ("$ref: \"#\"", "type", {"type": "object", "properties": {"a": {"$ref": "#"}}}, [{"a": {"a": {}}}], [{"a": 1}]),
    ("integers of 17 digits", "", NUMBER, [12345678901234567], []),
    ("escapes in a bounded text", "", {**TEXT, "maxLength": 9}, ['a"b', "a\\b", "a\nb"], []),
]


def checked(args, server, content):
    """What `schema-check --json` says of a file's content."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(content, file)
        file.flush()
        out = subprocess.run([args.kneepoint, "schema-check", file.name, "--json", *server], capture_output=True, text=True)
    if out.returncode not in (0, 100):
        sys.exit(out.stderr)
    return json.loads(out.stdout)


def of_llama(args, label, server):
    """For each row what is held of its keyword, by kneepoint; and the build."""
    # One server for all rows; what is listed as right and wrong is tried beside what kneepoint makes.
    rows = [{"id": name, "schema": schema, "valid": right, "invalid": wrong} for name, _, schema, right, wrong in ROWS]
    said = checked(args, server, {"schemas": rows})
    found = [word(keyword, held) for (_, keyword, *_), held in zip(ROWS, said["schemas"])]
    return f"llama.cpp {label} ({said['build']})", found


def word(keyword, held):
    conversion = held["conversion"]
    if isinstance(conversion, dict):
        if "refused" in conversion:
            return "refused"
        reason = conversion["unknown"]["reason"]
        return "as llguidance" if "llguidance" in reason else f"not known: {reason}"
    if not keyword:
        return "not asked"
    holds = [entry["hold"] for entry in held.get("keywords", []) if entry["keyword"] == keyword]
    if held["right_barred"] and "dropped" not in holds:
        return "over-restricted"
    return next((hold for hold in ("dropped", "over-restricted", "enforced") if hold in holds), "unshown")


def by_values(accepts):
    """The same words for a matcher that takes texts; `accepts(schema)` returns a function, or raises where it refuses."""
    return [of_row(accepts, row) for row in ROWS]


def of_row(accepts, row):
    _, keyword, schema, right, wrong = row
    try:
        takes = accepts(schema)
    except Exception as error:  # noqa: BLE001: whatever a library raises is its refusal
        return f"refused ({type(error).__name__})"

    def writes(value):
        return any(takes(text) for text in writings(value))

    barred = [value for value in right if not writes(value)]
    if not keyword:
        return "cannot be written" if barred else "can be written"
    if any(writes(value) for value in wrong):
        return "dropped"
    return "over-restricted" if barred else "enforced"


def writings(value):
    if isinstance(value, float):
        # Grammars of multiples may want digits behind the point that say nothing.
        yield from (f"{value}{zeros}" for zeros in ("0", "00"))
    for ascii_only in (False, True):
        yield json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)
        yield json.dumps(value, ensure_ascii=ascii_only)


def named(package):
    return f"{package} {importlib.metadata.version(package)}"


def of_xgrammar():
    import xgrammar
    from xgrammar.testing import _is_grammar_accept_string

    def accepts(schema):
        grammar = xgrammar.Grammar.from_json_schema(json.dumps(schema))
        return lambda text: _is_grammar_accept_string(grammar, text)

    return accepts


def of_llguidance():
    import llguidance

    # A tokenizer of single bytes: what is matched is the text itself.
    tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"]

    class Bytes:
        eos_token_id, bos_token_id, special_token_ids = 256, None, [256]

        def __init__(self):
            self.tokens = tokens

        def __call__(self, text):
            return list(text if isinstance(text, bytes) else text.encode())

    from llguidance._tokenizer import TokenizerWrapper

    tokenizer = llguidance.LLTokenizer(TokenizerWrapper(Bytes()))

    def accepts(schema):
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        error = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
        if error.is_error():
            raise ValueError(error.get_error())

        def takes(text):
            matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
            return matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()

        return takes

    return accepts


def of_outlines():
    from outlines_core import Index, Vocabulary, json_schema

    signs = Vocabulary(0, {chr(code): [code] for code in range(32, 127)})

    def accepts(schema):
        pattern = json_schema.build_regex_from_schema(json.dumps(schema))
        # The automaton that is made of it is the same language. It refuses what it does not know, and takes minutes for long texts.
        if "2500" not in pattern:
            Index(pattern, signs)
        return lambda text: re.fullmatch(pattern, text) is not None

    return accepts


def of_engine(wheel):
    """What an engine comes to: the column's name, and its words."""
    package, version = pathlib.Path(wheel).name.split("-")[:2]
    name, words = {"vllm": of_vllm, "sglang": of_sglang}[package](wheel)
    return f"{package} {version}: {name}", words


def of_vllm(wheel):
    """`auto`: xgrammar, where `has_xgrammar_unsupported_json_features` names nothing and it takes the schema; otherwise guidance, or outlines."""
    folder = "vllm/v1/structured_output/backend_"
    not_by_xgrammar = functions(wheel, folder + "xgrammar.py")["has_xgrammar_unsupported_json_features"]
    not_by_guidance = functions(wheel, folder + "guidance.py")["has_guidance_unsupported_json_features"]
    first, second, third = of_xgrammar(), of_llguidance(), of_outlines()

    def library(schema):
        if not not_by_xgrammar(schema):
            try:
                first(schema)
                return first, ""
            except Exception:  # noqa: BLE001: the engine goes on to the next, too
                pass
        return (third, " (outlines)") if not_by_guidance(schema) else (second, " (guidance)")

    words = []
    for row in ROWS:
        accepts, by = library(row[2])
        words.append(of_row(accepts, row) + by)
    return f"`auto` with {named('xgrammar')}, guidance by {named('llguidance')}, {named('outlines_core')}", words


def of_sglang(wheel):
    """xgrammar, behind a check of its own where there is one; what is refused stays refused."""
    rules = functions(wheel, "sglang/srt/constrained/json_schema_validation.py")
    refuses = rules.get("validate_xgrammar_json_schema", lambda schema: None)
    by_xgrammar = of_xgrammar()

    def accepts(schema):
        refuses(schema)
        return by_xgrammar(schema)

    return f"{named('xgrammar')}{' behind its own check' if rules else ''}", by_values(accepts)


def functions(wheel, path):
    """The functions of a file in a wheel, without what the file imports; none where the file is not there."""
    with zipfile.ZipFile(wheel) as files:
        if path not in files.namelist():
            return {}
        tree = ast.parse(files.read(path))
    constant = lambda node: isinstance(node, ast.Assign) and all(getattr(name, "id", "").isupper() for name in node.targets)
    error = lambda node: isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "ValueError" for base in node.bases)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.decorator_list or constant(node) or error(node)]
    found = {}
    # Annotations stay texts, as in this file: names that the file imports are not needed.
    exec(compile(tree, path, "exec"), found)  # noqa: S102: a package's own code, as if it were imported
    return found


def of_dataset(args, server):
    """What the suite's own 120 schemas come to."""
    folder = pathlib.Path(__file__).parents[2] / "datasets/tools"
    entries = [entry for path in sorted(folder.glob("schemas-*.json")) for entry in json.loads(path.read_text())["schemas"]]
    said = checked(args, server, {"schemas": entries})["schemas"]
    refused = [held for held in said if isinstance(held["conversion"], dict) and "refused" in held["conversion"]]
    full = [held for held in said if held["in_full"]]
    barred = [held for held in said if held["answer_reachable"] is False]
    allowed = [held for held in said if held["wrong_allowed"]]
    counts = {}
    for hold in ("dropped", "over-restricted", "refused"):
        for held in said:
            for name in {entry["keyword"] for entry in held.get("keywords", []) if entry["hold"] == hold}:
                counts.setdefault(hold, {}).setdefault(name, 0)
                counts[hold][name] += 1
    lines = [f"Of the {len(said)} schemas of `datasets/tools`, {len(full)} are held in full and {len(refused)} are refused. The answer that is asked",
             f"for cannot be written in {len(barred)}, a listed wrong value can in {len(allowed)}.", ""]
    for hold, names in counts.items():
        listed = ", ".join(f"`{name}` ({count})" for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0])))
        lines.append(f"- {hold}: {listed}")
    return "\n".join(lines)


def routed(python, wheel):
    return json.loads(subprocess.run([python, __file__, "--routed", wheel], check=True, capture_output=True, text=True).stdout)


def table(columns):
    print("| what | " + " | ".join(name for name, _ in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for at, row in enumerate(ROWS):
        print(f"| {row[0].replace('|', chr(92) + '|')} | " + " | ".join(found[at] for _, found in columns) + " |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kneepoint", default="kneepoint")
    parser.add_argument("--binary", action="append", default=[], metavar="BUILD=FILE", help="another llama-server")
    parser.add_argument("--url", action="append", default=[], metavar="BUILD=URL", help="a server of llama.cpp's that runs already")
    parser.add_argument("--engine", action="append", default=[], metavar="PYTHON=WHEEL", help="a wheel of vLLM or SGLang, and a Python with its libraries")
    parser.add_argument("--routed", metavar="WHEEL", help="print the column of an engine's wheel as JSON, and nothing else")
    args = parser.parse_args()
    if args.routed:
        return print(json.dumps(of_engine(args.routed)))
    others = [("--binary", named) for named in args.binary] + [("--url", named) for named in args.url]
    servers = [(PINNED, [])] + [(named.split("=", 1)[0], [flag, named.split("=", 1)[1]]) for flag, named in others]
    columns = [of_llama(args, label, server) for label, server in servers]
    for package, library in (("xgrammar", of_xgrammar), ("llguidance", of_llguidance), ("outlines_core", of_outlines)):
        try:
            columns.append((named(package), by_values(library())))
        except ImportError as error:
            print(f"{package}: left out: {error}", file=sys.stderr)
    engines = [routed(*named.split("=", 1)) for named in args.engine]
    print("# What constrained decoding enforces\n")
    print("<!-- made by docs/seen/constrained.py: run it again for another build -->\n")
    print("Seen by running it: right and wrong values laid before the grammar that each makes of a schema. `enforced` means as far as")
    print("values were tried; `dropped`: a wrong value can be written; `over-restricted`: a right one cannot; `refused`: no grammar is made.\n")
    print(LLGUIDANCE + "\n")
    table(columns)
    if engines:
        print(f"\n## What vLLM and SGLang make of it\n\n{ENGINES}\n")
        table(engines)
    print("\n## The schemas of `tools/json_schema`")
    for (name, _), (_, server) in zip(columns, servers):
        print(f"\n**{name}**. {of_dataset(args, server)}")


if __name__ == "__main__":
    main()
