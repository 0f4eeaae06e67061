/* SPDX-License-Identifier: Apache-2.0 */
/* The MongoDB store for a program that does not link libmongoc: its module is loaded on demand. */
#ifndef SLUICE_ADAPTER_MONGO_LOADER_H
#define SLUICE_ADAPTER_MONGO_LOADER_H

#include "adapter/mongo_store.h"

/* As sluice_mongo_store_create. `folder` is where sluice_mongo.so lies; NULL: beside the program in
 * the build folder, else where it was installed. The module stays loaded until the process ends.
 * ERR_UNSUPPORTED: it is not there, cannot be loaded, or belongs to another version. Not
 * thread-safe: at boot. */
sluice_rc sluice_mongo_loader_create(const char *folder, const struct sluice_mongo_config *config,
                                     struct sluice_store **out, struct sluice_err *err);

#endif
