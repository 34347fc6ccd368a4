#!/usr/bin/env bash
# @huggingface/jinja 0.5.11 (npm; renders the chat templates of transformers.js): other text than Jinja2, without an error.
#
# `==` is JavaScript's, so the text '1' equals the number 1: a template that tells a tool call's arguments by their value takes the other
# branch. `strip` with an argument ignores it, `capitalize` leaves capitals behind the first sign, 2.0 becomes 2 through
# `tojson`, true prints as "true". Guessed before: what it does not have, it refuses; what it has is Jinja2's.
#
# Seen, here and by Jinja2 3.1.6:
#   {{ '1' == 1 }}                true   False
#   {{ 'xxaxx'.strip('x') }}      xxaxx  a
#   {{ 'hELLO' | capitalize }}    HELLO  Hello
#   {{ [2.0] | tojson }}          [2]    [2.0]
# Exits 1 when any of it changes. Needs node with npm, python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11)
python3 -m pip install --quiet --target "$work/jinja" jinja2==3.1.6 2>/dev/null
cat >"$work/render.mjs" <<'JS'
import { Template } from "@huggingface/jinja";
console.log(JSON.stringify(JSON.parse(process.argv[2]).map((text) => new Template(text).render({}))));
JS
cd "$work"
PYTHONPATH="$work/jinja" python3 - <<'PY'
import json, subprocess, sys
from jinja2 import Environment
EXPRESSIONS = ["{{ '1' == 1 }}", "{{ 'xxaxx'.strip('x') }}", "{{ 'hELLO' | capitalize }}", "{{ [2.0] | tojson }}"]
SEEN = [("true", "False"), ("xxaxx", "a"), ("HELLO", "Hello"), ("[2]", "[2.0]")]
here = json.loads(subprocess.run(["node", "render.mjs", json.dumps(EXPRESSIONS)], check=True, capture_output=True, text=True).stdout)
got = [(text, Environment().from_string(expression).render()) for text, expression in zip(here, EXPRESSIONS)]
for expression, (ours, theirs) in zip(EXPRESSIONS, got):
    print(f"{expression}: {ours!r}, by Jinja2 {theirs!r}")
sys.exit(got != SEEN)
PY
