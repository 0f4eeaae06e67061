#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `sluice sim`: what it prints, what it refuses, and how a failing run is shown, repeated and made small.
# Arguments: the sluice program, and one whose engine takes a publication without an answer for a success.
set -u
sluice=$1 broken=$2
folder=$(mktemp -d /tmp/sluice-sim-XXXXXX)
trap 'rm -rf "$folder"' EXIT
. "$(dirname "$0")/expect.sh"

# ---- Wrong usage
expect 2 '--seeds: "many", expected a whole number from 1 to' "$sluice" sim --seeds many
expect 2 '--seed: "-1", expected a whole number from 0 to' "$sluice" sim --seed -1
expect 2 '--jobs: "65", expected a whole number from 1 to 64' "$sluice" sim --jobs 65
expect 2 '--failures: "1000", expected a whole number' "$sluice" sim --failures 1000
expect 2 '--profile: "stormy", expected one of' "$sluice" sim --profile stormy
expect 2 "10: unexpected" "$sluice" sim 10
expect 2 "--no-such-flag: unknown flag" "$sluice" sim --no-such-flag
expect 2 "--seeds: does not go with --short, expected one of --json --shrink" "$sluice" sim --short --seeds 4
expect 2 "--seed: does not go with --scenario, expected one of --trace" "$sluice" sim --scenario "$folder/x" --seed=4
for flag in --profile --jobs --failures --json --shrink --events --short --quiet; do
    expect 2 "$flag: does not go with --scenario" "$sluice" sim --scenario "$folder/x" $flag
done
for flag in --seed --profile --jobs --failures --events --trace --quiet; do
    expect 2 "$flag: does not go with --short" "$sluice" sim --short $flag
done
for flag in --jobs --failures --events --json --shrink --quiet; do
    expect 2 "$flag: does not go with --trace" "$sluice" sim --trace $flag
done
for flag in --jobs --failures --json --shrink --quiet; do
    expect 2 "$flag: does not go with --events" "$sluice" sim --events $flag
done
expect 2 '--seeds: "4" does not go with --trace, expected 1' "$sluice" sim --trace --seeds 4
expect 2 '--seeds: "3" from 9223372036854775806 on' "$sluice" sim --seed 9223372036854775806 --seeds 3
expect 2 '--shrink: "/absent/small": No such file' "$sluice" sim --seeds 10 --shrink /absent/small
expect 0 "10 seeds in" "$sluice" sim --seeds 10 --shrink "$folder/nothing_failed"
[ ! -e "$folder/nothing_failed" ] || fail "an empty scenario was left behind"
expect 0 "usage: sluice sim" "$sluice" sim --help

# ---- Runs that pass
expect 0 "10 seeds in" "$sluice" sim --seeds 10
expect 0 "seed 7 swarm" "$sluice" sim --seeds 3 --seed 5 --profile swarm --events
expect 0 "swarm seed 3: passed" "$sluice" sim --seed 3 --profile swarm --trace
expect 0 '"seeds":10,"failed":0' "$sluice" sim --seeds 10 --json
"$sluice" sim --seeds 10 --json | python3 -m json.tool >/dev/null || fail "--json is not JSON"
[ "$("$sluice" sim --seeds 5 --seed 9 --events)" = "$("$sluice" sim --seeds 5 --seed 9 --events)" ] ||
    fail "the same seeds give different lines"
"$sluice" sim --seed 3 --trace >"$folder/trace"
for word in "event verdict" "settle" "admit" "publish" "release"; do
    grep -q "$word" "$folder/trace" || fail "no $word in a trace"
done

# ---- A run that fails
expect 1 "BROKEN INV-1" "$broken" sim --seeds 10000 --quiet
"$broken" sim --seeds 10000 --quiet --shrink "$folder/small" >"$folder/out"
repeat=$(sed -n 's/^repeat: sluice //p' "$folder/out" | head -1)
seed=$(sed -n 's/.*seed \([0-9]*\), profile.*/\1/p' "$folder/out" | head -1)
[ -n "$repeat" ] || fail "the failing run is not to be repeated: $(cat "$folder/out")"
# shellcheck disable=SC2086
expect 1 "VIOLATION INV-1" "$broken" $repeat
# shellcheck disable=SC2086
expect 0 "passed" "$sluice" $repeat
expect 1 "BROKEN INV-1" "$broken" sim --seeds 10000 --quiet --failures 3
expect 1 '"failed":' "$broken" sim --seeds 10000 --json
expect 1 "before the PubAck" "$broken" sim --seeds 1 --seed "$seed" --events

# ---- …made smaller, which fails in the same way here and passes with the engine as it is
grep -q "made smaller in" "$folder/out" || fail "it was not made smaller"
expect 1 "BROKEN INV-1" "$broken" sim --scenario "$folder/small"
expect 1 "VIOLATION INV-1" "$broken" sim --scenario "$folder/small" --trace
expect 0 "small: passed" "$sluice" sim --scenario "$folder/small"
expect 0 "passed" "$sluice" sim --scenario "$folder/small" --trace

# ---- Short pipelines: found without any luck, and repeated from a file or from what is printed
expect 1 "BROKEN INV-1" "$broken" sim --short --shrink "$folder/short"
expect 1 "VIOLATION INV-1" "$broken" sim --scenario "$folder/short" --trace
expect 1 '"pipelines":1,"failed":1,"requests":6' "$broken" sim --short --json --shrink "$folder/short_too"
cmp -s "$folder/short" "$folder/short_too" || fail "the failing course is another with --json"
expect 0 "short: passed" "$sluice" sim --scenario "$folder/short"
"$broken" sim --short | sed -n '/^# INV-1/,/^repeat/{/^repeat/!p}' >"$folder/printed"
expect 1 "BROKEN INV-1" "$broken" sim --scenario "$folder/printed"
printf 'kill before effect 9\nkill after effect 12\n' | cat "$folder/short" - >"$folder/killed"
"$sluice" sim --scenario "$folder/killed" --trace | grep -c "w0 killed" | grep -qx 2 || fail "a kill was left out"

# ---- Scenario files that say nonsense
# scenario NAME: the small one with a line more, on stdin
scenario() { cat "$folder/small" - >"$folder/$1"; }
wrong() {
    echo "$1" | scenario wrong
    expect 2 "\"$1\": unknown or out of range" "$sluice" sim --scenario "$folder/wrong"
}
expect 2 "No such file" "$sluice" sim --scenario "$folder/absent"
for line in "workers_count 99" "workers_count" "no_such_number 1" "times nobody 1 1 1" "times llm 1 1 0" \
    "rate llm nothing 5" "rate nobody slow 5" "rate llm slow 70000" "rate llm" "fault drain 1 1 0 0" \
    "fault drain 1 1 99 0 0" "fault nothing 1 1 0 0 0" "fault outage 1 1 0 99 0" "breaker wrong 1 1 1 0 0 1" \
    "without messages 3 to 1" "request 2 ok" "request 1 nothing" "request 1" "kill before effect 0" "kill beside effect 1" \
    "kill after"; do
    wrong "$line"
done
grep -v '^breaker llm' "$folder/small" >"$folder/fewer"
expect 2 "unknown or out of range" "$sluice" sim --scenario "$folder/fewer"
grep -v '^breaker' "$folder/small" >"$folder/none"
expect 2 "0 breakers, expected" "$sluice" sim --scenario "$folder/none"
grep -v '^workers_count' "$folder/small" >"$folder/nobody"
expect 2 "workers_count is missing" "$sluice" sim --scenario "$folder/nobody"
sed 's/^workers_count .*/workers_count 1/' "$folder/small" >"$folder/one"
echo "fault drain 1 1 1 0 0" >>"$folder/one"
expect 2 "strikes worker 1 of 1" "$sluice" sim --scenario "$folder/one"

exit $failed
