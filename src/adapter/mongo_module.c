/* SPDX-License-Identifier: Apache-2.0 */
/* What sluice_mongo.so exports. */
#include "adapter/mongo_store.h"

SLUICE_EXPORT const struct sluice_mongo_module *sluice_mongo_module_v1(void);

const struct sluice_mongo_module *sluice_mongo_module_v1(void)
{
    static const struct sluice_mongo_module module = {.version = SLUICE_VERSION,
                                                      .config_size =
                                                          sizeof(struct sluice_mongo_config),
                                                      .create = sluice_mongo_store_create};
    return &module;
}
