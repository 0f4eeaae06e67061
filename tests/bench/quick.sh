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
import json, sys
rows = {r["name"]: r for r in json.load(open(sys.argv[1]))["rows"]}
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
! "$sluice" bench --quick --only 'no such cell' --compare "$dir/missing.json" >/dev/null 2>"$dir/err"
grep -q 'missing.json' "$dir/err"
