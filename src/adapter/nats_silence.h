/* SPDX-License-Identifier: Apache-2.0 */
/* How long a server has been silent: since the first question after its last answer. Without an
 * open question there is no silence. Any answer ends it, whichever question it is for: a server
 * that answers some is not cut off. */
#ifndef SLUICE_ADAPTER_NATS_SILENCE_H
#define SLUICE_ADAPTER_NATS_SILENCE_H

#include <stdint.h>

/* Zeroed: nothing was asked. */
struct sluice_nats_silence {
    int64_t since_ms; /* 0: no question since the last answer */
};

/* A question has been sent; call it for no other. Times are of the monotonic clock. */
void sluice_nats_silence_asked(struct sluice_nats_silence *silence, int64_t now_ms);
/* An answer came, or what was asked does not count any more: the connection is gone or given up. */
void sluice_nats_silence_answered(struct sluice_nats_silence *silence);
/* 0: nothing was asked, or just now. */
int64_t sluice_nats_silence_for_ms(const struct sluice_nats_silence *silence, int64_t now_ms);

#endif
