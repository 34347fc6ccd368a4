#!/usr/bin/env bash
# xgrammar 0.2.0 to 0.2.2: bounds of numbers let wrong numbers pass and bar right ones, most often around zero.
#
# `{"type": "number", "minimum": 0, "maximum": 1}`, the schema of every score and confidence, takes 1.5; from -1 to 1 it takes
# 1.5 and no -0.5. An integer of at least -30 cannot be negative at all; one of at least 7 may be 3; one of at most -15 may be -12 and
# not -16. Both bounds together are right for integers. Since 0.2.3 all of it is right. SGLang 0.5.17 asks for exactly 0.2.1.
# Guessed before: bounds either hold or are left out, as multipleOf is.
#
# Seen with 0.2.1: 1.5 in 0..1 taken, -0.5 in -1..1 barred, -5 with minimum -30 barred, 3 with minimum 7 taken, -12 with
# maximum -15 taken, -16 barred. With 0.2.3: none of these.
# Exits 1 when 0.2.1 no longer does all of it, or 0.2.3 does any. Needs python3.11 with pip (the wheels of xgrammar, numpy,
# pydantic); torch and transformers, which xgrammar only imports, are empty modules here.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty"
cat >"$work/empty/torch.py" <<'PY'
class Anything:
    def __init__(self, *_, **__): pass
    def __call__(self, *_, **__): return False
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return Anything()
class Tensor: pass
class device: pass
class dtype: pass
class cuda:
    is_available = staticmethod(lambda: False)
__version__, version = "0", Anything()
int32 = bool = float32 = dtype()
def __getattr__(name):
    if name.startswith("__"): raise AttributeError(name)
    return Anything()
PY
cat >"$work/empty/transformers.py" <<'PY'
class PreTrainedTokenizerBase: pass
class PreTrainedTokenizerFast(PreTrainedTokenizerBase): pass
class LogitsProcessor: pass
PY
python3 -m pip install --quiet --target "$work/common" numpy==2.4.6 pydantic==2.14.4 typing_extensions==4.16.0 apache-tvm-ffi==0.1.15.post2
for version in 0.2.1 0.2.3; do
    python3 -m pip install --quiet --no-deps --target "$work/$version" "xgrammar==$version"
done
cat >"$work/ask.py" <<'PY'
import json, xgrammar
from xgrammar.testing import _is_grammar_accept_string
def takes(number, **bounds):
    kind = "number" if "." in number else "integer"
    return _is_grammar_accept_string(xgrammar.Grammar.from_json_schema(json.dumps({"type": kind, **bounds})), number)
wrong = [takes("1.5", minimum=0, maximum=1), not takes("-0.5", minimum=-1, maximum=1), not takes("-5", minimum=-30),
         takes("3", minimum=7), takes("-12", maximum=-15), not takes("-16", maximum=-15)]
print(sum(wrong), "of", len(wrong))
PY
wrong() { PYTHONPATH="$work/$1:$work/common:$work/empty" python3 -W ignore "$work/ask.py" 2>/dev/null; }
old=$(wrong 0.2.1) new=$(wrong 0.2.3)
echo "0.2.1: $old numbers judged wrongly; 0.2.3: $new"
[ "$old" = "6 of 6" ] && [ "$new" = "0 of 6" ]
