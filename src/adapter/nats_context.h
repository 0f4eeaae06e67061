/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts of the `nats` command (ADR-21): who has one configured needs no further settings here.
 */
#ifndef SLUICE_ADAPTER_NATS_CONTEXT_H
#define SLUICE_ADAPTER_NATS_CONTEXT_H

#include "adapter/nats_options.h"
#include "core/err.h"

struct sluice_nats_context;

/* Read $XDG_CONFIG_HOME/nats/context/<name>.json (default ~/.config). "~" and $VARIABLES are
 * expanded, env://NAME is looked up. ERR_NOT_FOUND; ERR_CONFIG for a bad name, bad JSON or a
 * setting that is not supported (nsc, socks_proxy, user_jwt, tls_first); ERR_NOMEM. The text names
 * the file, never a secret. */
sluice_rc sluice_nats_context_load(const char *name, struct sluice_nats_context **out,
                                   struct sluice_err *err);
void sluice_nats_context_free(struct sluice_nats_context *context); /* accepts NULL */

/* Fill what `options` leave unset, texts borrowed from the context. The context's login is taken
 * only when `options` have none of their own. `url` counts as unset when it is NULL, "" or
 * `default_url` (may be NULL). */
void sluice_nats_context_apply(const struct sluice_nats_context *context, const char *default_url,
                               struct sluice_nats_options *options);

#endif
