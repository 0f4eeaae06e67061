#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: example.sh SLUICE WORKER_YAML
set -eu
"$1" check --example | diff -u "$2" - || { echo "make it anew: sluice check --example > deploy/worker.yaml"; exit 1; }
"$1" check --config "$2" >/dev/null

# The same with each key in force: none is unknown, and no setting is left to its default. A service needs a URL; options
# need the worker that has them.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed -n 's/^# \( *[a-zA-Z_]*:\)/\1/p' "$2" | sed 's|^    url: ""|    url: http://service|; /^options:/,$d' >"$folder/worker.yaml"
"$1" check --config "$folder/worker.yaml" --json >"$folder/settings"
tr '}' '\n' <"$folder/settings" | grep '"origin":' >"$folder/lines"
! grep '"origin":"default"' "$folder/lines" || { echo "not in $2"; exit 1; }
