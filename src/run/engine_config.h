/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's limits, as the settings want them. */
#ifndef SLUICE_RUN_ENGINE_CONFIG_H
#define SLUICE_RUN_ENGINE_CONFIG_H

#include "core/engine.h"
#include "run/option.h"

/* Without message_size_max, seed and allocator, which are no settings. The names of services are
 * borrowed as long as the settings live. */
struct sluice_engine_config sluice_engine_config_of(const struct sluice_settings *s);

#endif
