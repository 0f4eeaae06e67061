/* SPDX-License-Identifier: Apache-2.0 */
/* One stream or consumer on the server: looked at, made when it is missing, brought in line, as far
 * as the mode allows. For nats_provision.c. */
#ifndef SLUICE_ADAPTER_NATS_INSPECT_H
#define SLUICE_ADAPTER_NATS_INSPECT_H

#include "adapter/nats_expect.h"

#define SLUICE_NATS_OPERATION_SIZE 400u

/* The API operations that concern one object. */
struct sluice_nats_operations {
    char look[SLUICE_NATS_OPERATION_SIZE], make[SLUICE_NATS_OPERATION_SIZE],
        update[SLUICE_NATS_OPERATION_SIZE];
};

/* Compares `o->config` with what is expected; `info` is the server's whole answer. */
typedef void sluice_nats_checks_fn(struct sluice_nats_object *o, const cJSON *info);

/* Look at one object; when the checks altered its configuration, send that and compare all again.
 * One that is missing is made of `wanted`, or told as a difference. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_inspect(struct sluice_nats_object *o,
                              const struct sluice_nats_operations *operations, const cJSON *wanted,
                              sluice_nats_checks_fn *checks);

#endif
