#!/usr/bin/env bash
# Builds the Python wheel that holds the binary, and tries it where no Rust is: in a fresh virtual environment.
# Needs Rust and Python 3 with venv and pip; fetches maturin. The wheel ends up in dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
rm -f dist/kneepoint-*.whl
# Without --compatibility maturin names the oldest glibc that the binary runs on.
"$work/build/bin/maturin" build --release --locked --out dist

python3 -m venv "$work/try"
"$work/try/bin/pip" install --quiet --disable-pip-version-check --no-index dist/kneepoint-*.whl
(
  cd "$work"
  # Nothing of Rust on PATH, no checkout around.
  export PATH="$work/try/bin:/usr/bin:/bin" HOME="$work/home"
  mkdir -p "$HOME"
  kneepoint --version
  kneepoint doctor
  kneepoint list tasks | head -n 3
)
ls -l dist/kneepoint-*.whl
