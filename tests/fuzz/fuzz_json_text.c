/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON: what our checks let pass, cJSON parses to its last byte, and prints as
 * something that passes again. As text: escaped and taken back it is the same. */
#include "codec/json_text.h"
#include "codec/json_walk.h"
#include "codec/utf8.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

static int walks(sluice_bytes text, uint32_t depth_max)
{
    struct sluice_json_walk w;
    sluice_json_walk_init(&w, text, depth_max);
    return sluice_json_skip(&w) && sluice_json_ends(&w);
}

static void check_accepted(sluice_bytes text, struct fuzz_memory *m)
{
    struct sluice_err err = {0};
    cJSON *tree = NULL, *again = NULL;
    FUZZ_CHECK(walks(text, SLUICE_JSON_DEPTH_MAX));
    FUZZ_CHECK(sluice_json_parse(text, SLUICE_MESSAGE_SIZE_MAX, &tree, &err) == SLUICE_OK);
    char *printed = cJSON_PrintUnformatted(tree);
    FUZZ_CHECK(printed != NULL);
    sluice_bytes print = {printed, strlen(printed)};
    FUZZ_CHECK(sluice_json_check(print, NULL, &m->arena, &err) == SLUICE_OK);
    FUZZ_CHECK(sluice_json_parse(print, SLUICE_MESSAGE_SIZE_MAX, &again, &err) == SLUICE_OK);
    FUZZ_CHECK(cJSON_Compare(tree, again, 1));
    cJSON_Delete(tree);
    cJSON_Delete(again);
    free(printed);
}

static void check_escape(sluice_bytes bytes, struct fuzz_memory *m)
{
    struct sluice_buffer b;
    struct sluice_err err = {0};
    sluice_bytes quoted;
    sluice_buffer_init(&b, &m->arena, 16);
    sluice_buffer_json(&b, bytes.data, bytes.len);
    FUZZ_CHECK(sluice_buffer_finish(&b, &err, &quoted) == SLUICE_OK);
    const char *text = quoted.data;
    FUZZ_CHECK(quoted.len >= 2 && text[0] == '"' && text[quoted.len - 1] == '"');
    int has_nul = bytes.len != 0 && memchr(bytes.data, '\0', bytes.len) != NULL;
    FUZZ_CHECK(has_nul || sluice_json_check(quoted, NULL, &m->arena, &err) == SLUICE_OK);
    if (!has_nul && sluice_utf8_valid_prefix(bytes.data, bytes.len) == bytes.len) {
        char *plain = malloc(quoted.len);
        FUZZ_CHECK(plain != NULL);
        size_t len = sluice_json_unescape(text + 1, quoted.len - 2, plain);
        FUZZ_CHECK(fuzz_is_same(bytes, (sluice_bytes){plain, len}));
        free(plain);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct sluice_err err = {0};
    struct fuzz_input in = fuzz_input_of(data, size);
    sluice_bytes bytes = fuzz_take_rest(&in);
    fuzz_memory_init(&m);
    (void)walks(bytes, 8);
    if (sluice_json_check(bytes, NULL, &m.arena, &err) == SLUICE_OK) {
        check_accepted(bytes, &m);
    } else {
        FUZZ_CHECK(err.text[0] != '\0');
    }
    check_escape(bytes, &m);
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
