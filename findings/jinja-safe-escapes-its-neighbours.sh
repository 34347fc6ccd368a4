#!/usr/bin/env bash
# Jinja2 3.1.6 beside minijinja 3.1.0: `'a'|safe + x` turns quotes of x into `&#34;`, with escaping switched off.
#
# Chat templates are rendered without escaping. `safe` still makes its text a Markup, and a Markup escapes what is added to it by `+`. A
# template that marks its own words as safe and adds a tool's JSON to them (Functionary v3.1's does) gives the model `{&#34;name&#34;` under
# transformers and vLLM; engines in Rust (minijinja) and llama-server (build 10068, rendered side by side) give `{"name"`. The same model with
# the same messages reads two prompts. Joined by `~` nothing is escaped by either. Guessed before: `safe` does nothing where nothing is escaped.
#
# Seen: Jinja2 `tool: {&#34;name&#34;: 1}`, minijinja `tool: {"name": 1}`; by `~` both the latter.
# Exits 1 when any of it changes. Needs python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --target "$work/x" jinja2==3.1.6 minijinja==3.1.0 2>/dev/null
PYTHONPATH="$work/x" python3 - <<'PY'
import json, sys
import minijinja
from jinja2.sandbox import ImmutableSandboxedEnvironment
first = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
second = minijinja.Environment(trim_blocks=True, lstrip_blocks=True)
tool = json.dumps({"name": 1})
got = []
for sign in "+~":
    template = "{{ 'tool: '|safe " + sign + " tool }}"
    got.append((first.from_string(template).render(tool=tool), second.render_str(template, tool=tool)))
    print(f"{template}: Jinja2 {got[-1][0]!r}, minijinja {got[-1][1]!r}")
plain = 'tool: {"name": 1}'
sys.exit(got != [("tool: {&#34;name&#34;: 1}", plain), (plain, plain)])
PY
