/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kv.h"

#include "sim/world.h"
#include <string.h>

static void clear(struct sim_kv_entry *e)
{
    memset(e, 0, offsetof(struct sim_kv_entry, answers));
}

void sim_kv_init(struct sim_world *w)
{
    for (uint32_t key = 0; key <= w->inputs_count; key++) {
        clear(&w->kv.entries[key]);
    }
    w->kv.writes_count = 0;
}

int sim_kv_keep(struct sim_world *w, uint32_t key, const struct sluice_journaled *id,
                uint64_t value, uint64_t *existing)
{
    struct sim_kv_entry *e = &w->kv.entries[key];
    for (uint32_t i = 0; i < e->answers_count; i++) {
        const struct sluice_journaled *there = &e->answers[i].id;
        if (there->hash.low == id->hash.low && there->hash.high == id->hash.high &&
            there->occurrence == id->occurrence && there->epoch == id->epoch) {
            *existing = e->answers[i].value;
            return e->answers[i].value == value;
        }
    }
    if (e->answers_count == SIM_KEPT_MAX) {
        memmove(&e->answers[0], &e->answers[1], (SIM_KEPT_MAX - 1) * sizeof e->answers[0]);
        e->answers_count--;
        e->answers_dropped++;
    }
    e->answers[e->answers_count++] =
        (struct sim_kept){*id, value, w->now_ms, (uint8_t)sim_chance(&w->rng, w->plan.bad_answers)};
    w->kv.writes_count++;
    w->totals.answers_kept++;
    return 1;
}

void sim_kv_record(struct sim_world *w, uint32_t key, const struct sluice_record *record,
                   uint64_t issue, uint32_t writer)
{
    struct sim_kv_entry *e = &w->kv.entries[key];
    if (e->record_writer == writer && e->record_issue > issue) {
        return;
    }
    e->record = *record;
    e->record_issue = issue;
    e->record_writer = writer;
    w->kv.writes_count++;
}

void sim_kv_age(struct sim_world *w)
{
    for (uint32_t key = 0; key <= w->inputs_count; key++) {
        struct sim_kv_entry *e = &w->kv.entries[key];
        uint32_t dropped = e->answers_dropped + e->answers_count;
        clear(e);
        e->answers_dropped = dropped;
    }
    w->kv.writes_count = 0;
}
