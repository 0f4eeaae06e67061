# SPDX-License-Identifier: Apache-2.0
# For the tests of commands: what a command must end with and say. At the end: exit $failed
failed=0

fail() { echo "FAILED: $*"; failed=1; }
# expect CODE TEXT COMMAND...: exit code, and a text in its output
expect() {
    local code=$1 text=$2; shift 2
    local out; out=$("$@" 2>&1); local got=$?
    [ "$got" = "$code" ] || fail "exit $got instead of $code: $*: $out"
    case $out in *"$text"*) ;; *) fail "no \"$text\" in: $*: $out" ;; esac
}
