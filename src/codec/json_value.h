/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of a part of a message, appended to a buffer. Flags and errors as of
 * sluice_proto_write_json (codec/proto_json.h); that the buffer is full is told when it is
 * finished. Further memory comes from the buffer's arena. */
#ifndef SLUICE_CODEC_JSON_VALUE_H
#define SLUICE_CODEC_JSON_VALUE_H

#include "codec/buffer.h"
#include <protobuf-c/protobuf-c.h>

/* One value of the field's type: an element of a list, or what a field that is no list holds. */
SLUICE_MUST_CHECK
sluice_rc sluice_json_put_value(struct sluice_buffer *out, const ProtobufCFieldDescriptor *field,
                                const void *member, unsigned flags, struct sluice_err *err);
/* A field as it is, lists and maps included. */
SLUICE_MUST_CHECK
sluice_rc sluice_json_put_field(struct sluice_buffer *out, const ProtobufCMessage *message,
                                const ProtobufCFieldDescriptor *field, unsigned flags,
                                struct sluice_err *err);
SLUICE_MUST_CHECK
sluice_rc sluice_json_put_message(struct sluice_buffer *out, const ProtobufCMessage *message,
                                  unsigned flags, struct sluice_err *err);

#endif
