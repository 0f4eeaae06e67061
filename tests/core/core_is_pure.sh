#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fails when the engine's library needs anything from outside but memory, text and our own panic.
set -eu
symbols=$(nm --undefined-only "$1" | awk '$1 == "U" { print $2 }' | sort -u)
defined=$(nm --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u)
bad=""
for s in $symbols; do
    case $s in
    mem*|__mem*|str*|__str*|vsnprintf|snprintf|__vsnprintf_chk|__snprintf_chk|sluice_panic|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_) ;;
    __asan*|__ubsan*|__tsan*|__sanitizer*|__gcov*|__llvm*) ;;
    *) printf '%s\n' "$defined" | grep -qx "$s" || bad="$bad $s" ;;
    esac
done
if [ -n "$bad" ]; then
    echo "src/core needs symbols it must not:$bad"
    exit 1
fi
echo "src/core is pure: $(printf '%s\n' "$symbols" | wc -l) outside symbols checked"
