/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says before anybody has logged in. What is taken is an object behind INFO; of
 * anything else nothing is kept. */
#include "adapter/nats_greeting.h"
#include "fuzz.h"
#include <cjson/cJSON.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sluice_nats_greeting nothing;
    struct sluice_nats_greeting out;
    struct fuzz_input in = fuzz_input_of(data, size);
    const char *text = fuzz_take_rest_text(&in);
    memset(&out, 0xff, sizeof out);
    if (!sluice_nats_greeting_parse(text, &out)) {
        FUZZ_CHECK(memcmp(&out, &nothing, sizeof out) == 0);
        fuzz_input_fini(&in);
        return 0;
    }
    FUZZ_CHECK(memchr(out.version, '\0', sizeof out.version) != NULL);
    FUZZ_CHECK(out.wants_client_certificate == 0 || out.wants_client_certificate == 1);
    FUZZ_CHECK(strncmp(text, "INFO ", 5) == 0);
    cJSON *info = cJSON_Parse(text + 5);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(info, "version");
    FUZZ_CHECK(cJSON_IsObject(info));
    FUZZ_CHECK(out.version[0] == '\0' ||
               (cJSON_IsString(version) &&
                strncmp(version->valuestring, out.version, strlen(out.version)) == 0));
    cJSON_Delete(info);
    fuzz_input_fini(&in);
    return 0;
}
