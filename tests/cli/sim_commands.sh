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
last=$(($(wc -l <"$folder/small") + 1))
# wrong LINE TEXT: this line more, and what is said of it
wrong() {
    printf '%b\n' "$1" | scenario wrong
    expect 2 "wrong: line $last: $2" "$sluice" sim --scenario "$folder/wrong"
}
# changed EXPRESSION TEXT: the small one after sed, and what is said of it
changed() {
    sed "$1" "$folder/small" >"$folder/changed"
    expect 2 "$2" "$sluice" sim --scenario "$folder/changed"
}
# line NAME: where it begins a line
line() { grep -n "^$1" "$folder/small" | head -1 | cut -d: -f1; }
expect 2 "No such file" "$sluice" sim --scenario "$folder/absent"
expect 2 "cannot be read" "$sluice" sim --scenario "$folder"
wrong "workers_count" "workers_count: 0 words behind it, expected one number"
wrong "workers_count 1 1" "workers_count: 2 words behind it"
wrong "workers_count 1" "workers_count stands in line $(line workers_count) already"
wrong "no_such_number 1" '"no_such_number": unknown, expected a number of the plan or times'
wrong "1 2 3 4 5 6 7 8 9 10 11" '"11": unexpected'
wrong "times nobody 1 1 1" 'target: "nobody" is none'
wrong "times llm 1 1 1" "times of this target stands in line $(line 'times llm') already"
wrong "times llm 1 1" "4 words, expected times TARGET FAST_MS SLOW_MS TIMEOUT_MS"
wrong "times llm 1 1 1 1" "6 words, expected times TARGET"
wrong "rate llm nothing 5" 'lot: "nothing" is none'
wrong "rate nobody slow 5" 'target: "nobody" is none'
wrong "rate llm slow 70000" 'rate: "70000", expected a whole number from 0 to 65535'
wrong "rate llm slow 5x" 'rate: "5x", expected a whole number'
wrong "rate llm" "2 words, expected rate TARGET LOT RATE"
wrong "rate load bad 5" 'rate: "bad" never becomes of "load"'
wrong "rate load ok 5" 'rate: "ok" never becomes of "load"'
wrong "fault drain 1 1 0 0" "6 words, expected fault KIND"
wrong "fault drain 1 1 0 0 0 0" "8 words, expected fault KIND"
wrong "fault drain 1 1 99 0 0" 'WORKER: "99", expected a whole number from 0 to 3'
wrong "fault drain 1 -1 0 0 0" 'LENGTH_MS: "-1", expected'
wrong "fault drain 99999999999999999999 1 0 0 0" 'AT_MS: "99999999999999999999", expected'
wrong "fault nothing 1 1 0 0 0" 'fault: "nothing" is none'
wrong "fault outage 1 1 0 10 1" 'WHAT: "10", expected a whole number from 0 to 9'
wrong "fault kill_at 1 1 0 200 1" 'WHAT: "200", expected a whole number from 0 to'
wrong "breaker wrong 1 1 1 0 0 1" 'breaker: "wrong", expected'
wrong "breaker llm 1 1 1 0 0 1" 'breaker: "llm", expected'
wrong "breaker llm 1 1 1 0 0" "7 words, expected breaker NAME"
wrong "without messages 3 to 1" 'LAST: "1", expected a whole number from 3 to'
wrong "without messages 1400 to 1400" "message 1400, expected one of"
wrong "without luck 1 to 1" "without: expected without messages FIRST to LAST"
wrong "request 2 ok" 'request: "2", expected a whole number from 1 to 1'
wrong "request 1 nothing" 'lot: "nothing" is none'
wrong "request 1" "2 words, expected request NUMBER LOT"
wrong "kill before effect 0" 'effect: "0", expected a whole number from 1'
wrong "kill beside effect 1" 'kill: "beside effect", expected before effect or after effect'
wrong "kill after" "2 words, expected kill before|after effect NUMBER"
wrong "fault drain 1 1 3 0 0" "fault $(($(grep -c '^fault' "$folder/small") + 1)) strikes worker 3 of"
wrong "# $(printf '%300s' x)" "longer than 254 bytes"
wrong "luck 1\\000x" "longer than 254 bytes, or a byte 0 in it"
# A second line of the kind is one too many.
for twice in "rate llm fail 1" "without messages 1 to 1" "kill after effect 9"; do
    printf '%s\n' "$twice" | cat "$folder/short" - >"$folder/once"
    printf '%s\n' "$twice" | cat "$folder/once" - >"$folder/twice"
    "$sluice" sim --scenario "$folder/once" >"$folder/out" 2>&1
    [ $? = 2 ] && fail "refused: $twice: $(cat "$folder/out")"
    expect 2 "already" "$sluice" sim --scenario "$folder/twice"
done
printf 'rate llm fail 60000\nrate llm slow 5536\nrate llm bad 1\n' | cat "$folder/short" - >"$folder/rates"
expect 2 "line $(wc -l <"$folder/rates"): rate: \"1\", expected at most 0" "$sluice" sim --scenario "$folder/rates"
changed 's/^profile .*/profile 9x/; t; s/^seed .*/&\nprofile 9x/' "profile: \"9x\", expected a whole number from 0 to 9"
changed 's/^workers_count .*/workers_count 99/' "line $(line workers_count): workers_count: \"99\", expected a whole number from 1 to 4"
changed 's/^seed .*/seed 99999999999999999999/' "line $(line seed): seed: \"99999999999999999999\", expected"
changed 's/^times llm.*/times llm 1 1 0/' "line $(line 'times llm'): TIMEOUT_MS: \"0\", expected"
changed 's/^times llm.*/times llm 99999999999 1 1/' "line $(line 'times llm'): FAST_MS: \"99999999999\", expected"
changed 's/^breaker llm.*/breaker llm 0 1 1 0 0 1/' "line $(line 'breaker llm'): failure_threshold: \"0\", expected"
changed 's/^breaker llm.*/breaker llm 1 1 1 0 99 1/' "line $(line 'breaker llm'): minimum_sources: \"99\", expected"
changed 's/^engine.nak_delay_max_ms .*/engine.nak_delay_max_ms 1/' \
    "line $(line engine.nak_delay_max_ms): engine: nak_delay_max_ms: 1, expected at least nak_delay_ms"
changed 's/^engine.pull_heartbeat_ms .*/engine.pull_heartbeat_ms 900000/' \
    "line $(line engine.pull_heartbeat_ms): engine: pull_heartbeat_ms: 900000, expected at most half"
changed '/^breaker llm/d' 'breaker: "store", expected them in this order'
changed '/^breaker/d' "line $(line engine.dependencies_count): 0 breakers, expected"
changed '/^workers_count/d' "workers_count is missing"
changed '/^times keep/d' "times keep is missing"

exit $failed
