/* SPDX-License-Identifier: Apache-2.0 */
/* A line with a code, then the server's words: every combination has one meaning, whatever the case
 * of the letters. */
#include "adapter/nats_status.h"
#include "fuzz.h"
#include <ctype.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_of(data, size);
    const char *line = fuzz_take_line(&in);
    int code = line == NULL ? 0 : (int)(strtol(line, NULL, 10) % 100000);
    char *text = fuzz_take_rest_text(&in);
    enum sluice_pull_status status = sluice_nats_status_of(code, text);
    FUZZ_CHECK((unsigned)status <= SLUICE_PULL_UNKNOWN);
    for (char *p = text; *p != '\0'; p++) {
        *p = (char)(isupper((unsigned char)*p) ? tolower((unsigned char)*p)
                                               : toupper((unsigned char)*p));
    }
    FUZZ_CHECK(sluice_nats_status_of(code, text) == status);
    FUZZ_CHECK(code == 409 || sluice_nats_status_of(code, NULL) == status);
    FUZZ_CHECK(code == 100 || code == 404 || code == 408 || code == 409 || code == 503 ||
               status == SLUICE_PULL_UNKNOWN);
    fuzz_input_fini(&in);
    return 0;
}
