/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_silence.h"

void sluice_nats_silence_asked(struct sluice_nats_silence *silence, int64_t now_ms)
{
    if (silence->since_ms == 0) {
        silence->since_ms = now_ms;
    }
}

void sluice_nats_silence_answered(struct sluice_nats_silence *silence)
{
    silence->since_ms = 0;
}

int64_t sluice_nats_silence_for_ms(const struct sluice_nats_silence *silence, int64_t now_ms)
{
    return silence->since_ms == 0 ? 0 : now_ms - silence->since_ms;
}
