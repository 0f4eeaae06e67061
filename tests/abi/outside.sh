#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: outside.sh BUILD_FOLDER
# Install into a scratch folder and build a worker outside the tree against header and pkg-config file alone; as C++ too.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
DESTDIR="$scratch" meson install -C "$1" --no-rebuild --quiet >/dev/null
pc=$(find "$scratch" -name sluice.pc)
export PKG_CONFIG_PATH="$(dirname "$pc")" PKG_CONFIG_SYSROOT_DIR="$scratch"
flags=$(pkg-config --cflags sluice)
[ "$(pkg-config --variable=abi_major sluice)" = 1 ]
cat >"$scratch/w.c" <<'WORKER'
#include <sluice/worker.h>
static sluice_rc say(sluice_turn *t, const sluice_msg *in)
{
    (void)in;
    return sluice_fail(t, SLUICE_RETRY, "not today");
}
SLUICE_WORKER(.name = "outside", .version = "1.0", .require = SLUICE_REQUIRE_NONE, .on_message = say);
WORKER
# shellcheck disable=SC2086
cc -std=c11 -Wall -Wextra -Wpedantic -Werror -shared -fPIC $flags -o "$scratch/w.so" "$scratch/w.c"
undefined=$(nm -D --undefined-only "$scratch/w.so" | grep -i sluice || true)
[ -z "$undefined" ] || { echo "the worker needs symbols of ours: $undefined"; exit 1; }
nm -D --defined-only "$scratch/w.so" | grep -q sluice_worker_entry_v1
if command -v c++ >/dev/null; then
    printf '#include <sluice/worker.h>\n#include <sluice/names.h>\nint main() { return 0; }\n' >"$scratch/w.cc"
    # shellcheck disable=SC2086
    c++ -Wall -Wextra -Werror -fsyntax-only $flags "$scratch/w.cc"
fi
