/* SPDX-License-Identifier: Apache-2.0 */
/* The types that the targets of the codec read. */
#ifndef SLUICE_TESTS_FUZZ_TYPES_H
#define SLUICE_TESTS_FUZZ_TYPES_H

#include "context.pb-c.h"
#include "fuzz.h"
#include "rich.pb-c.h"

#define FUZZ_TYPES_COUNT 5u

static inline const ProtobufCMessageDescriptor *fuzz_take_type(struct fuzz_input *in)
{
    static const ProtobufCMessageDescriptor *const types[FUZZ_TYPES_COUNT] = {
        &rich__v1__rich__descriptor, &rich__v1__answer__descriptor, &rich__v1__chain__descriptor,
        &context__v1__context_enrich_request__descriptor, &context__v1__context_draft__descriptor};
    return types[fuzz_take_choice(in, FUZZ_TYPES_COUNT)];
}

#endif
