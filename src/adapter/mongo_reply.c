/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/mongo_reply.h"

#include <string.h>

/* A count in the reply; -1 when it is missing or none. */
static int64_t number_of(const bson_t *document, const char *name)
{
    bson_iter_t at;
    if (!bson_iter_init_find(&at, document, name) || !BSON_ITER_HOLDS_NUMBER(&at)) {
        return -1;
    }
    return bson_iter_as_int64(&at);
}

static const char *text_of(const bson_iter_t *element)
{
    bson_iter_t at;
    if (bson_iter_recurse(element, &at) && bson_iter_find(&at, "errmsg") &&
        BSON_ITER_HOLDS_UTF8(&at)) {
        return bson_iter_utf8(&at, NULL);
    }
    return "no reason given";
}

static int64_t member_of(const bson_iter_t *element, const char *name)
{
    bson_iter_t at;
    if (!bson_iter_recurse(element, &at) || !bson_iter_find(&at, name) ||
        !BSON_ITER_HOLDS_NUMBER(&at)) {
        return -1;
    }
    return bson_iter_as_int64(&at);
}

/* Enter an array of documents; 0: it is missing or empty. */
static int enter(const bson_t *reply, const char *name, bson_iter_t *element)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, reply, name) && BSON_ITER_HOLDS_ARRAY(&at) &&
           bson_iter_recurse(&at, element) && bson_iter_next(element);
}

/* How many upserts failed; -1 when the list cannot be right. */
static int64_t read_errors(const bson_t *reply, uint32_t count,
                           struct sluice_mongo_outcome *outcomes)
{
    bson_iter_t element;
    int64_t errors = 0;
    if (!enter(reply, "writeErrors", &element)) {
        return 0;
    }
    do {
        int64_t index = member_of(&element, "index");
        int64_t code = member_of(&element, "code");
        if (index < 0 || index >= (int64_t)count || outcomes[index].state != SLUICE_MONGO_OPEN) {
            return -1;
        }
        outcomes[index].state = SLUICE_MONGO_FAILED;
        outcomes[index].code = code < INT32_MIN || code > INT32_MAX ? -1 : (int32_t)code;
        outcomes[index].text = text_of(&element);
        errors++;
    } while (bson_iter_next(&element));
    return errors;
}

enum sluice_mongo_account sluice_mongo_reply_read(const bson_t *reply, uint32_t count,
                                                  struct sluice_mongo_outcome *outcomes,
                                                  const char **text)
{
    bson_iter_t element;
    *text = NULL;
    memset(outcomes, 0, count * sizeof *outcomes);
    if (enter(reply, "writeConcernErrors", &element)) {
        *text = text_of(&element);
        return SLUICE_MONGO_UNCONFIRMED;
    }
    int64_t matched = number_of(reply, "nMatched");
    int64_t upserted = number_of(reply, "nUpserted");
    int64_t errors = read_errors(reply, count, outcomes);
    int is_sane = matched >= 0 && upserted >= 0 && errors >= 0 && matched <= (int64_t)count &&
                  upserted <= (int64_t)count;
    if (!is_sane || matched + upserted + errors != (int64_t)count) {
        memset(outcomes, 0, count * sizeof *outcomes);
        return SLUICE_MONGO_INCOMPLETE;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (outcomes[i].state == SLUICE_MONGO_OPEN) {
            outcomes[i].state = SLUICE_MONGO_STORED;
        }
    }
    return SLUICE_MONGO_COMPLETE;
}
