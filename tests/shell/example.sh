#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: example.sh SLUICE WORKER_YAML
set -eu
"$1" check --example | diff -u "$2" - || { echo "make it anew: sluice check --example > deploy/worker.yaml"; exit 1; }
"$1" check --config "$2" >/dev/null
