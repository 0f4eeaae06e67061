/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of one stream or consumer against what is expected of it, field by field: what
 * differs is told, or brought in line in the copy that will be sent. For nats_provision.c and
 * nats_inspect.c alone. */
#ifndef SLUICE_ADAPTER_NATS_EXPECT_H
#define SLUICE_ADAPTER_NATS_EXPECT_H

#include "adapter/nats_api.h"
#include "adapter/nats_provision.h"
#include <cjson/cJSON.h>

#define SLUICE_NATS_MS           1000000.0 /* nanoseconds */
#define SLUICE_NATS_OBJECTS_SIZE 1024u

struct sluice_nats_provision {
    const struct sluice_nats_plan *plan;
    struct sluice_nats_api *api;
    int mode;
    sluice_nats_told_fn *told;
    void *ctx;
    struct sluice_nats_facts *facts;
    struct sluice_err *err;
    struct sluice_err first; /* difference */
    uint32_t differences;    /* told so far */
    /* Which objects differ, the first included, each once and with an end of its own. */
    char objects[SLUICE_NATS_OBJECTS_SIZE];
    size_t objects_len;
};

/* The object under inspection. */
struct sluice_nats_object {
    struct sluice_nats_provision *p;
    const char *kind, *name; /* "stream", "ORDERS" */
    cJSON *config;           /* as the server has it */
    int is_changed;          /* `config` was altered and is to be sent */
};

/* A note: works, but a promise is weaker. */
enum sluice_nats_weight { SLUICE_NATS_NOTE, SLUICE_NATS_DIFFERENCE };

/* ---- Telling ---- */

SLUICE_PRINTF(3, 4)
void sluice_nats_tell(const struct sluice_nats_provision *p, const char *verb, const char *format,
                      ...);
/* `object` names it, as in "stream ORDERS". */
void sluice_nats_differs(struct sluice_nats_provision *p, const char *object, sluice_rc rc,
                         const char *what);
/* The error for all differences: the first as it was told, then the names of the other objects, as
 * many as there is room for. Returns its code; there is a difference. */
sluice_rc sluice_nats_differences(const struct sluice_nats_provision *p, struct sluice_err *err);
void sluice_nats_field_differs(const struct sluice_nats_object *o, enum sluice_nats_weight weight,
                               const char *field, const char *expected);

/* ---- Fields ---- */

/* 0, or "", when it is absent. */
double sluice_nats_number_of(const struct sluice_nats_object *o, const char *field);
const char *sluice_nats_text_of(const struct sluice_nats_object *o, const char *field);
/* Replace a member; without memory the verification that follows finds the old one. */
void sluice_nats_put(cJSON *json, const char *field, cJSON *value);
/* May this field be brought in line? If so it is done. Takes `value`. */
int sluice_nats_may_fix(struct sluice_nats_object *o, const char *field, cJSON *value);

void sluice_nats_expect_number(struct sluice_nats_object *o, enum sluice_nats_weight weight,
                               const char *field, double wanted, const char *expected);
/* A limit that must leave room: 0 and below mean none. */
void sluice_nats_expect_room(struct sluice_nats_object *o, enum sluice_nats_weight weight,
                             const char *field, double least, const char *expected);
void sluice_nats_expect_off(struct sluice_nats_object *o, const char *field);
void sluice_nats_expect_text(struct sluice_nats_object *o, enum sluice_nats_weight weight,
                             const char *field, const char *wanted);

#endif
