/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a block of NATS headers as it came over the wire. Needed because nats.c before 3.11 takes
 * an empty value for the whole next line ("A:\r\nNats-Msg-Id: 1\r\n" has only A there). */
#ifndef SLUICE_ADAPTER_NATS_HEADERS_H
#define SLUICE_ADAPTER_NATS_HEADERS_H

#include <stddef.h>

/* Names and values point into the block and are not terminated. */
typedef void sluice_nats_header_fn(void *ctx, const char *name, size_t name_len, const char *value,
                                   size_t value_len);

/* Each header in the order of the block, blanks around values removed. Lines without name or colon,
 * or with a NUL, are left out. Stops at the first empty line. Does nothing for a block that does
 * not begin with "NATS/1.0". */
void sluice_nats_headers_parse(const char *block, size_t len, sluice_nats_header_fn *visit,
                               void *ctx);

/* The code of the first line ("NATS/1.0 503 text"); 0 without one. `text` gets its words, cut at
 * `size`. */
int sluice_nats_headers_status(const char *block, size_t len, char *text, size_t size);

#endif
