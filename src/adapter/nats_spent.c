/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_spent.h"

#define BYTES_MAX 524288u

void sluice_nats_spent_add(struct sluice_nats_spent *spent, natsMsg *message, size_t bytes)
{
    spent->messages[spent->count++] = message;
    spent->bytes += bytes;
    if (spent->count == SLUICE_NATS_SPENT_MAX || spent->bytes >= BYTES_MAX) {
        sluice_nats_spent_clear(spent);
    }
}

void sluice_nats_spent_clear(struct sluice_nats_spent *spent)
{
    for (uint32_t i = 0; i < spent->count; i++) {
        natsMsg_Destroy(spent->messages[i]);
    }
    spent->count = 0;
    spent->bytes = 0;
}
