/* SPDX-License-Identifier: Apache-2.0 */
/* A message that says "wander" offloads a function that returns after OFFLOAD_MS, or never; any
 * other one that returns at once. */
#include <sluice/worker.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static sluice_rc wander(sluice_bytes in, void **out, size_t *out_len)
{
    const char *ms = getenv("OFFLOAD_MS");
    long long end = ms == NULL ? 0 : now_ms() + atoll(ms);
    while (ms == NULL || now_ms() < end) {
        struct timespec pause = {0, 10000000};
        (void)nanosleep(&pause, NULL);
    }
    *out = malloc(in.len);
    *out_len = in.len;
    if (*out == NULL) {
        return SLUICE_ERR_NOMEM;
    }
    memcpy(*out, in.data, in.len); /* it is still there */
    return SLUICE_OK;
}

static sluice_rc at_once(sluice_bytes in, void **out, size_t *out_len)
{
    (void)in;
    *out_len = 1;
    *out = calloc(1, *out_len);
    return *out == NULL ? SLUICE_ERR_NOMEM : SLUICE_OK;
}

static sluice_rc on_message(sluice_turn *t, const sluice_msg *in)
{
    static const char word[] = "wander";
    int is_long = memmem(in->body.data, in->body.len, word, sizeof word - 1) != NULL;
    sluice_bytes out;
    sluice_log(t, SLUICE_LOG_INFO, is_long ? "wander.begins" : "short.begins", "%llu",
               (unsigned long long)in->sequence);
    return sluice_offload(t, "work", is_long ? wander : at_once, in->body, &out);
}

SLUICE_WORKER(.name = "wanderer", .version = "1.0", .require = SLUICE_REQUIRE_NONE,
              .on_message = on_message);
