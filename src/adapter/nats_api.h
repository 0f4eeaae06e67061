/* SPDX-License-Identifier: Apache-2.0 */
/* The JetStream API for boot and commands: JSON requests that block, over a connection of their
 * own. */
#ifndef SLUICE_ADAPTER_NATS_API_H
#define SLUICE_ADAPTER_NATS_API_H

#include "adapter/nats_options.h"
#include "core/err.h"

struct cJSON;
struct sluice_nats_api;

/* Blocking. ERR_CONFIG, ERR_CONNECTION, ERR_AUTH, ERR_NOMEM. */
sluice_rc sluice_nats_api_open(const struct sluice_nats_options *options,
                               struct sluice_nats_api **out, struct sluice_err *err);
void sluice_nats_api_close(struct sluice_nats_api *api); /* accepts NULL */

/* Ask `operation`, e.g. "STREAM.INFO.ORDERS", with `in` (borrowed; NULL: empty). `out` gets the
 * whole answer, owned by the caller; it may be NULL. ERR_NOT_FOUND when the server says 404,
 * ERR_API for its other refusals (in its words), ERR_UNAVAILABLE without JetStream, ERR_AUTH
 * in the server's words when it denies the request, ERR_TIMEOUT after 5 s, ERR_DECODE. */
sluice_rc sluice_nats_api_call(struct sluice_nats_api *api, const char *operation,
                               const struct cJSON *in, struct cJSON **out, struct sluice_err *err);

/* Publish into a stream and wait for its PubAck, 5 s. `sequence` may be NULL. ERR_PUBLISH (no
 * stream listens there, it refused), ERR_UNAVAILABLE and ERR_AUTH as above, ERR_TOO_LARGE,
 * ERR_TIMEOUT, ERR_CONNECTION, ERR_VALIDATION (line breaks in a header). */
sluice_rc sluice_nats_api_publish(struct sluice_nats_api *api, const char *subject,
                                  const sluice_header *headers, uint32_t headers_count,
                                  sluice_bytes body, uint64_t *sequence, struct sluice_err *err);

/* What the user should know about these settings and the client library; NULL: nothing. */
const char *sluice_nats_api_warning(const struct sluice_nats_api *api);

int64_t sluice_nats_api_payload_max(struct sluice_nats_api *api);

/* The version that the connected server names in its greeting; "" when it cannot be read within 2
 * s. */
void sluice_nats_api_server_version(struct sluice_nats_api *api, char *out, size_t size);

#endif
