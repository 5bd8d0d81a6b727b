#!/bin/sh
# check-install.sh BUILD: what `make install` puts down serves a program that knows pkg-config only.
set -eu
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work meson install -C "$build" --no-rebuild >/dev/null
prefix=$(find "$work" -name bin -type d | head -n 1)
prefix=${prefix%/bin}
pc=$(find "$work" -name nibble.pc)
[ -n "$pc" ] || { echo "nibble.pc is not installed"; exit 1; }
cat >"$work/user.c" <<'END'
#include <nibble/nibble.h>
#include <stdio.h>
int main(void)
{
    nb_context *ctx = NULL;
    struct nb_error err;
    if (nb_context_create(&ctx, NULL, &err) != NB_OK)
        return 1;
    nb_context_destroy(ctx);
    return puts(nb_version()) < 0;
}
END
sed "s|^prefix=.*|prefix=$prefix|" "$pc" >"$work/nibble.pc"
PKG_CONFIG_PATH=$work${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
cc -std=c11 -Wall -Werror "$work/user.c" -o "$work/user" $(pkg-config --cflags --libs nibble)
lib=$(dirname "$(find "$work" -name 'libnibble.so' | head -n 1)")
version=$(LD_LIBRARY_PATH=$lib "$work/user")
[ "$version" = "$(pkg-config --modversion nibble)" ] || { echo "version '$version'"; exit 1; }
"$prefix/bin/nibble" --version
[ -f "$prefix/share/man/man1/nibble.1" ] || { echo "no man page"; exit 1; }
# Only public headers.
[ "$(ls "$prefix/include")" = nibble ]
