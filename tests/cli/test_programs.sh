#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The programs that test and record: what they refuse before anything starts, and what a record and the report say of a run that
# was skipped or has failed. Argument: the build folder.
set -u
build=$1
folder=$(mktemp -d /tmp/sluice-programs-XXXXXX)
trap 'rm -rf "$folder"' EXIT
. "$(dirname "$0")/expect.sh"
# A tree of its own: what is changed in the one that is worked on must not matter.
root=$folder/tree
mkdir "$root"
cp -r "$(dirname "$0")/.." "$root/tests"
mkdir -p "$root/workers/context_enricher" && cp -r "$(dirname "$0")/../../workers/context_enricher/prompts" "$root/workers/context_enricher"
mkdir "$root/src" && echo one >"$root/src/some.c"
in_tree() { git -C "$root" -c user.name=test -c user.email=test@localhost "$@"; }
in_tree init -q && in_tree add -A && in_tree commit -q -m one || { echo "there is no git: skipped"; exit 77; }
faults() { /usr/bin/python3 "$root/tests/faults/run.py" --build "$build" "$@"; }
long() { "$root/tests/sim/long" "$@"; }
conformance() { /usr/bin/python3 "$root/tests/conformance/run.py" --model /bin/true "$@"; }
report() { "$root/tests/faults/report" "$@"; }
begin() { "$root/tests/lib/record.py" --begin "$@"; }
fuzz() { "$root/tests/fuzz/run" "$@"; }

# ---- Wrong usage
for number in 0 -1 x 1.5 "" 99999999999999999999; do
    expect 2 "--kills: \"$number\": expected a whole number from 1" faults --kills="$number"
    expect 2 "--messages: \"$number\": expected a whole number from 1" faults --messages="$number"
done
expect 2 '--seed: "-1": expected a whole number from 0' faults --seed=-1
expect 2 "--record: \"$folder/absent\": expected a folder" faults --record "$folder/absent"
expect 2 "--build: \"$folder\": expected a build folder, with src/cli/sluice in it" faults --build "$folder"
expect 2 '--campaign: "storm": expected one of kills, failover' faults --campaign storm
expect 2 "--kills: failover has no such number, expected one of kills" faults --campaign failover --kills 3
expect 2 "--messages: servers, cluster has no such number, expected one of kills" faults --campaign servers --campaign cluster --messages 3
SLUICE_NATS_SERVER=$folder/none expect 2 "SLUICE_NATS_SERVER: \"$folder/none\": expected a program" faults
for flag in --seconds --jobs; do
    for number in 0 -1 x 1.5 "" 99999999; do
        expect 2 "$flag: \"$number\", expected a whole number from 1" fuzz $flag "$number"
    done
done
expect 2 '--seconds: "", expected a whole number' fuzz --seconds
expect 2 'target "nobody": unknown, expected one of bson' fuzz nobody
expect 2 "--record: \"bson\" beside it, expected no target" fuzz --record bson
expect 2 "--record: does not go with --quick" fuzz --quick --record
expect 2 '--seconds: "3" does not go with --quick' fuzz --quick --seconds 3
expect 2 '--seeds: "0": expected a whole number from 1' long --seeds 0
expect 2 "--build: \"$folder\": expected a build folder" long --build "$folder"
expect 2 "--record: \"$folder/absent\": expected a folder" long --record "$folder/absent"
expect 2 "--record: \"$folder/absent\": expected a folder" conformance --record "$folder/absent"
expect 2 '"nobody": expected one of scripts/' conformance nobody
expect 2 '--record: "ack_out_of_order" beside it, expected no script' conformance --record "$folder" ack_out_of_order
expect 2 "\"$folder/absent\": expected a folder with results in it" report "$folder/absent"
expect 2 "\"$folder\": expected a folder with results in it" report "$folder"
expect 2 "unrecognized arguments" report "$root/tests/faults/results" more
expect 0 "tests/coverage [--no-e2e]" "$root/tests/coverage" --help
expect 2 "tests/coverage [--no-e2e]" "$root/tests/coverage" --halp
expect 0 "usage: run.py" "$root/tests/conformance/run.py" --help # what a record repeats calls it so

# ---- A record is of a commit
first=$(in_tree rev-parse --short HEAD)
expect 0 "$first" begin "$folder"
echo two >"$root/tests/faults/results/kills-sqlite.json"
expect 0 "$first" begin "$root/tests/faults/results" # a record of another run
begin "$root/tests/faults/results" | grep -q dirty && fail "a record makes the commit another"
changed="there are changes, and a record is of a commit: tests/faults/results/kills-sqlite.json"
expect 2 "$changed" begin "$folder"
in_tree checkout -q .
for change in src/some.c src/new.c; do
    echo two >"$root/$change"
    changed="there are changes, and a record is of a commit: $change"
    expect 2 "$changed" begin "$folder"
    expect 2 "$changed" faults --campaign cluster --record "$folder"
    expect 2 "$changed" long --part short --record "$folder"
    expect 2 "$changed" conformance --record "$folder"
    expect 2 "$changed" fuzz --record
    expect 2 "$changed" "$root/tests/torture/run" --build "$build" --record "$folder"
    expect 2 "$changed" "$root/tests/coverage" --record "$folder"
    expect 2 "$changed" "$root/tests/clean" trixie --record "$folder"
    expect 2 "$changed" "$root/tests/run" --record "$folder"
    expect 0 "$first-dirty" env PYTHONPATH="$root/tests" /usr/bin/python3 -c "from lib.process import commit; print(commit('$root'))"
    rm -f "$root/src/new.c"
    in_tree checkout -q .
done
expect 2 "\"$folder/absent\": expected a folder" "$root/tests/coverage" --record "$folder/absent"
expect 2 "\"$folder/absent\": expected a folder" "$root/tests/run" --record "$folder/absent"

# ---- How old a record is
mkdir "$folder/old"
record() {
    "$root/tests/lib/record.py" --folder "$folder/old" --name old --commit "$1" --command x a=1
}
record "$first"
expect 0 "$first | 0 |" report "$folder/old"
for i in 1 2; do
    echo "$i" >"$root/src/some.c"
    in_tree commit -q -a -m more
done
echo more >>"$root/tests/faults/README.md"
in_tree commit -q -a -m "a text"
expect 0 "$first | 2 |" report "$folder/old"
record "$first-dirty"
expect 0 "$first-dirty | 2 |" report "$folder/old"
record unknown
expect 0 "unknown | ? |" report "$folder/old"

# ---- A campaign that is skipped or fails takes the place of an older record
for name in cluster failover; do
    printf '{"name": "%s-sqlite", "date": "2026-01-01", "commit": "abc", "command": "x", "figures": {"old": 1}}\n' "$name" \
        >"$folder/$name-sqlite.json"
done
expect 0 "old **1**" report "$folder"
SLUICE_SERVERS=$folder expect 0 "0 passed, 0 failed, 1 skipped" faults --campaign cluster --record "$folder"
SLUICE_NATS_SERVER=/bin/false SLUICE_TEST_PATIENCE=0.01 \
    expect 1 "0 passed, 1 failed, 0 skipped" faults --campaign failover --record "$folder"
expect 1 "| **skipped**: no pinned nats-server" report "$folder"
expect 1 "| **failed**: lib.wait.Expired: waited 0.6 s for: nats to answer" report "$folder"
expect 1 "$folder/failover-sqlite.json: this run has failed" report "$folder"
report "$folder" 2>/dev/null | grep -q "old" && fail "the old record is still there"

# ---- The same of the simulator's long runs and of the scripts for servers and model
mkdir -p "$folder/build/src/cli" "$folder/records"
touch "$folder/build/build.ninja"
# says TEXT CODE: what `sluice sim` prints there, and ends with
says() {
    printf '#!/bin/sh\necho '"'%s'"'\nexit %s\n' "$1" "$2" >"$folder/build/src/cli/sluice"
    chmod +x "$folder/build/src/cli/sluice"
}
says '{"failed": 0, "courses": 7}' 0
expect 0 '"courses": 7' long --part short --build "$folder/build" --record "$folder/records"
expect 0 "courses **7**" report "$folder/records"
says '{"failed": 1, "courses": 5}' 1
expect 1 "pipelines that broke a rule: 1" long --part short --build "$folder/build" --record "$folder/records"
expect 1 "| **failed**: pipelines that broke a rule: 1; failed **1**, courses **5** |" report "$folder/records"
says "killed" 137
for part in short seeds; do
    expect 1 "ended with 137" long --part $part --build "$folder/build" --record "$folder/records"
done
expect 1 "| sim | " report "$folder/records"
says '{"failed": 0, "events": 1}' 0
expect 1 "events in a second of CPU time, at least 1000000 expected" long --part seeds --build "$folder/build"
# A mutant is found when the run says so of it, and of each
mkdir "$folder/bin"
printf '#!/bin/sh\ncat "%s"\n' "$folder/mutants.out" >"$folder/bin/meson"
chmod +x "$folder/bin/meson"
for one in "$root"/tests/sim/mutants/*.mutant; do
    echo "1/9 sluice:sim+mutants / mutant_$(basename "$one" .mutant)   OK   0.10s"
done >"$folder/mutants.out"
for one in "$root"/tests/shell/mutants/*.mutant; do
    echo "2/9 sluice:shell+mutants / shell_mutant_$(basename "$one" .mutant)   OK   0.10s"
done >>"$folder/mutants.out"
PATH=$folder/bin:$PATH expect 0 '"missed": []' long --part mutants --build "$folder/build"
sed -i 's/mutant_no_fence  *OK/mutant_no_fence   ERROR/; /mutant_no_jitter /d' "$folder/mutants.out"
PATH=$folder/bin:$PATH expect 1 "not found: mutant_no_fence, mutant_no_jitter" long --part mutants --build "$folder/build"
SLUICE_SERVERS=$folder expect 77 "no pinned nats-server" conformance --server pinned --record "$folder/records"
expect 1 "| **skipped**: no pinned nats-server" report "$folder/records"
expect 1 "" conformance --server none --record "$folder/records" # a model that says nothing
expect 1 "| conformance-model |" report "$folder/records"

# ---- Records that say nonsense are named, the others printed
i=0
while IFS='|' read -r text why; do
    i=$((i + 1))
    printf '%s' "$text" >"$folder/broken$i.json"
    expect 1 "broken$i.json: $why" report "$folder"
    expect 1 "| cluster-sqlite |" report "$folder"
    rm "$folder/broken$i.json"
done <<TEXTS
|Expecting value
{|Expecting property name
[]|list, expected an object
{}|name: None, expected a text
{"name": "other", "date": "d", "commit": "c", "command": "x", "figures": {"a": 1}}|name: 'other', expected that of the file
{"name": "broken6", "date": 5, "commit": "c", "command": "x", "figures": {"a": 1}}|date: 5, expected a text
{"name": "broken7", "date": "d", "commit": "c", "command": "x"}|figures: None, expected an object
{"name": "broken8", "date": "d", "commit": "c", "command": "x", "figures": {}}|figures: {}, expected an object
{"name": "broken9", "date": "d", "commit": "c", "command": "x", "figures": [1]}|figures: [1], expected an object
{"name": "broken10", "date": "d", "commit": "c", "command": "x", "figures": {}, "verdict": "good"}|verdict: 'good', expected one of
{"name": "broken11", "date": "d", "commit": "c", "command": "x", "figures": {}, "verdict": "failed"}|reason: None, expected a text
$(printf '[%.0s' {1..5000})|too many brackets
TEXTS
[ "$i" = 12 ] || fail "not all broken records were tried"
grep -l '"verdict": "failed"' "$root"/tests/faults/results/*.json | xargs -r rm
expect 0 "| kills-sqlite |" report
to_full() { report >/dev/full; }
expect 1 "tests/faults/report: standard output: No space left on device" to_full
to_full 2>&1 | grep -q Traceback && fail "a report that cannot be written ends with a traceback"

# ---- A run that is ended leaves nothing behind
mkdir "$folder/tmp"
signals="INT TERM HUP"
PATH=$PATH:/usr/local/sbin:/usr/sbin command -v nats-server >/dev/null || signals= # nothing to end
for signal in $signals; do
    env --default-signal=INT,HUP TMPDIR="$folder/tmp" /usr/bin/python3 "$root/tests/faults/run.py" \
        --build "$build" --quick --campaign rolling >"$folder/ended.out" 2>&1 &
    pid=$!
    until ls "$folder"/tmp/sluice-test-*/worker0.log >/dev/null 2>&1 || ! kill -0 $pid; do sleep 0.05; done
    kill -$signal $pid || fail "the campaign has ended by itself: $(cat "$folder/ended.out")"
    wait $pid
    left=$(ls "$folder/tmp" --ignore='sluice-test-ports-*') # those are of all runs
    [ -z "$left" ] || fail "SIG$signal leaves $left"
    rm -rf "$folder"/tmp/*
done

exit $failed
