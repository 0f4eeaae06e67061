/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow on the heap up to a bound. Failing is sticky and checked once, at the end. */
#ifndef SLUICE_ADAPTER_GROWBUF_H
#define SLUICE_ADAPTER_GROWBUF_H

#include "core/alloc.h"
#include "sluice/worker.h"

struct sluice_growbuf {
    const struct sluice_allocator *allocator;
    char *data; /* a NUL follows the bytes; NULL while nothing was added */
    size_t len;
    size_t size;     /* bytes allocated */
    size_t size_max; /* of `len`; below SIZE_MAX / 4 */
    size_t expected; /* bytes that the first allocation makes room for; may be 0 */
    sluice_rc rc; /* ERR_NOMEM or ERR_TOO_LARGE once something did not fit; then nothing is added */
};

/* The allocator is borrowed. No allocation happens before the first byte. */
void sluice_growbuf_init(struct sluice_growbuf *b, const struct sluice_allocator *allocator,
                         size_t size_max);
void sluice_growbuf_fini(
    struct sluice_growbuf *b); /* frees; accepts a zeroed one; can be repeated */
void sluice_growbuf_clear(struct sluice_growbuf *b); /* forgets bytes and failure, keeps memory */

void sluice_growbuf_add(struct sluice_growbuf *b, const void *data, size_t len);
void sluice_growbuf_text(struct sluice_growbuf *b, const char *text);
/* A quoted JSON string. Bytes that are not UTF-8 set ERR_VALIDATION. */
void sluice_growbuf_json(struct sluice_growbuf *b, const char *text, size_t len);
/* The inside of a JSON string as plain text; it must have room with its escapes. */
void sluice_growbuf_unescape(struct sluice_growbuf *b, const char *inside, size_t len);
/* Give back what is allocated beyond the bytes, if that is more than a sixteenth of them. */
void sluice_growbuf_shrink(struct sluice_growbuf *b);

#endif
