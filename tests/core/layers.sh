#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Arrows point one way: each folder below SRC includes only itself, include/ and the folders named here.
#   layers.sh SRC
set -u
src=$1
code=0

folder() {
    name=$1
    shift
    allowed=$(printf '%s|' "$name" sluice "$@")
    wrong=$(grep -rnE '^ *#include "[a-z_]+/' --include='*.[ch]' "$src/$name" | grep -vE "#include \"(${allowed%|})/")
    if [ -n "$wrong" ]; then
        echo "$name may include $name, include/ and: $*"
        echo "$wrong"
        code=1
    fi
}

folder core
folder port core
folder codec core
folder adapter core port codec
folder sim core
folder llmsim core
folder run core port codec adapter
folder cli core port codec adapter sim llmsim run
for path in "$src"/*/; do
    case " core port codec adapter sim llmsim run cli " in
    *" $(basename "$path") "*) ;;
    *) echo "$path: which folders may it include?"; code=1 ;;
    esac
done
exit $code
