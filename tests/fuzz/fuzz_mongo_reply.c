/* SPDX-License-Identifier: Apache-2.0 */
/* A number of upserts, then a server's reply to them as BSON. A complete account has a fate for
 * each, as many as its numbers say, and the texts lie inside the reply; any other says nothing of
 * any. */
#include "adapter/mongo_reply.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 10u

/* The first of that name; it is there. */
static int64_t number_of(const bson_t *reply, const char *name)
{
    bson_iter_t at;
    FUZZ_CHECK(bson_iter_init_find(&at, reply, name));
    return bson_iter_as_int64(&at);
}

static void check_complete(const struct sluice_mongo_outcome *outcomes, uint32_t count,
                           const bson_t *reply)
{
    int64_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        failed += outcomes[i].state == SLUICE_MONGO_FAILED;
        FUZZ_CHECK(outcomes[i].state == SLUICE_MONGO_STORED ||
                   outcomes[i].state == SLUICE_MONGO_FAILED);
        FUZZ_CHECK((outcomes[i].text != NULL) == (outcomes[i].state == SLUICE_MONGO_FAILED));
        if (outcomes[i].text != NULL && strcmp(outcomes[i].text, "no reason given") != 0) {
            FUZZ_CHECK(fuzz_is_inside(outcomes[i].text, strlen(outcomes[i].text) + 1,
                                      bson_get_data(reply), reply->len));
        }
    }
    FUZZ_CHECK(number_of(reply, "nMatched") + number_of(reply, "nUpserted") + failed == count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_of(data, size);
    uint32_t count = fuzz_take_choice(&in, COUNT_MAX);
    sluice_bytes bytes = fuzz_take_rest(&in);
    bson_t reply;
    if (!bson_init_static(&reply, bytes.data, bytes.len)) { /* the driver would not hand it over */
        fuzz_input_fini(&in);
        return 0;
    }
    struct sluice_mongo_outcome *outcomes = malloc((count + 1) * sizeof *outcomes);
    const char *text = "";
    FUZZ_CHECK(outcomes != NULL);
    enum sluice_mongo_account account = sluice_mongo_reply_read(&reply, count, outcomes, &text);
    FUZZ_CHECK((unsigned)account <= SLUICE_MONGO_UNCONFIRMED);
    FUZZ_CHECK((text != NULL) == (account == SLUICE_MONGO_UNCONFIRMED));
    FUZZ_CHECK(text == NULL || strlen(text) < size + 16);
    if (account == SLUICE_MONGO_COMPLETE) {
        check_complete(outcomes, count, &reply);
    }
    for (uint32_t i = 0; i < count && account != SLUICE_MONGO_COMPLETE; i++) {
        FUZZ_CHECK(outcomes[i].state == SLUICE_MONGO_OPEN && outcomes[i].text == NULL);
    }
    free(outcomes);
    fuzz_input_fini(&in);
    return 0;
}
