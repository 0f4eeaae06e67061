#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `sluice init`, `send` and `tail` against a real nats-server. Argument: the sluice program.
set -u
sluice=$1
server=${SLUICE_NATS_SERVER:-nats-server}
command -v "$server" >/dev/null || { echo "no nats-server on the PATH: skipped"; exit 77; }
folder=$(mktemp -d /tmp/sluice-commands-XXXXXX)
pid=
trap '[ -n "$pid" ] && kill "$pid" 2>/dev/null; rm -rf "$folder"' EXIT
. "$(dirname "$0")/expect.sh"

port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
unset NATS_CONTEXT NATS_USER NATS_PASSWORD NATS_TOKEN NATS_CREDS NATS_NKEY SLUICE_WORKER
export NATS_URL=nats://127.0.0.1:$port SLUICE_DURABLE=worker XDG_CONFIG_HOME=$folder

# Judged before anything starts; no text shows what is in the file.
echo "hunter2" >"$folder/garbage"
for command in "run" "check" "init" "send --data x" "tail"; do
    for setting in NATS_NKEY NATS_CREDS NATS_CA; do
        # shellcheck disable=SC2086 # a command and its arguments
        said=$(env "$setting=$folder/garbage" "$sluice" $command 2>&1)
        [ $? = 2 ] || fail "$setting, $command: not exit 2: $said"
        case $said in *hunter2*) fail "$command shows a secret" ;; *"$setting: $folder/garbage: no "*) ;; *) fail "$command: $said" ;; esac
    done
    # shellcheck disable=SC2086
    said=$(NATS_URL="nats://user:hunter%2@127.0.0.1:$port" "$sluice" $command 2>&1)
    [ $? = 2 ] || fail "$command: not exit 2: $said"
    case $said in *hunter*) fail "$command shows a secret" ;; *"the sign itself is %25"*) ;; *) fail "$command: $said" ;; esac
done
expect 3 "cannot connect to nats://127.0.0.1:$port" "$sluice" init
"$server" -js -sd "$folder/js" -a 127.0.0.1 -p "$port" -l "$folder/log" &
pid=$!
for _ in $(seq 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.05
done

expect 3 "consumer worker does not exist" "$sluice" init --check
expect 0 "created  consumer worker" "$sluice" init
expect 0 "all is as it should be" "$sluice" init --check
expect 3 '"verb":"differs","what":"consumer worker: ack_wait is 30 s, expected 5 s (SLUICE_ACK_WAIT)"' \
    "$sluice" init --check --json --runtime-ack-wait 5
expect 0 "updated  consumer worker" "$sluice" init --runtime-ack-wait=5
expect 0 "all is as it should be" "$sluice" init --runtime-ack-wait=5
expect 0 '{"verb":"done","what":"all is as it should be"}' "$sluice" init --json --runtime-ack-wait=5
[ "$("$sluice" init --check --json --runtime-ack-wait=5 | wc -l)" = 1 ] || fail "more than one line, and nothing was to be done"
SLUICE_DURABLE='' expect 2 "which consumer?" "$sluice" init

expect 0 "20 sent to context.enrich.request, last sequence 20" "$sluice" send --samples 20
expect 0 '"sent":3,"failed":0,"last_sequence":23' "$sluice" send --json --data '{"n":%d}' --count 3 --id run
expect 0 '"sent":3,"failed":0,"last_sequence":23' "$sluice" send --json --data '{"n":%d}' --count 3 --id run
printf 'a\n\nb\n' >"$folder/lines"
expect 1 "no stream listens on subject nobody.here" "$sluice" send "$folder/lines" --lines --subject nobody.here
expect 0 "2 sent" "$sluice" send "$folder/lines" --lines --header "X-Name: value" --type some.Type
printf 'dead letter' | expect 0 "1 sent to context.enrich.dead" "$sluice" send - --subject context.enrich.dead
expect 2 "nothing to send" "$sluice" send
expect 2 "expected a whole number" "$sluice" send --samples many
expect 2 "unknown flag" "$sluice" send --data x --no-such-flag
for flag in --header=$'A:b\nc' --header=$'A:b\r' --header=$'A\nb:c' "--header=A b:c" --header=:c --header=A; do
    expect 2 "--header: \"${flag#--header=}\", expected NAME:VALUE" "$sluice" send --data x "$flag"
done
for flag in --type --content-type --id; do
    expect 2 "$flag: \"a"$'\n'"b\", expected one line" "$sluice" send --data x "$flag" $'a\nb'
done
expect 2 "No such file" "$sluice" send "$folder/absent"
expect 2 "absent.json" "$sluice" send --data x --context absent

expect 0 '"json":{"n":3}' "$sluice" tail requests --from 23 --count 1 --json
expect 0 "X-Name: value" "$sluice" tail requests --last 1
expect 0 "Sluice-Proto: some.Type" "$sluice" tail requests --last 1
expect 0 "dead letter" "$sluice" tail dead
expect 0 "64 65 61 64" "$sluice" tail dead --hex
expect 0 "" "$sluice" tail
expect 3 "stream not found" "$sluice" tail NOSUCH
[ "$("$sluice" tail requests --from 1 --json | wc -l)" = 25 ] || fail "not all messages are shown"
printf '\033[2Jx' | "$sluice" send - --header $'Evil:\033]0;x' >/dev/null
"$sluice" tail requests --last 1 | grep -q $'\033' && fail "a message steers the terminal"

"$sluice" tail dead --new --count 1 >"$folder/followed" &
follower=$!
for _ in $(seq 100); do
    "$sluice" send --quiet --data followed --subject context.enrich.dead >/dev/null
    kill -0 "$follower" 2>/dev/null || break
    sleep 0.05
done
wait "$follower" || fail "tail --new did not end well"
grep -q followed "$folder/followed" || fail "tail --new has not shown the new message"

mkdir -p "$folder/nats/context"
echo "{\"url\":\"nats://127.0.0.1:$port\"}" >"$folder/nats/context/here.json"
unset NATS_URL
expect 0 "1 sent" "$sluice" send --data x --context here
NATS_CONTEXT=here expect 0 "all is as it should be" "$sluice" init --check --runtime-ack-wait 5
exit $failed
