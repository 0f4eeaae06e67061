/* SPDX-License-Identifier: Apache-2.0 */
/* A type's number, how strict, then JSON. What is read is written and read again as the same
 * message. */
#include "codec/proto_json.h"
#include "types.h"
#include <string.h>

static void check_accepted(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message,
                           struct fuzz_memory *m)
{
    ProtobufCMessage *again;
    sluice_bytes before, after, text;
    struct sluice_err err = {0};
    FUZZ_CHECK(sluice_pb_encode(message, &m->arena, &before, &err) == SLUICE_OK);
    sluice_rc rc = sluice_proto_write_json(message, 0, 0, &m->arena, &text, &err);
    FUZZ_CHECK(rc == SLUICE_OK || rc == SLUICE_ERR_TOO_LARGE);
    if (rc == SLUICE_OK) {
        FUZZ_CHECK(sluice_proto_from_json(type, text, 0, &m->arena, &again, &err) == SLUICE_OK);
        FUZZ_CHECK(sluice_pb_encode(again, &m->arena, &after, &err) == SLUICE_OK);
        FUZZ_CHECK(fuzz_is_same(before, after));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned flags[] = {0, SLUICE_JSON_IGNORE_UNKNOWN, SLUICE_JSON_STRICT};
    struct fuzz_memory m;
    struct sluice_err err = {0};
    ProtobufCMessage *message = NULL;
    struct fuzz_input in = fuzz_input_of(data, size);
    const ProtobufCMessageDescriptor *type = fuzz_take_type(&in);
    unsigned strictness = fuzz_take_choice(&in, 3);
    sluice_bytes text = fuzz_take_rest(&in);
    fuzz_memory_init(&m);
    sluice_rc rc = sluice_proto_from_json(type, text, flags[strictness], &m.arena, &message, &err);
    if (rc == SLUICE_OK) {
        check_accepted(type, message, &m);
        FUZZ_CHECK(sluice_json_check(text, NULL, &m.arena, &err) == SLUICE_OK);
    } else {
        FUZZ_CHECK(message == NULL && err.rc == rc && err.text[0] != '\0');
        FUZZ_CHECK(strlen(err.text) < sizeof err.text);
    }
    if (rc == SLUICE_OK &&
        strictness == 2) { /* what the strict reader takes, the plain one takes */
        FUZZ_CHECK(sluice_proto_from_json(type, text, 0, &m.arena, &message, &err) == SLUICE_OK);
    }
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
