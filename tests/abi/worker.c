/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that is right but for one thing, which VARIANT names. Built once for each; OLD against
 * the header of an older minor. */
#include <sluice/worker.h>

#define RIGHT        0
#define OLD          1
#define NO_MAGIC     2
#define OTHER_MAJOR  3
#define NEWER_MINOR  4
#define OTHER_SIZE   5
#define BAD_NAME     6
#define NO_VERSION   7
#define NO_HANDLER   8
#define BOTH         9
#define OTHER_KIND   10
#define BAD_OUTPUT   11
#define OUTPUT_TWICE 12
#define BAD_SERVICE  13
#define NO_ANSWER    14
#define OTHER_ENTRY  15
#define BAD_PROMPT   16

static sluice_rc nothing(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_OK;
}

static const char *const outputs[] = {"ready",
#if VARIANT == BAD_OUTPUT
                                      "not a name",
#elif VARIANT == OUTPUT_TWICE
                                      "ready",
#endif
                                      NULL};
#if VARIANT != OLD
static const char *const services[] = {
#if VARIANT == BAD_SERVICE
    "",
#endif
    "crm", NULL};
static const char *const prompts[] = {"question", VARIANT == BAD_PROMPT ? "a/b" : NULL, NULL};
#endif
static const sluice_route routes[] = {{.on_message = nothing}, {.on_message = NULL}};

static const sluice_worker worker = {
    .magic = VARIANT == NO_MAGIC ? 0 : SLUICE_WORKER_MAGIC,
    .abi_major = VARIANT == OTHER_MAJOR ? 7 : SLUICE_ABI_MAJOR,
    .abi_minor = VARIANT == NEWER_MINOR ? 99 : SLUICE_ABI_MINOR,
    .struct_size = VARIANT == OTHER_SIZE ? 40 : sizeof(sluice_worker),
    .kind = VARIANT == OTHER_KIND ? 9 : SLUICE_KIND_WORKER,
    .name = VARIANT == BAD_NAME ? "Not A Name" : "variant",
    .version = VARIANT == NO_VERSION ? "" : "1.0",
    .on_message = VARIANT == NO_HANDLER ? NULL : nothing,
    .routes = VARIANT == BOTH ? routes : NULL,
    .require = SLUICE_REQUIRE_NONE,
    .outputs = outputs,
#if VARIANT != OLD
    .services = services,
    .prompts = prompts,
#endif
};

#if VARIANT == OTHER_ENTRY
#define ENTRY sluice_worker_entry_v2
#else
#define ENTRY sluice_worker_entry_v1
#endif

SLUICE_EXPORT const sluice_worker *ENTRY(void);

const sluice_worker *ENTRY(void)
{
    (void)routes;
    return VARIANT == NO_ANSWER ? NULL : &worker;
}
