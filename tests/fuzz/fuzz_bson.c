/* SPDX-License-Identifier: Apache-2.0 */
/* A type's number, then a document as a server might return it. What is read is written, and that
 * is read and written again as the same document. */
#include "codec/bson.h"
#include "types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct sluice_err err = {0};
    ProtobufCMessage *message = NULL, *again;
    sluice_bytes once, twice;
    struct fuzz_input in = fuzz_input_of(data, size);
    const ProtobufCMessageDescriptor *type = fuzz_take_type(&in);
    sluice_bytes bytes = fuzz_take_rest(&in);
    fuzz_memory_init(&m);
    sluice_rc rc = sluice_bson_to_proto(type, bytes, &m.arena, &message, &err);
    if (rc == SLUICE_OK) {
        FUZZ_CHECK(sluice_pb_check(message, &err) == SLUICE_OK);
        FUZZ_CHECK(sluice_proto_to_bson(message, &m.arena, &once, &err) == SLUICE_OK);
        FUZZ_CHECK(sluice_bson_to_proto(type, once, &m.arena, &again, &err) == SLUICE_OK);
        FUZZ_CHECK(sluice_proto_to_bson(again, &m.arena, &twice, &err) == SLUICE_OK);
        FUZZ_CHECK(fuzz_is_same(once, twice));
    } else {
        FUZZ_CHECK(message == NULL && err.rc == rc && err.text[0] != '\0');
    }
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
