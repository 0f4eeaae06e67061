#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# GROWTH.md is what `growth --render` makes of its text and the saved results: neither was changed alone.
set -eu
here=$(dirname "$0")
page=$(mktemp)
trap 'rm -f "$page"' EXIT
"$here/growth" --render --out "$page"
diff -u "$here/GROWTH.md" "$page"
