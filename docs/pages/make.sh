#!/usr/bin/env bash
# Makes the pictures of docs/pages.md: pages of the published reports in Chromium. Needs chromium, and a kneepoint
# (KNEEPOINT=PATH, else target/release/kneepoint).
set -euo pipefail
cd "$(dirname "$0")/../.."
kneepoint=${KNEEPOINT:-target/release/kneepoint}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

shot() { # NAME WIDTH HEIGHT light|dark FILE
  local scheme=1
  [ "$4" = dark ] && scheme=0
  chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$work/profile" \
    --blink-settings=preferredColorScheme="$scheme" --window-size="$2,$3" --virtual-time-budget=3000 \
    --screenshot="docs/pages/$1.png" "file://$5" >/dev/null 2>&1
}

"$kneepoint" report reports/quickstart --out "$work/quickstart" >/dev/null
# No two of the published runs share cases: this one stands beside itself.
"$kneepoint" compare reports/quickstart reports/quickstart --html "$work/compare.html" >/dev/null
"$kneepoint" --runs-dir reports history page --to "$work/history.html" >/dev/null
shot front 1000 1000 light "$work/quickstart/report.html"
shot dark 1000 1000 dark "$work/quickstart/report.html"
shot phone 390 1100 light "$work/quickstart/report.html"
shot compare 1000 800 light "$work/compare.html"
shot history 1000 600 light "$work/history.html"
