/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that is right but for one thing, which VARIANT names. Built once for each; OLD against
 * the header of an older minor. */
#include <protobuf-c/protobuf-c.h>
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
#define BAD_KEY      17
#define LIST_KEY     18
#define EMPTY_KEY    19
#define ROUTE_KEY    20
#define WORKER_KEY   21
#define BAD_SUBJECT  22
#define NO_ROUTE     23
#define BAD_INPUT    24
#define ROUTES       25
#define HAS_ROUTES   ((VARIANT >= ROUTE_KEY && VARIANT <= NO_ROUTE) || VARIANT == ROUTES)

static sluice_rc nothing(sluice_turn *t, const sluice_msg *in)
{
    (void)t;
    (void)in;
    return SLUICE_OK;
}

/* Two types of one field each, as protobuf-c describes them. */
static const ProtobufCFieldDescriptor text = {
    .name = "id", .id = 1, .label = PROTOBUF_C_LABEL_NONE, .type = PROTOBUF_C_TYPE_STRING};
static const ProtobufCFieldDescriptor list = {
    .name = "ids", .id = 1, .label = PROTOBUF_C_LABEL_REPEATED, .type = PROTOBUF_C_TYPE_STRING};
static const unsigned sorted[] = {0};
#define TYPE(type_name, field)                                                                     \
    {                                                                                              \
        .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC, .name = (type_name), .n_fields = 1,         \
        .fields = (field), .fields_sorted_by_name = sorted                                         \
    }
static const ProtobufCMessageDescriptor one = TYPE("v.One", &text);
static const ProtobufCMessageDescriptor other = TYPE("v.Other", &list);
static const ProtobufCMessageDescriptor none = {.magic = 0};

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
static const sluice_route routes[] = {
    {.on_message = nothing, .subject = VARIANT == BAD_SUBJECT ? "a.>.b" : "a.>"},
    {.on_message = VARIANT == NO_ROUTE ? NULL : nothing,
     .input = VARIANT == WORKER_KEY ? &other : &one,
     .key_field = VARIANT == ROUTE_KEY ? "ids" : NULL},
    {.on_message = NULL}};

static const sluice_worker worker = {
    .magic = VARIANT == NO_MAGIC ? 0 : SLUICE_WORKER_MAGIC,
    .abi_major = VARIANT == OTHER_MAJOR ? 7 : SLUICE_ABI_MAJOR,
    .abi_minor = VARIANT == NEWER_MINOR ? 99 : SLUICE_ABI_MINOR,
    .struct_size = VARIANT == OTHER_SIZE ? 40 : sizeof(sluice_worker),
    .kind = VARIANT == OTHER_KIND ? 9 : SLUICE_KIND_WORKER,
    .name = VARIANT == BAD_NAME ? "Not A Name" : "variant",
    .version = VARIANT == NO_VERSION ? "" : "1.0",
    .input = VARIANT == BAD_INPUT  ? &none
             : VARIANT == LIST_KEY ? &other
                                   : &one,
    .key_field = VARIANT == BAD_KEY     ? "idd"
                 : VARIANT == LIST_KEY  ? "ids"
                 : VARIANT == EMPTY_KEY ? ""
                                        : "id",
    .on_message = VARIANT == NO_HANDLER || HAS_ROUTES ? NULL : nothing,
    .routes = VARIANT == BOTH || HAS_ROUTES ? routes : NULL,
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
