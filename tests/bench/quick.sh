#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: quick.sh SLUICE. `sluice bench --quick` ends, counts each message, prints sane JSON, and leaves nothing behind.
set -eu
sluice=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$sluice" bench --help | grep -q 'usage: sluice bench'
if "$sluice" bench --no-such-flag 2>"$dir/err"; then echo "an unknown flag passed"; exit 1; fi
grep -q 'no-such-flag' "$dir/err"
"$sluice" bench --quick --json >"$dir/out.json" 2>"$dir/err" || { cat "$dir/err"; exit 1; }
/usr/bin/python3 - "$dir/out.json" <<'P'
import datetime, json, sys
out = json.load(open(sys.argv[1]))
assert list(out)[:4] == ["commit", "date", "build_type", "cpus"] and out["commit"] and out["cpus"] >= 1, list(out.items())[:4]
datetime.datetime.strptime(out["date"], "%Y-%m-%dT%H:%M:%SZ")
rows = {r["name"]: r for r in out["rows"]}
for name in ("raw cnats", "raw cnats, journal, confirmed ACK", "raw curl, one at a time", "null 256 in flight, 0 ms", "sqlite 256 in flight, 0 ms", "mongodb 256 in flight, 0 ms"):
    assert rows[name]["cpu_us_per_message"]["median"] > 0, name
row = rows["sqlite 256 in flight, 0 ms"]
assert row["messages_per_s"]["median"] > 0 and row["machine_idle_percent"]["median"] >= 0 and row["llm_connections"]["median"] >= 1, row
assert row["llm_bytes_per_message"]["median"] > 1000, row   # each message asked the LLM
assert row["nats_messages_per_message"]["median"] > 3, row  # and was pulled, published and acknowledged
assert rows["sqlite boot"]["ready_ms"]["median"] >= rows["sqlite boot"]["probe_ms"]["median"] > 0
for name in ("sqlite half load, 100+-50 ms", "raw round trips, half load", "raw round trips, SQLite, half load"):
    assert rows[name]["added_p99_ms"]["median"] > 0, name
P
# What is refused before anything is measured.
refused() {
    text=$1; shift
    code=0; "$@" >"$dir/refused" 2>"$dir/err" || code=$?
    [ "$code" = 2 ] && grep -qF -- "$text" "$dir/err" && ! grep -qF '[1/' "$dir/err" && [ ! -s "$dir/refused" ] ||
        { echo "$*: exit $code"; cat "$dir/err"; exit 1; }
}
echo '{"figures": []}' >"$dir/other.json"
refused 'missing.json: No such file' "$sluice" bench --quick --compare "$dir/missing.json"
refused 'other.json: expected what' "$sluice" bench --quick --compare "$dir/other.json"
refused '--compare does not go with --json' "$sluice" bench --quick --json --compare "$dir/out.json"
refused '"no such cell" is in no cell' "$sluice" bench --only 'no such cell'
grep -q '"build_type":.*"release"' "$dir/out.json" || grep -q 'this is a .* build' "$dir/err"
refused 'SLUICE_NATS_SERVER: "/nonexistent": expected a program' env SLUICE_NATS_SERVER=/nonexistent "$sluice" bench --quick
# A signal at any moment ends it, and leaves nothing behind.
for signal in INT HUP; do
    env --default-signal=INT,HUP "$sluice" bench --quick >/dev/null 2>"$dir/err" &
    pid=$!
    until grep -q '^\[5/.*boot' "$dir/err"; do kill -0 $pid; sleep 0.02; done
    scratch=$(for child in $(cat "/proc/$pid/task/$pid/children"); do tr '\0' '\n' <"/proc/$child/cmdline"; done |
        grep -m1 '^/tmp/sluice-bench-[^/]*$')
    [ -d "$scratch" ]
    kill -$signal $pid
    code=0; wait $pid || code=$?
    [ $code = 130 ] && [ ! -e "$scratch" ] || { echo "SIG$signal: exit $code, $(ls -d "$scratch")"; cat "$dir/err"; exit 1; }
done
