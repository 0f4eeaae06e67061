/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's answer to a publish. What our reader takes, cJSON takes with the same values; what it
 * refuses is never a stored message. */
#include "adapter/nats_puback.h"
#include "fuzz.h"
#include <cjson/cJSON.h>
#include <string.h>

/* How often the name stands in an object: with doubles, readers may choose. */
static int count_of(const cJSON *object, const char *name)
{
    int count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        count += item->string != NULL && strcmp(item->string, name) == 0;
    }
    return count;
}

static void check_accepted(const struct sluice_puback *ack, sluice_bytes bytes)
{
    cJSON *tree = cJSON_ParseWithLength(bytes.data, bytes.len);
    sluice_rc rc;
    enum sluice_fate fate = sluice_puback_fate(ack, &rc);
    FUZZ_CHECK((fate == SLUICE_FATE_OK) == (rc == SLUICE_OK));
    FUZZ_CHECK(fate != SLUICE_FATE_OK || (ack->sequence > 0 && !ack->is_error));
    FUZZ_CHECK(strlen(ack->stream) < sizeof ack->stream);
    FUZZ_CHECK(strlen(ack->description) < sizeof ack->description);
    for (const char *p = ack->description; *p != '\0'; p++) {
        FUZZ_CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
    if (tree != NULL) { /* cJSON refuses some escapes and numbers that we only skip */
        const cJSON *sequence = cJSON_GetObjectItemCaseSensitive(tree, "seq");
        FUZZ_CHECK(cJSON_IsObject(tree));
        if (count_of(tree, "seq") == 1) {
            FUZZ_CHECK(cJSON_IsNumber(sequence) && sequence->valuedouble == (double)ack->sequence);
        }
        FUZZ_CHECK(count_of(tree, "error") == 0 || ack->is_error);
    }
    cJSON_Delete(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sluice_puback nothing;
    struct sluice_puback ack;
    struct fuzz_input in = fuzz_input_of(data, size);
    sluice_bytes bytes = fuzz_take_rest(&in);
    memset(&ack, 0xff, sizeof ack);
    if (sluice_puback_parse(bytes, &ack)) {
        check_accepted(&ack, bytes);
    } else {
        FUZZ_CHECK(memcmp(&ack, &nothing, sizeof ack) == 0);
    }
    fuzz_input_fini(&in);
    return 0;
}
