/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_ackreply.h"

#include <string.h>

#define TOKENS_MAX 16

struct token {
    const char *at;
    size_t len;
};

/* Tokens beyond the table are counted, not kept. */
static int split(const char *reply, struct token tokens[TOKENS_MAX])
{
    int count = 0;
    while (1) {
        size_t len = strcspn(reply, ".");
        if (len == 0) {
            return 0;
        }
        if (count < TOKENS_MAX) {
            tokens[count] = (struct token){reply, len};
        }
        count++;
        if (reply[len] == '\0') {
            return count;
        }
        reply += len + 1;
    }
}

static int read_number(const struct token *token, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < token->len; i++) {
        char c = token->at[i];
        if (c < '0' || c > '9' || value > (most - (uint64_t)(c - '0')) / 10u) {
            return 0;
        }
        value = value * 10u + (uint64_t)(c - '0');
    }
    *out = value;
    return 1;
}

int sluice_ackreply_parse(const char *reply, struct sluice_ackreply *out)
{
    struct token tokens[TOKENS_MAX];
    uint64_t deliveries, sequence, unused, stored, pending;
    memset(out, 0, sizeof *out);
    if (strncmp(reply, "$JS.ACK.", 8) != 0) {
        return 0;
    }
    int count = split(reply, tokens);
    if (count != 9 && count < 11) {
        return 0;
    }
    const struct token *t = tokens + (count == 9 ? 2 : 4);
    if (!read_number(&t[2], UINT32_MAX, &deliveries) ||
        !read_number(&t[3], UINT64_MAX, &sequence) || !read_number(&t[4], UINT64_MAX, &unused) ||
        !read_number(&t[5], INT64_MAX, &stored) || !read_number(&t[6], UINT64_MAX, &pending) ||
        deliveries == 0 || sequence == 0) {
        return 0;
    }
    *out = (struct sluice_ackreply){.stream = t[0].at,
                                    .consumer = t[1].at,
                                    .stream_len = t[0].len,
                                    .consumer_len = t[1].len,
                                    .deliveries = (uint32_t)deliveries,
                                    .sequence = sequence,
                                    .stored_unix_ns = (int64_t)stored,
                                    .pending = pending};
    return 1;
}
