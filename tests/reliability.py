#!/usr/bin/env python3
"""Breaks kneepoint on purpose, many times at random, and counts what came of it: the figures of docs/reliability.md.

    cargo build --release
    python3 tests/reliability.py target/release/kneepoint [PART ...] [--count N] [--seed N]

Parts: kills, signals, truncations, flips, servers, browser. Everything runs on the mock server in a temporary folder and
takes loopback addresses only. Python 3 alone; `browser` also wants Chromium on PATH and the package markdown-it-py.
A part that finds a trial lost, doubled or scored differently, a server left over, a panic or a script that ran says so,
keeps its folder, and the exit status is 1.
"""

import argparse
import collections
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SUITE = """
name = "broken-on-purpose"
contexts = [512]
rounds = 2
draws = 1000
objectives = ["quality", "decode", "memory"]

[engine]
{engine}
start_timeout_s = 20
request_timeout_s = 10
idle_timeout_s = 2

[[model]]
name = "mock"
{model}
weights = "Q8_0"

[reference]

{setting}
[[task]]
name = "retrieval/niah_single_1"
samples = 4

[[task]]
name = "retrieval/confusable_keys"
samples = 4
"""
SETTING = '[[setting]]\nkv = "q8_0"\n'

WRAPPER = """#!/bin/sh
for arg in "$@"; do
  case "$arg" in
    --version) echo "version: 1 (mock)"; exit 0 ;;
    --help) echo "  -m, --model FNAME"; echo "  -fa, --flash-attn [on|off|auto]"; exit 0 ;;
  esac
done
while [ $# -gt 0 ]; do
  case "$1" in --port) port=$2 ;; esac
  shift
done
exec {binary} mock-server --port "$port" --slots 0 --decode-ms 2 {mock}
"""

# Statuses that docs/cli.md documents, and those of a process that a signal ended.
DOCUMENTED = {0, 1, 2, 4, 100, 101, 106, 130}
PANIC = b"panicked at"


class Bench:
    """A folder with a suite whose server is the mock behind llama-server's command line."""

    def __init__(self, binary, mock=""):
        self.binary = str(pathlib.Path(binary).resolve())
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kneepoint-reliability-"))
        server = self.dir / "llama-server"
        server.write_text(WRAPPER.format(binary=self.binary, mock=mock))
        server.chmod(0o755)
        (self.dir / "model.gguf").write_bytes(tiny_gguf())
        self.suite(SUITE.format(engine=f'binary = "{server}"', model='path = "model.gguf"', setting=SETTING))

    def suite(self, text):
        (self.dir / "suite.toml").write_text(text)

    def start(self, *args):
        env = dict(os.environ, NO_COLOR="1", KNEEPOINT_CACHE_DIR=str(self.dir / "cache"))
        env.pop("KNEEPOINT_RUNS_DIR", None)
        return subprocess.Popen(
            [self.binary, *args], cwd=self.dir, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def call(self, *args, limit=120):
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, b"", b"did not end"
        return process.returncode, out, err

    def journals(self):
        # A folder with a dot in front is a run that ended before it began.
        return sorted((self.dir / "runs").glob("[!.]*/journal.jsonl"))

    def servers(self):
        """Processes that serve from this folder."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
                if b"mock-server" in words and os.readlink(process / "cwd") == str(self.dir):
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def tiny_gguf():
    """The smallest GGUF file that says that it is Q8_0: version 3, no tensors, two keys."""
    def text(word):
        return len(word).to_bytes(8, "little") + word

    number = (4).to_bytes(4, "little") + (7).to_bytes(4, "little")
    name = (8).to_bytes(4, "little") + text(b"mock")
    head = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (2).to_bytes(8, "little")
    return head + text(b"general.file_type") + number + text(b"general.name") + name


def trials(journal):
    """Key and score of every trial of a journal; lines that are no JSON are left to kneepoint."""
    found = collections.Counter()
    scores = {}
    for line in journal.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        trial = record.get("trial")
        if trial:
            key = json.dumps(trial["key"], sort_keys=True)
            found[key] += 1
            scores[key] = json.dumps(trial["outcome"], sort_keys=True)
    return found, scores


def wrong(bench, expected):
    """What is wrong with the only finished run of a folder, compared with an undisturbed one; empty when nothing."""
    journals = bench.journals()
    if len(journals) != 1:
        return f"{len(journals)} journals"
    found, scores = trials(journals[0])
    if set(scores) != set(expected):
        return f"{len(set(expected) - set(scores))} trials lost, {len(set(scores) - set(expected))} invented"
    doubled = sum(count > 1 for count in found.values())
    if doubled:
        return f"{doubled} trials twice"
    differing = sum(scores[key] != expected[key] for key in expected)
    return f"{differing} trials scored differently" if differing else ""


def undisturbed(binary):
    bench = Bench(binary)
    begun = time.monotonic()
    status, _, err = bench.call("run", "suite.toml", "-q")
    if status != 0:
        sys.exit(f"an undisturbed run ends with {status}: {err.decode(errors='replace')}")
    took = time.monotonic() - begun
    _, scores = trials(bench.journals()[0])
    bench.remove()
    return scores, took


def finish(bench):
    """Resumes until the run is whole; what went wrong, if anything."""
    for _ in range(40):
        # Killed before there was a journal: what a user does then is to start again.
        args = ("resume", "-q") if bench.journals() else ("run", "suite.toml", "-q")
        status, _, err = bench.call(*args)
        if PANIC in err:
            return "panic"
        if status == 0:
            return ""
        if status not in DOCUMENTED:
            return f"status {status}"
    return "never whole"


def interrupted(binary, rng, expected, took, how):
    """One run that is interrupted at a random moment and then finished."""
    bench = Bench(binary)
    process = bench.start("run", "suite.toml", "-q")
    time.sleep(rng.uniform(0.0, took))
    process.send_signal(how)
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return bench, "did not end on the signal"
    if PANIC in err:
        return bench, "panic"
    deadline = time.monotonic() + 15
    while bench.servers() and time.monotonic() < deadline:
        time.sleep(0.1)
    if bench.servers():
        return bench, "a server was left over"
    for folder in (bench.dir / "runs").glob("*"):
        if not (folder / "journal.jsonl").exists():
            # Named by `latest`, never passed over; a user removes it.
            shutil.rmtree(folder)
    return bench, finish(bench) or wrong(bench, expected)


def kills(binary, rng, count):
    expected, took = undisturbed(binary)
    for _ in range(count):
        yield interrupted(binary, rng, expected, took, signal.SIGKILL)


def signals(binary, rng, count):
    expected, took = undisturbed(binary)
    for _ in range(count):
        yield interrupted(binary, rng, expected, took, rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))


def truncations(binary, rng, count):
    """A journal that is cut off at any byte is gone on with from there."""
    expected, _ = undisturbed(binary)
    whole = Bench(binary)
    whole.call("run", "suite.toml", "-q")
    run = whole.journals()[0].parent
    for _ in range(count):
        bench = Bench(binary)
        # The suite names its server by path: one and the same for all.
        (bench.dir / "suite.toml").write_bytes((whole.dir / "suite.toml").read_bytes())
        shutil.copytree(run, bench.dir / "runs" / run.name)
        journal = bench.journals()[0]
        content = journal.read_bytes()
        cut = rng.randrange(content.index(b"\n") + 1, len(content))
        journal.write_bytes(content[:cut])
        yield bench, finish(bench) or wrong(bench, expected)
    whole.remove()


def flips(binary, rng, count):
    """One bit of a journal is turned over: damage is named, or no figure changes."""
    whole = Bench(binary)
    whole.call("run", "suite.toml", "-q")
    journal = whole.journals()[0]
    content = journal.read_bytes()

    def figures():
        status, out, err = whole.call("report", str(journal.parent), "--json")
        return status, out, err

    _, before, _ = figures()
    for _ in range(count):
        at = rng.randrange(len(content))
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(8)
        journal.write_bytes(changed)
        status, out, err = figures()
        journal.write_bytes(content)
        if PANIC in err or status not in DOCUMENTED:
            yield whole, f"bit at byte {at}: status {status}"
        elif status in (0, 106) and out != before and b"damage" not in err:
            yield whole, f"bit at byte {at}: other figures without a word"
        else:
            yield None, ""
    whole.remove()


class Hostile(http.server.BaseHTTPRequestHandler):
    """Answers every request with something that no server should say."""

    manner = "random"
    rng = random.Random(0)
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.close_connection = True
        rng = self.rng
        event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
        noise = rng.randbytes(rng.randrange(1, 5000))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        body = {
            "random": head + noise,
            "no-http": noise,
            "cut": head + event * 3 + event[: rng.randrange(len(event))],
            "deep": head + b"data: " + b"[" * 100_000 + b"\n\n",
            "long-line": head + b"data: " + b"a" * 3_000_000,
            "numbers": head + b'data: {"choices":[{"index":-1,"delta":{"content":1e999}}],"usage":{"completion_tokens":-5}}\n\ndata: [DONE]\n\n',
            "escapes": head + b'data: {"choices":[{"index":0,"delta":{"content":"\\u001b[31m\\u202e<script>"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
            "endless-events": head + event * 20_000,
            "status": b"HTTP/1.1 %d Odd\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}}" % rng.choice([100, 204, 301, 418, 500, 599]),
            "silent": b"",
        }[self.manner]
        try:
            self.wfile.write(body)
        except OSError:
            pass

    do_GET = do_POST = answer


def servers(binary, rng, count):
    """Attaches to servers that answer nonsense: a documented status, no panic, an end in good time."""
    manners = ["random", "no-http", "cut", "deep", "long-line", "numbers", "escapes", "endless-events", "status", "silent"]
    for number in range(count):
        handler = type("Handler", (Hostile,), {"manner": manners[number % len(manners)], "rng": random.Random(rng.random())})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bench = Bench(binary)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        name = rng.choice(["llama.cpp", "vllm", "sglang", "openai"])
        engine = f'name = "{name}"\nurl = "{url}"\nserved_model = "m"'
        bench.suite(SUITE.format(engine=engine, model="", setting=""))
        status, _, err = bench.call("run", "suite.toml", "-q", limit=240)
        server.shutdown()
        server.server_close()
        if status is None:
            yield bench, f"{handler.manner} as {name}: did not end"
        elif PANIC in err or status not in DOCUMENTED:
            yield bench, f"{handler.manner} as {name}: status {status}"
        elif b"\x1b" in err:
            yield bench, f"{handler.manner} as {name}: an escape reached the terminal"
        else:
            yield bench, ""


PLANTED = [
    "<script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    "<svg onload=\"document.title='ran'\">",
    "](javascript:document.title='ran')",
    "`</code><script>document.title='ran'</script>",
    "|a|\n<script>document.title='ran'</script>",
    "&lt;script&gt;document.title='ran'&lt;/script&gt;",
    "</text><script>document.title='ran'</script>",
]


def runs_a_script(chromium, bench, path):
    """Whether a page, opened in headless Chromium, gets the title that only a script gives it."""
    shown = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", f"--user-data-dir={bench.dir}/browser",
         "--virtual-time-budget=500", "--dump-dom", f"file://{path}"],
        capture_output=True, timeout=120, check=False,
    )
    return b"<title>ran</title>" in shown.stdout


def browser(binary, rng, count):
    """Reports of journals with markup in every name and reply, rendered and opened in Chromium: nothing runs."""
    from markdown_it import MarkdownIt

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("browser: no Chromium on PATH")
    control = Bench(binary)
    script = "<script>document.title='ran'</script>"
    for name, text in [("control.html", f"<!doctype html><title>still</title>{script}"),
                       ("control.svg", f"<svg xmlns='http://www.w3.org/2000/svg'>{script}</svg>")]:
        (control.dir / name).write_text(text)
        if not runs_a_script(chromium, control, control.dir / name):
            sys.exit(f"browser: a script in {name} that should run is not noticed, so the check would show nothing")
    control.remove()
    for _ in range(count):
        bench = Bench(binary)
        planted = rng.choice(PLANTED)
        text = SUITE.format(
            engine=f'binary = "{bench.dir}/llama-server"', model='path = "model.gguf"', setting=SETTING,
        )
        text = text.replace('name = "broken-on-purpose"', f'name = "markup"\ndescription = {json.dumps(planted)}')
        bench.suite(text.replace('name = "mock"', f"name = {json.dumps(planted)}"))
        status, _, err = bench.call("run", "suite.toml", "-q")
        if status == 2:
            # Refused names are a right answer as well.
            bench.remove()
            yield None, ""
            continue
        run = bench.journals()[0].parent
        pages = list(run.glob("*.svg"))
        page = run / "report.html"
        page.write_text(f"<!doctype html><title>still</title>{MarkdownIt('commonmark', {'html': True}).enable('table').render((run / 'report.md').read_text())}")
        ran = [path.name for path in [page, *pages] if runs_a_script(chromium, bench, path)]
        yield bench, f"a script ran in {', '.join(ran)}" if ran else ""


PARTS = {
    "kills": (kills, 110, "SIGKILL at a random moment, then `resume`"),
    "signals": (signals, 70, "SIGINT, SIGTERM or SIGHUP at a random moment, then `resume`"),
    "truncations": (truncations, 240, "the journal cut off at a random byte, then `resume`"),
    "flips": (flips, 240, "one random bit of the journal turned over, then `report`"),
    "servers": (servers, 80, "a server that answers nonsense, in ten manners"),
    "browser": (browser, 40, "markup in names, rendered and opened in Chromium"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--count", type=int, help="how often each; default: as in docs/reliability.md")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    failed = False
    print("| what was done | times | went wrong |\n|---|--:|--:|", flush=True)
    for name in args.parts or PARTS:
        part, usual, words = PARTS[name]
        faults = []
        done = 0
        for bench, fault in part(args.binary, random.Random(args.seed), args.count or usual):
            done += 1
            if fault:
                where = f" (kept: {bench.dir})" if bench else ""
                faults.append(fault)
                print(f"{name}: {fault}{where}", file=sys.stderr, flush=True)
            elif bench and name != "flips":
                bench.remove()
        print(f"| {words} | {done} | {len(faults)} |", flush=True)
        failed = failed or bool(faults)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
