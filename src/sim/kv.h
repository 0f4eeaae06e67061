/* SPDX-License-Identifier: Apache-2.0 */
/* A model of the journal's bucket: per message identity one record (the last write wins) and
 * answers (create-only: the first one wins). */
#ifndef SLUICE_SIM_KV_H
#define SLUICE_SIM_KV_H

#include "sim/plan.h"

#define SIM_KEPT_MAX 96u

struct sim_kept {
    struct sluice_journaled id;
    uint64_t value;
    int64_t kept_ms;
    uint8_t is_bad; /* what is stored cannot be used: every replay is a miss */
};

struct sim_kv_entry {
    struct sluice_record record; /* all zero when there is none */
    uint64_t record_issue;       /* order in which record writes were sent, over all workers */
    uint32_t record_writer;      /* worker and life that sent it */
    uint32_t answers_count;
    uint32_t answers_dropped; /* too old, or too many */
    struct sim_kept answers[SIM_KEPT_MAX];
};

struct sim_kv {
    struct sim_kv_entry entries[SIM_INPUTS_MAX + 1]; /* by key */
    uint64_t writes_count;
};

struct sim_world;

void sim_kv_init(struct sim_world *w);
/* 1: created, or there with the same content. 0: *existing is another's answer. */
int sim_kv_keep(struct sim_world *w, uint32_t key, const struct sluice_journaled *id,
                uint64_t value, uint64_t *existing);
/* A record sent as number `issue` by `writer`. A late copy never overtakes a newer write of the
 * same writer: they share a connection. */
void sim_kv_record(struct sim_world *w, uint32_t key, const struct sluice_record *record,
                   uint64_t issue, uint32_t writer);
/* Everything is older than the bucket's age limit now. */
void sim_kv_age(struct sim_world *w);

#endif
