/* SPDX-License-Identifier: Apache-2.0 */
/* A block of headers as it came over the wire. What is read lies inside the block, and a block
 * written from it reads the same. The status of the first line has a meaning whatever it is. */
#include "adapter/nats_headers.h"
#include "adapter/nats_status.h"
#include "codec/header.h"
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    sluice_bytes block;
    char *copy; /* a block made of what was read */
    size_t len, count;
};

static void add(struct reading *r, const char *text, size_t len)
{
    memcpy(r->copy + r->len, text, len);
    r->len += len;
}

static void on_header(void *ctx, const char *name, size_t name_len, const char *value,
                      size_t value_len)
{
    struct reading *r = ctx;
    FUZZ_CHECK(name_len > 0);
    FUZZ_CHECK(fuzz_is_inside(name, name_len, r->block.data, r->block.len));
    FUZZ_CHECK(fuzz_is_inside(value, value_len, r->block.data, r->block.len));
    FUZZ_CHECK(memchr(name, ':', name_len) == NULL && memchr(name, '\0', name_len) == NULL);
    FUZZ_CHECK(value_len == 0 ||
               (memchr(value, '\n', value_len) == NULL && memchr(value, '\0', value_len) == NULL));
    add(r, name, name_len);
    add(r, ":", 1);
    add(r, value, value_len);
    add(r, "\r\n", 2);
    r->count++;
}

static struct reading read_block(sluice_bytes block)
{
    struct reading r = {.block = block};
    r.copy = malloc(3 * block.len + 16); /* each header is written with at most twice its bytes */
    FUZZ_CHECK(r.copy != NULL);
    add(&r, "NATS/1.0\r\n", 10);
    sluice_nats_headers_parse(block.data, block.len, on_header, &r);
    add(&r, "\r\n", 2);
    return r;
}

static void check_status(sluice_bytes block)
{
    char text[24], tiny[1];
    int code = sluice_nats_headers_status(block.data, block.len, text, sizeof text);
    FUZZ_CHECK(code >= 0 && code < 1000000 && strlen(text) < sizeof text);
    FUZZ_CHECK(sluice_nats_headers_status(block.data, block.len, tiny, 1) == code);
    enum sluice_pull_status status = sluice_nats_status_of(code, text);
    FUZZ_CHECK((unsigned)status <= SLUICE_PULL_UNKNOWN);
    FUZZ_CHECK((status == SLUICE_PULL_ALIVE) == (code == 100));
    FUZZ_CHECK(status != SLUICE_PULL_GONE || code == 409 || code == 503);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_of(data, size);
    sluice_bytes block = fuzz_take_rest(&in);
    struct reading once = read_block(block);
    struct reading twice = read_block((sluice_bytes){once.copy, once.len});
    FUZZ_CHECK(once.count == twice.count);
    FUZZ_CHECK(
        fuzz_is_same((sluice_bytes){once.copy, once.len}, (sluice_bytes){twice.copy, twice.len}));
    check_status(block);
    free(once.copy);
    free(twice.copy);
    fuzz_input_fini(&in);
    return 0;
}
