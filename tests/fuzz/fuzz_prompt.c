/* SPDX-License-Identifier: Apache-2.0 */
/* A prompt file. What its check lets pass for a type renders with a full and with an empty message
 * of that type; the text is UTF-8. */
#include "codec/prompt.h"
#include "codec/protobuf.h"
#include "codec/utf8.h"
#include "types.h"
#include <string.h>

/* A message with lists, maps, a oneof and a child, from bytes of the wire. */
static const uint8_t rich_bytes[] =
    "\x08\x07\x5d\x00\x00\x80\x3f\x61\x00\x00\x00\x00\x00\x00\xe0\x3f\x68\x01\x70\x01\x7a\x04text"
    "\x82\x01\x02\x00\xff\x8a\x01\x06\x0a\x04leaf\xaa\x01\x02\x01\x02\xda\x01\x03one\xda\x01\x00"
    "\xea\x01\x03\x0a\x01x\xea\x01\x00\xca\x02\x08\x0a\x01k\x12\x03val\xd2\x02\x07\x08\x05\x12\x03"
    "\x0a\x01y\x9a\x03\x04what\xea\x03\x07\x7a\x05"
    "child";

static void check_render(const struct sluice_prompt *prompt, sluice_rc checked,
                         const ProtobufCMessage *vars, const sluice_var *more,
                         struct fuzz_memory *m)
{
    struct sluice_prompt_text text = {0};
    struct sluice_err err = {0};
    sluice_rc rc = sluice_prompt_render(prompt, vars, more, 1, &m->arena, &text, &err);
    FUZZ_CHECK(rc == SLUICE_OK || err.text[0] != '\0');
    FUZZ_CHECK(checked != SLUICE_OK || rc == SLUICE_OK || rc == SLUICE_ERR_TOO_LARGE);
    if (rc == SLUICE_OK) {
        FUZZ_CHECK(text.user != NULL || text.system != NULL);
        FUZZ_CHECK(text.user == NULL ||
                   sluice_utf8_span(text.user, strlen(text.user)) == strlen(text.user));
        FUZZ_CHECK(text.system == NULL ||
                   sluice_utf8_span(text.system, strlen(text.system)) == strlen(text.system));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct sluice_err err = {0};
    struct sluice_prompt *prompt = NULL;
    ProtobufCMessage *full = NULL;
    Rich__V1__Rich empty = RICH__V1__RICH__INIT;
    Context__V1__ContextDraft draft = CONTEXT__V1__CONTEXT_DRAFT__INIT;
    const struct sluice_prompt_type types[] = {{"draft", &context__v1__context_draft__descriptor}};
    const sluice_var more[] = {{.name = "draft", .message = &draft.base}};
    struct fuzz_input in = fuzz_input_of(data, size);
    sluice_bytes source = fuzz_take_rest(&in);
    fuzz_memory_init(&m);
    sluice_rc rc = sluice_prompt_parse("x.prompt", source, &m.allocator, &prompt, &err);
    if (rc == SLUICE_OK) {
        const struct sluice_prompt_head *head = sluice_prompt_head(prompt);
        FUZZ_CHECK(head->temperature <= 2);
        sluice_rc checked =
            sluice_prompt_check(prompt, &rich__v1__rich__descriptor, types, 1, &err);
        FUZZ_CHECK(checked == SLUICE_OK || checked == SLUICE_ERR_CONFIG);
        FUZZ_CHECK(sluice_pb_decode(&rich__v1__rich__descriptor,
                                    (sluice_bytes){rich_bytes, sizeof rich_bytes - 1}, NULL,
                                    &m.arena, &full, &err) == SLUICE_OK);
        check_render(prompt, checked, full, more, &m);
        check_render(prompt, checked, &empty.base, more, &m);
    } else {
        FUZZ_CHECK(prompt == NULL && rc == SLUICE_ERR_CONFIG);
        FUZZ_CHECK(strncmp(err.text, "x.prompt", 8) == 0);
    }
    sluice_prompt_destroy(prompt);
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
