/* SPDX-License-Identifier: Apache-2.0 */
/* What foreign JSON must fulfil before a parser that trusts it may see it. Pure. */
#ifndef SLUICE_ADAPTER_JSON_GUARD_H
#define SLUICE_ADAPTER_JSON_GUARD_H

#include <stddef.h>

int sluice_is_utf8(const char *text, size_t len);

/* cJSON recurses, lets raw control characters and broken UTF-8 pass, and cuts a text at \u0000
 * without a word. Returns NULL when nothing of that can happen, else what is wrong as static text:
 * nesting deeper than `depth_max`, invalid UTF-8, a control character in a text, \u0000, an open
 * text, brackets that do not match in number, bytes behind the value. Everything else is left to
 * the parser. */
const char *sluice_json_guard(const char *json, size_t len, unsigned depth_max);

#endif
