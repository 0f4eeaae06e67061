/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over a link: many open at once, each with a deadline and exactly one answer. All on the
 * loop thread. */
#ifndef SLUICE_ADAPTER_NATS_REQUESTS_H
#define SLUICE_ADAPTER_NATS_REQUESTS_H

#include "adapter/nats_link.h"
#include "adapter/nats_request.h"
#include <uv.h>

/* So many requests are under way at once: what stands in the connection cannot be overtaken any
 * more, and with thousands of messages at once all of them would take each step before any takes
 * its next. So the first are done, and their slots are used again, while the last still wait. */
#define SLUICE_NATS_UNDER_WAY_MAX 512u

struct sluice_nats_requests;

/* `loop`, `box` and `link` are borrowed. NULL without memory. */
struct sluice_nats_requests *sluice_nats_requests_create(uv_loop_t *loop,
                                                         struct sluice_nats_box *box,
                                                         struct sluice_nats_link *link);

/* `unheard` is called when a request that is sent again has found nobody who listens, once for
 * each, with the `fn` and `ctx` it was sent with; not from inside an operation. It may not send. */
typedef void sluice_nats_unheard_fn(void *unheard_ctx, sluice_nats_answer_fn *fn, void *ctx);
void sluice_nats_requests_on_unheard(struct sluice_nats_requests *requests,
                                     sluice_nats_unheard_fn *unheard, void *unheard_ctx);

/* To be called in the link's on_up and on_down. */
void sluice_nats_requests_up(struct sluice_nats_requests *requests);
void sluice_nats_requests_down(struct sluice_nats_requests *requests);

/* Everything is copied or sent before it returns; one call of `fn` follows, never from inside; none
 * after ERR_NOMEM: then nothing was sent. Timeouts are kept to within 50 ms.
 *
 * While SLUICE_NATS_UNDER_WAY_MAX are under way, further ones that are copied wait here, 2 s at
 * most. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_requests_send(struct sluice_nats_requests *requests,
                                    const struct sluice_nats_request *request,
                                    sluice_nats_answer_fn *fn, void *ctx);

/* A call of `fn` with NOT_SENT in the next turn, for those who fail before sending. ERR_NOMEM as
 * above. */
SLUICE_MUST_CHECK
sluice_rc sluice_nats_requests_defer(struct sluice_nats_requests *requests,
                                     sluice_nats_answer_fn *fn, void *ctx);

/* End all open requests with LOST, now. Sending is still allowed and ends as NOT_SENT, also now. */
void sluice_nats_requests_end(struct sluice_nats_requests *requests);
/* After end(), when the link is stopped and the box closed. Memory goes when the loop has closed
 * the timer. NULL is accepted. */
void sluice_nats_requests_destroy(struct sluice_nats_requests *requests);

#endif
