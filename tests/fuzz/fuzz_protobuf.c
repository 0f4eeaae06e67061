/* SPDX-License-Identifier: Apache-2.0 */
/* A type's number, then bytes of the wire. What the scan accepts, protobuf-c unpacks, and what we
 * encode of it reads back as the same bytes; what the scan refuses, decoding refuses with the same
 * code. */
#include "codec/protobuf.h"
#include "types.h"

static void check_accepted(const ProtobufCMessageDescriptor *type, sluice_bytes bytes,
                           struct fuzz_memory *m)
{
    ProtobufCMessage *message, *again;
    sluice_bytes once, twice;
    struct sluice_err err = {0};
    sluice_rc rc = sluice_pb_decode(type, bytes, NULL, &m->arena, &message, &err);
    FUZZ_CHECK(rc == SLUICE_OK || rc == SLUICE_ERR_TOO_LARGE);
    if (rc != SLUICE_OK) {
        return;
    }
    FUZZ_CHECK(protobuf_c_message_check(message));
    FUZZ_CHECK(sluice_pb_check(message, &err) == SLUICE_OK);
    rc = sluice_pb_encode(message, &m->arena, &once, &err);
    FUZZ_CHECK(rc == SLUICE_OK || rc == SLUICE_ERR_TOO_LARGE);
    if (rc == SLUICE_OK) {
        FUZZ_CHECK(sluice_pb_decode(type, once, NULL, &m->arena, &again, &err) == SLUICE_OK);
        FUZZ_CHECK(sluice_pb_encode(again, &m->arena, &twice, &err) == SLUICE_OK);
        FUZZ_CHECK(fuzz_is_same(once, twice));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_memory m;
    struct sluice_err err = {0}, decode_err = {0};
    struct sluice_pb_stats stats;
    struct fuzz_input in = fuzz_input_of(data, size);
    const ProtobufCMessageDescriptor *type = fuzz_take_type(&in);
    sluice_bytes bytes = fuzz_take_rest(&in);
    fuzz_memory_init(&m);
    sluice_rc rc = sluice_pb_scan(type, bytes, NULL, &stats, &err);
    if (rc == SLUICE_OK) {
        FUZZ_CHECK(stats.unknown <= stats.fields && stats.fields <= SLUICE_MESSAGE_FIELDS_MAX);
        check_accepted(type, bytes, &m);
    } else {
        ProtobufCMessage *message = NULL;
        FUZZ_CHECK(err.text[0] != '\0');
        FUZZ_CHECK(sluice_pb_decode(type, bytes, NULL, &m.arena, &message, &decode_err) == rc);
        FUZZ_CHECK(message == NULL);
    }
    fuzz_memory_fini(&m);
    fuzz_input_fini(&in);
    return 0;
}
