/* SPDX-License-Identifier: Apache-2.0 */
/* A reply subject. What is read lies inside it, and a subject written from it reads the same. */
#include "adapter/nats_ackreply.h"
#include "fuzz.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sluice_ackreply nothing;
    struct sluice_ackreply out, again;
    struct fuzz_input in = fuzz_input_of(data, size);
    const char *subject = fuzz_take_rest_text(&in);
    size_t len = strlen(subject);
    memset(&out, 0xff, sizeof out);
    if (!sluice_ackreply_parse(subject, &out)) {
        FUZZ_CHECK(memcmp(&out, &nothing, sizeof out) == 0);
        fuzz_input_fini(&in);
        return 0;
    }
    FUZZ_CHECK(out.deliveries > 0 && out.sequence > 0 && out.stored_unix_ns >= 0);
    FUZZ_CHECK(out.stream_len > 0 && out.consumer_len > 0);
    FUZZ_CHECK(fuzz_is_inside(out.stream, out.stream_len, subject, len));
    FUZZ_CHECK(fuzz_is_inside(out.consumer, out.consumer_len, subject, len));
    char *canonical = malloc(len + 160);
    FUZZ_CHECK(canonical != NULL);
    (void)snprintf(canonical, len + 160,
                   "$JS.ACK.%.*s.%.*s.%" PRIu32 ".%" PRIu64 ".1.%" PRId64 ".%" PRIu64,
                   (int)out.stream_len, out.stream, (int)out.consumer_len, out.consumer,
                   out.deliveries, out.sequence, out.stored_unix_ns, out.pending);
    FUZZ_CHECK(sluice_ackreply_parse(canonical, &again));
    FUZZ_CHECK(again.stream_len == out.stream_len && again.consumer_len == out.consumer_len);
    FUZZ_CHECK(again.deliveries == out.deliveries && again.sequence == out.sequence);
    FUZZ_CHECK(again.stored_unix_ns == out.stored_unix_ns && again.pending == out.pending);
    free(canonical);
    fuzz_input_fini(&in);
    return 0;
}
