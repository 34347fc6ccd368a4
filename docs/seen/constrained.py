#!/usr/bin/env python3
"""Makes docs/seen/constrained.md, what engines hold of a JSON Schema, keyword by keyword, and the same as the data that kneepoint reads.

    python3 docs/seen/constrained.py --kneepoint target/debug/kneepoint --binary 10434=/path/to/llama-server --url 11549=http://127.0.0.1:8080
        --table src/task/tools/held/seen.json > docs/seen/constrained.md

    ... --engine /path/to/venv/bin/python=vllm-0.33.0-....whl --engine /path/to/other/bin/python=sglang-0.5.23-....whl

llama.cpp: `kneepoint schema-check --json` on a server of the pinned package, and on every other that `--binary` names or that runs at
`--url` (build 11549: `xllamacpp.Server` of the package xllamacpp 2026.10.11549, which has the server but no program). xgrammar and llguidance: their
own matchers, outlines_core the expression that it makes, where the packages can be imported; each value below is written without white space and laid before them. An engine: the
function in its wheel that says which library gets a schema, and those libraries, at the versions that it asks for, in a Python of
their own. A column is there only if its software ran. Outside CI: it starts servers and wants packages (xgrammar imports torch and
transformers, which take no part in this). A new row wants a situation of its name in src/task/tools/held/situation.rs; a test says so.
"""

from __future__ import annotations

import argparse
import ast
import datetime
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

READ = """`kneepoint schema-check FILE --engine vllm` (or `sglang`) reads these columns for a schema of your own, `validate` and reports do for a
suite's, and say that no server was asked. A schema goes to one library as a whole: where one keyword of it is passed on, what
the next library makes of the others counts, too. Of a version that has no column here the nearest one is taken, and named."""

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def an_object(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


# What is asked about: a name, the keyword (and where it stands), a schema, right values, wrong ones.
ROWS = [
    ("type", "type", NUMBER, [3], ["3", 1.5]),
    ("type, a list", "type", {"type": ["string", "null"]}, ["a", None], [1]),
    ("enum", "enum", {"enum": ["a", 1, None]}, ["a", 1, None], ["b", 2]),
    ("enum, a text with a quote", "enum", {"enum": ['a"b']}, ['a"b'], ["ab"]),
    ("siblings of enum", "minLength", {**TEXT, "enum": ["a", "bcd"], "minLength": 2}, ["bcd"], ["a"]),
    ("const", "const", {"const": {"a": 1}}, [{"a": 1}], [{"a": 2}]),
    ("required", "required", an_object(a=NUMBER), [{"a": 1}], [{}]),
    ("required, a name that properties do not have", "required",
     {"type": "object", "properties": {"a": NUMBER}, "required": ["b"]}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    ("required without a type", "required", {"properties": {"a": NUMBER}, "required": ["a"]}, [{"a": 1}], [{}]),
    ("additionalProperties: false", "additionalProperties", an_object(a=NUMBER), [{"a": 1}], [{"a": 1, "b": 1}]),
    ("additionalProperties, a schema", "type", {"type": "object", "additionalProperties": NUMBER}, [{"a": 1}], [{"a": "x"}]),
    ("additionalProperties, a schema beside properties", "type",
     {"type": "object", "properties": {"a": NUMBER}, "additionalProperties": TEXT}, [{"a": 1, "b": "x"}], [{"a": 1, "b": 2}]),
    ("minLength", "minLength", {**TEXT, "minLength": 2}, ["ab"], ["a"]),
    ("maxLength", "maxLength", {**TEXT, "maxLength": 2}, ["ab"], ["abc"]),
    ("maxLength above 2,000", "maxLength", {**TEXT, "maxLength": 2500}, ["ab"], ["a" * 2501]),
    ("minLength without a type", "minLength", {"minLength": 2}, ["ab"], ["a"]),
    ("pattern, anchored", "pattern", {**TEXT, "pattern": "^[a-z]{2}$"}, ["ab"], ["a", "AB"]),
    ("pattern, not anchored", "pattern", {**TEXT, "pattern": "[a-z]{2}"}, ["ab", "1ab1"], ["a"]),
    ("pattern with \\d", "pattern", {**TEXT, "pattern": "^\\d+$"}, ["12"], ["a"]),
    ("pattern with look-ahead", "pattern", {**TEXT, "pattern": "^(?!ab)[a-z]+$"}, ["ba"], ["ab"]),
    ("pattern without a type", "pattern", {"pattern": "^[a-z]{2}$"}, ["ab"], ["a"]),
    ("pattern beside a list of types", "pattern", {"type": ["string", "null"], "pattern": "^[a-z]{2}$"}, ["ab", None], ["a"]),
    ("minLength beside pattern", "minLength", {**TEXT, "pattern": "^[a-z]*$", "minLength": 2}, ["ab"], ["a"]),
    ("format: date", "format", {**TEXT, "format": "date"}, ["2026-03-07"], ["7.3.2026"]),
    ("format: email", "format", {**TEXT, "format": "email"}, ["a@example.org"], ["a"]),
    ("format: date-time", "format", {**TEXT, "format": "date-time"}, ["2026-03-07T10:00:00Z"], ["2026-03-07 10"]),
    ("format: time", "format", {**TEXT, "format": "time"}, ["10:00:00Z"], ["10 am"]),
    ("format: duration", "format", {**TEXT, "format": "duration"}, ["P3D"], ["3 days"]),
    ("format: uuid", "format", {**TEXT, "format": "uuid"}, ["12345678-1234-4234-8234-123456789abc"], ["12345678"]),
    ("format: uri", "format", {**TEXT, "format": "uri"}, ["https://example.org/a"], ["a b"]),
    ("format: hostname", "format", {**TEXT, "format": "hostname"}, ["example.org"], ["a_b c"]),
    ("format: ipv4", "format", {**TEXT, "format": "ipv4"}, ["192.0.2.1"], ["192.0.2"]),
    ("format: ipv6", "format", {**TEXT, "format": "ipv6"}, ["2001:db8::1"], ["2001"]),
    ("format that nobody knows", "", {**TEXT, "format": "colour"}, ["red"], []),
    ("format beside pattern", "format", {**TEXT, "format": "date", "pattern": "^[0-9-]+$"}, ["2026-03-07"], ["1"]),
    ("maxLength beside format", "maxLength", {**TEXT, "format": "email", "maxLength": 10}, ["a@b.de"], ["abcdef@example.org"]),
    ("minimum of an integer", "minimum", {**NUMBER, "minimum": 3}, [3, 40], [2, -1]),
    ("maximum of an integer", "maximum", {**NUMBER, "maximum": 30}, [30, -4], [31]),
    ("minimum of an integer, below zero", "minimum", {**NUMBER, "minimum": -30}, [-5, 40], [-31]),
    ("maximum of an integer, below zero", "maximum", {**NUMBER, "maximum": -15}, [-16, -100], [-12, 3]),
    ("both bounds of an integer", "maximum", {**NUMBER, "minimum": 3, "maximum": 30}, [3, 17, 30], [2, 31]),
    ("both bounds of an integer, around zero", "maximum", {**NUMBER, "minimum": -5, "maximum": 5}, [-5, 0, 5], [-6, 6]),
    ("exclusiveMinimum of an integer", "exclusiveMinimum", {**NUMBER, "exclusiveMinimum": 3}, [4, 40], [3]),
    ("exclusiveMaximum of an integer", "exclusiveMaximum", {**NUMBER, "exclusiveMaximum": 30}, [29, -4], [30]),
    ("exclusiveMinimum beside minimum", "exclusiveMinimum", {**NUMBER, "minimum": 3, "exclusiveMinimum": 5}, [6], [5]),
    ("minimum of a number", "minimum", {"type": "number", "minimum": 0.5}, [0.5, 2], [0.25]),
    ("maximum of a number", "maximum", {"type": "number", "maximum": 2.5}, [2.5, 0.5], [2.75]),
    ("both bounds of a number", "maximum", {"type": "number", "minimum": 0.5, "maximum": 2.5}, [0.5, 1.25], [0.25, 2.75]),
    ("exclusiveMinimum of a number", "exclusiveMinimum", {"type": "number", "exclusiveMinimum": 0}, [0.5, 3], [0]),
    ("exclusiveMaximum of a number", "exclusiveMaximum", {"type": "number", "exclusiveMaximum": 1}, [0.5, -2], [1]),
    ("bounds of a number around zero", "maximum", {"type": "number", "minimum": -1, "maximum": 1}, [-0.5, 0.25], [1.5]),
    ("minimum without a type", "minimum", {"minimum": 3}, [3], [2]),
    ("minimum beside a list of types", "minimum", {"type": ["integer", "null"], "minimum": 3}, [3, None], [2]),
    ("multipleOf", "multipleOf", {**NUMBER, "multipleOf": 5}, [10], [11]),
    ("multipleOf, below zero", "multipleOf", {**NUMBER, "multipleOf": 5}, [-10], [-11]),
    ("multipleOf, a fraction", "multipleOf", {"type": "number", "multipleOf": 0.25}, [0.5, 0.75], [0.3]),
    ("multipleOf without a type", "multipleOf", {"multipleOf": 5}, [10], [11]),
    ("items", "type", {"type": "array", "items": NUMBER}, [[1], []], [["a"]]),
    ("items, a list", "type", {"$schema": DRAFT_7, "type": "array", "items": [NUMBER, TEXT]}, [[1, "a"]], [["a", 1]]),
    ("minItems", "minItems", {"type": "array", "items": NUMBER, "minItems": 2}, [[1, 2]], [[1]]),
    ("minItems without items", "minItems", {"type": "array", "minItems": 2}, [[1, 2]], [[1]]),
    ("minItems without a type", "minItems", {"items": NUMBER, "minItems": 2}, [[1, 2]], [[1]]),
    ("maxItems", "maxItems", {"type": "array", "items": NUMBER, "maxItems": 2}, [[1, 2]], [[1, 2, 3]]),
    ("maxItems without items", "maxItems", {"type": "array", "maxItems": 2}, [[1, 2]], [[1, 2, 3]]),
    ("uniqueItems", "uniqueItems", {"type": "array", "items": NUMBER, "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    ("uniqueItems without a type", "uniqueItems", {"items": NUMBER, "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    ("contains", "contains", {"type": "array", "items": NUMBER, "contains": {"const": 7}}, [[7]], [[1]]),
    ("maxContains", "maxContains",
     {"type": "array", "items": NUMBER, "contains": {"const": 7}, "maxContains": 1}, [[7]], [[7, 7]]),
    ("prefixItems", "items", {"type": "array", "prefixItems": [NUMBER, TEXT], "items": False, "minItems": 2},
     [[1, "a"]], [[1, "a", 2]]),
    ("minProperties", "minProperties", {"type": "object", "additionalProperties": NUMBER, "minProperties": 1},
     [{"a": 1}], [{}]),
    ("minProperties beside properties", "minProperties",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "minProperties": 1}, [{"a": 1}], [{}]),
    ("maxProperties", "maxProperties", {"type": "object", "additionalProperties": NUMBER, "maxProperties": 1},
     [{"a": 1}], [{"a": 1, "b": 1}]),
    ("patternProperties", "type", {"patternProperties": {"^n": NUMBER}},
     [{"n1": 1}], [{"n1": "x"}]),
    ("patternProperties beside properties", "type",
     {"type": "object", "properties": {"a": TEXT}, "patternProperties": {"^n": NUMBER}}, [{"a": "x", "n1": 1}], [{"n1": "x"}]),
    ("propertyNames", "pattern", {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}, [{"a": 1}], [{"A": 1}]),
    ("propertyNames beside properties", "pattern",
     {"type": "object", "properties": {"a": NUMBER}, "propertyNames": {"pattern": "^[a-z]+$"}}, [{"a": 1}], [{"a": 1, "A": 1}]),
    ("dependentRequired", "dependentRequired",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "dependentRequired": {"a": ["b"]}},
     [{"a": 1, "b": 1}, {"b": 1}], [{"a": 1}]),
    ("dependentSchemas", "required",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "dependentSchemas": {"a": {"required": ["b"]}}},
     [{"a": 1, "b": 1}, {"b": 1}], [{"a": 1}]),
    ("anyOf", "anyOf", {"anyOf": [NUMBER, TEXT]}, [1, "a"], [True]),
    ("oneOf, apart", "oneOf", {"oneOf": [NUMBER, TEXT]}, [1, "a"], [True]),
    ("oneOf, both fit", "oneOf", {"oneOf": [{**NUMBER, "minimum": 0}, {**NUMBER, "maximum": 10}]}, [11, -1], [5]),
    ("siblings of anyOf", "required",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["b"],
      "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    ("allOf of objects", "required", {"allOf": [an_object(a=NUMBER)]}, [{"a": 1}], [{"a": "x"}]),
    ("allOf of two objects", "required",
     {"allOf": [{"type": "object", "properties": {"a": NUMBER}, "required": ["a"]},
                {"type": "object", "properties": {"b": TEXT}, "required": ["b"]}]}, [{"a": 1, "b": "x"}], [{"a": 1}, {"b": "x"}]),
    ("siblings of allOf", "required",
     {"allOf": [{"type": "object", "properties": {"a": NUMBER, "b": NUMBER}}], "required": ["a"]}, [{"a": 1}], [{"b": 1}]),
    ("allOf of one text", "minLength", {"allOf": [{**TEXT, "minLength": 2}]}, ["ab"], ["a", 1]),
    ("allOf of texts", "minLength", {"allOf": [TEXT, {"minLength": 2}]}, ["ab"], ["a", 1]),
    ("not", "not", {**TEXT, "not": {"enum": ["root"]}}, ["a"], ["root"]),
    ("if, then", "required",
     {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}, [{"a": 1, "b": 1}, {"a": 2}], [{"a": 1}]),
    ("unevaluatedProperties", "unevaluatedProperties",
     {"type": "object", "properties": {"a": NUMBER}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}]),
    ("$ref to a definition", "type", {"$defs": {"n": NUMBER}, **an_object(a={"$ref": "#/$defs/n"})}, [{"a": 1}], [{"a": "x"}]),
    ("siblings of $ref", "required",
     {"$defs": {"n": {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}}}, "$ref": "#/$defs/n", "required": ["a"]},
     [{"a": 1}], [{"b": 1}]),
    ("$ref with an escaped pointer", "type", {"$defs": {"a/b": NUMBER}, **an_object(a={"$ref": "#/$defs/a~1b"})},
     [{"a": 1}], [{"a": "x"}]),
    ("$ref that comes back", "required",
     {"$defs": {"n": {"type": "object", "properties": {"v": NUMBER, "next": {"$ref": "#/$defs/n"}}, "required": ["v"]}},
      "$ref": "#/$defs/n"}, [{"v": 1}, {"v": 1, "next": {"v": 2}}], [{"v": 1, "next": {}}]),
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


def named_version(package):
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
    """What an engine comes to: its column, with the cells of each library that it may give a schema to."""
    package, version = pathlib.Path(wheel).name.split("-")[:2]
    heading, libraries = {"vllm": of_vllm, "sglang": of_sglang}[package](wheel)
    cells = [[of_library(*library, row) for library in libraries] for row in ROWS]
    named = [{"name": name, "package": package, "version": importlib.metadata.version(package)} for name, package, *_ in libraries]
    column = {"engine": package, "version": version, "source": pathlib.Path(wheel).name, "heading": f"{package} {version}: {heading}", "libraries": named}
    return {**column, "cells": cells, "schemas": of_schemas(libraries)}


def of_library(_name, _package, accepts, passes_on, row):
    """What a library makes of a row; and before it `passed on`, where the engine chooses another one for it."""
    held = of_row(accepts, row)
    return f"passed on: {held}" if passes_on(row[2]) else held


def of_schemas(libraries):
    """What the library that gets it makes of each of the suite's own 120 schemas: those that it refuses, those whose answer it cannot
    write, those of which it can write a wrong value that is listed."""
    found = {"refused": [], "answer_barred": [], "wrong_allowed": []}
    for entry in dataset():
        accepts = next(accepts for _, _, accepts, passes_on in libraries if not passes_on(entry["schema"]))
        try:
            takes = accepts(entry["schema"])
        except Exception:  # noqa: BLE001: whatever a library raises is its refusal
            found["refused"].append(entry["id"])
            continue
        writes = lambda value: any(takes(text) for text in writings(value))
        if not writes(entry["answer"]):
            found["answer_barred"].append(entry["id"])
        if any(writes(value) for value in entry["invalid"]):
            found["wrong_allowed"].append(entry["id"])
    return found


def of_vllm(wheel):
    """`auto`: xgrammar, where `has_xgrammar_unsupported_json_features` names nothing and it takes the schema; otherwise guidance, or
    outlines. A backend that is named gets every schema: xgrammar's then refuses what that function names."""
    folder = "vllm/v1/structured_output/backend_"
    not_by_xgrammar = functions(wheel, folder + "xgrammar.py")["has_xgrammar_unsupported_json_features"]
    not_by_guidance = functions(wheel, folder + "guidance.py")["has_guidance_unsupported_json_features"]
    by_xgrammar = of_xgrammar()

    def named(schema):
        if not_by_xgrammar(schema):
            raise ValueError("unsupported")
        return by_xgrammar(schema)

    def refused(schema):
        try:
            named(schema)
        except Exception:  # noqa: BLE001: the engine goes on to the next, too
            return True
        return False

    heading = f"`auto` with {named_version('xgrammar')}, guidance by {named_version('llguidance')}, {named_version('outlines_core')}"
    return heading, [
        ("xgrammar", "xgrammar", named, refused),
        ("guidance", "llguidance", of_llguidance(), not_by_guidance),
        ("outlines", "outlines_core", of_outlines(), lambda schema: False),
    ]


def of_sglang(wheel):
    """xgrammar, behind a check of its own where there is one; what is refused stays refused. llguidance only where it is named."""
    rules = functions(wheel, "sglang/srt/constrained/json_schema_validation.py")
    refuses = rules.get("validate_xgrammar_json_schema", lambda schema: None)
    by_xgrammar = of_xgrammar()

    def accepts(schema):
        refuses(schema)
        return by_xgrammar(schema)

    heading = f"{named_version('xgrammar')}{' behind its own check' if rules else ''}"
    return heading, [("xgrammar", "xgrammar", accepts, lambda schema: False), ("llguidance", "llguidance", of_llguidance(), lambda schema: False)]


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


def dataset():
    folder = pathlib.Path(__file__).parents[2] / "datasets/tools"
    return [entry for path in sorted(folder.glob("schemas-*.json")) for entry in json.loads(path.read_text())["schemas"]]


def of_dataset(args, server):
    """What the suite's own 120 schemas come to."""
    said = checked(args, server, {"schemas": dataset()})["schemas"]
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


def chosen(libraries, cells):
    """The cell of the library that gets the schema; in brackets which, where that is not the first."""
    at = next(at for at, cell in enumerate(cells) if not cell.startswith("passed on: "))
    return cells[at] + (f" ({libraries[at]['name']})" if at else "")


def table(columns):
    print("| what | " + " | ".join(name for name, _ in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for at, row in enumerate(ROWS):
        print(f"| {row[0].replace('|', chr(92) + '|')} | " + " | ".join(found[at] for _, found in columns) + " |")


def write_table(path, columns, engines):
    """The tables as data: a row of the file for each of theirs."""
    def lines(entries):
        return ",\n".join("  " + json.dumps(entry) for entry in entries)

    rows = []
    for at, (what, keyword, schema, right, wrong) in enumerate(ROWS):
        cells = {"alone": [found[at] for _, found in columns], "engines": [engine["cells"][at] for engine in engines]}
        rows.append({"what": what, "keyword": keyword, "schema": schema, "right": right, "wrong": wrong, **cells})
    kept = [{key: value for key, value in engine.items() if key != "cells"} for engine in engines]
    parts = [("alone", [name for name, _ in columns]), ("engines", kept), ("rows", rows)]
    made = '"made_by": "docs/seen/constrained.py"'
    body = ",\n".join(f'"{name}": [\n{lines(entries)}\n]' for name, entries in parts)
    pathlib.Path(path).write_text("{\n" + made + ",\n" + body + "\n}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kneepoint", default="kneepoint")
    parser.add_argument("--binary", action="append", default=[], metavar="BUILD=FILE", help="another llama-server")
    parser.add_argument("--url", action="append", default=[], metavar="BUILD=URL", help="a server of llama.cpp's that runs already")
    parser.add_argument("--engine", action="append", default=[], metavar="PYTHON=WHEEL", help="a wheel of vLLM or SGLang, and a Python with its libraries")
    parser.add_argument("--table", metavar="FILE", help="write the tables as data, too")
    parser.add_argument("--routed", metavar="WHEEL", help="print the column of an engine's wheel as JSON, and nothing else")
    args = parser.parse_args()
    if args.routed:
        return print(json.dumps(of_engine(args.routed)))
    others = [("--binary", named) for named in args.binary] + [("--url", named) for named in args.url]
    servers = [(PINNED, [])] + [(named.split("=", 1)[0], [flag, named.split("=", 1)[1]]) for flag, named in others]
    columns = [of_llama(args, label, server) for label, server in servers]
    for package, library in (("xgrammar", of_xgrammar), ("llguidance", of_llguidance), ("outlines_core", of_outlines)):
        try:
            columns.append((named_version(package), by_values(library())))
        except ImportError as error:
            print(f"{package}: left out: {error}", file=sys.stderr)
    engines = [routed(*named.split("=", 1)) for named in args.engine]
    print("# What constrained decoding enforces\n")
    print("<!-- made by docs/seen/constrained.py: run it again for another build -->\n")
    print("Seen by running it: right and wrong values laid before the grammar that each makes of a schema. `enforced` means as far as")
    print("values were tried; `dropped`: a wrong value can be written; `over-restricted`: a right one cannot; `refused`: no grammar is made.")
    print(f"All of it comes from one run of the program, on {datetime.date.today()}.\n")
    print(LLGUIDANCE + "\n")
    table(columns)
    if engines:
        print(f"\n## What vLLM and SGLang make of it\n\n{ENGINES}\n")
        table([(engine["heading"], [chosen(engine["libraries"], cells) for cells in engine["cells"]]) for engine in engines])
        print(f"\n{READ}")
    print("\n## The schemas of `tools/json_schema`")
    for (name, _), (_, server) in zip(columns, servers):
        print(f"\n**{name}**. {of_dataset(args, server)}")
    for engine in engines:
        counts = {name: len(found) for name, found in engine["schemas"].items()}
        print(f"\n**{engine['heading']}**. Of the {len(dataset())}, {counts['refused']} are refused. The answer that is asked for cannot be written in")
        print(f"{counts['answer_barred']}, a listed wrong value can in {counts['wrong_allowed']}.")
    if args.table:
        write_table(args.table, columns, engines)


if __name__ == "__main__":
    main()
