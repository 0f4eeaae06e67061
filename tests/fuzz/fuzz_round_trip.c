/* SPDX-License-Identifier: Apache-2.0 */
/* A type's number, then bytes of the wire: message → JSON → message → JSON and message → BSON →
 * message → BSON give the same text and the same document. (Not compared with the first bytes:
 * unknown fields, a NaN's payload and a map's repeated keys have no form in either.) */
#include "codec/bson.h"
#include "codec/proto_json.h"
#include "types.h"

static void check_json(const ProtobufCMessage *message, unsigned flags, struct fuzz_memory *m)
{
    struct sluice_err err = {0};
    ProtobufCMessage *again;
    sluice_bytes once, twice;
    sluice_rc rc = sluice_proto_write_json(message, flags, 0, &m->arena, &once, &err);
    FUZZ_CHECK(rc == SLUICE_OK || rc == SLUICE_ERR_TOO_LARGE);
    if (rc != SLUICE_OK) {
        return;
    }
    FUZZ_CHECK(sluice_json_check(once, NULL, &m->arena, &err) == SLUICE_OK);
    FUZZ_CHECK(sluice_proto_from_json(message->descriptor, once, 0, &m->arena, &again, &err) ==
               SLUICE_OK);
    FUZZ_CHECK(sluice_proto_write_json(again, flags, 0, &m->arena, &twice, &err) == SLUICE_OK);
    FUZZ_CHECK(fuzz_is_same(once, twice));
}

static void check_bson(const ProtobufCMessage *message, struct fuzz_memory *m)
{
    struct sluice_err err = {0};
    ProtobufCMessage *again;
    sluice_bytes once, twice;
    sluice_rc rc = sluice_proto_to_bson(message, &m->arena, &once, &err);
    FUZZ_CHECK(rc == SLUICE_OK || rc == SLUICE_ERR_TOO_LARGE);
    if (rc != SLUICE_OK) {
        return;
    }
    FUZZ_CHECK(sluice_bson_to_proto(message->descriptor, once, &m->arena, &again, &err) ==
               SLUICE_OK);
    FUZZ_CHECK(sluice_proto_to_bson(again, &m->arena, &twice, &err) == SLUICE_OK);
    FUZZ_CHECK(fuzz_is_same(once, twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct sluice_err err = {0};
    ProtobufCMessage *message;
    struct fuzz_input in = fuzz_input_of(data, size);
    const ProtobufCMessageDescriptor *type = fuzz_take_type(&in);
    fuzz_memory_init(&m);
    if (sluice_pb_decode(type, fuzz_take_rest(&in), NULL, &m.arena, &message, &err) == SLUICE_OK) {
        check_json(message, 0, &m);
        check_json(message, SLUICE_JSON_DOCUMENT, &m);
        check_bson(message, &m);
    }
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
