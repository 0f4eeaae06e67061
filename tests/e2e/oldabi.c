/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in that claims a later minor of the ABI than the host has. */
#include <sluice/worker.h>

static sluice_rc nothing(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_OK;
}

SLUICE_EXPORT const sluice_worker *sluice_worker_entry_v1(void);

const sluice_worker *sluice_worker_entry_v1(void)
{
    static const sluice_worker worker = {.magic = SLUICE_WORKER_MAGIC,
                                         .abi_major = SLUICE_ABI_MAJOR,
                                         .abi_minor = SLUICE_ABI_MINOR + 1,
                                         .struct_size = sizeof(sluice_worker) + 8,
                                         .name = "future",
                                         .version = "1.0",
                                         .on_message = nothing};
    return &worker;
}
