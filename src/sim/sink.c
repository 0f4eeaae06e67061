/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sink.h"

#include "sim/world.h"
#include <string.h>

void sim_sink_init(struct sim_world *w)
{
    memset(w->sink.sunk, 0, (w->inputs_count + 1u) * sizeof w->sink.sunk[0]);
    for (uint32_t i = 1; i <= SIM_WRITES_MAX; i++) {
        w->sink.writes[i].next_free = i < SIM_WRITES_MAX ? i + 1 : 0;
    }
    w->sink.first_free = 1;
}

int sim_sink_has_documents(const struct sim_world *w, uint32_t key, uint32_t count)
{
    uint32_t wanted = (1u << count) - 1u;
    return (w->sink.sunk[key].documents & wanted) == wanted;
}

static struct sim_output *find_output(struct sim_sunk *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->outputs_count; i++) {
        if (s->outputs[i].id == id) {
            return &s->outputs[i];
        }
    }
    return NULL;
}

int sim_sink_has_output(const struct sim_world *w, uint32_t key, uint64_t id)
{
    return find_output((struct sim_sunk *)(uintptr_t)&w->sink.sunk[key], id) != NULL;
}

/* An upsert: the newest is what is there. */
static void store(struct sim_world *w, const struct sim_write *write)
{
    struct sim_sunk *s = &w->sink.sunk[write->key];
    sim_judge_content(w, write->key, &write->content, "a document");
    s->documents |= (1u << write->count) - 1u;
    for (uint32_t i = 0; i < write->count; i++) {
        s->document_contents[i] = write->content;
    }
}

/* As the stream does: an id seen within the window is answered as a duplicate and not stored. */
static void publish(struct sim_world *w, uint32_t key, uint64_t id,
                    const struct sim_content *content)
{
    struct sim_sunk *s = &w->sink.sunk[key];
    struct sim_output *o = find_output(s, id);
    if (o == NULL) {
        sim_judge_content(w, key, content, "an output");
        s->outputs[s->outputs_count++] = (struct sim_output){id, w->now_ms, 1, *content};
        sim_judge_output(w, key, id, 1);
    } else if (o->stored_ms + w->plan.duplicate_window_ms <= w->now_ms) {
        sim_judge_content(w, key, content, "an output");
        o->content = *content;
        o->copies++;
        o->stored_ms = w->now_ms;
        w->totals.duplicates_outside_window++;
        sim_judge_output(w, key, id, o->copies);
    }
}

static void bury(struct sim_world *w, uint32_t sequence, uint8_t failure)
{
    struct sim_sunk *s = &w->sink.sunk[sequence];
    if (s->dead_copies > 0 && s->dead_ms + w->plan.duplicate_window_ms > w->now_ms) {
        return;
    }
    w->totals.dead += s->dead_copies == 0;
    s->dead_copies++;
    sim_judge_dead(w, sequence, s->dead_copies);
    s->dead_ms = w->now_ms;
    s->dead_failure = failure;
}

int sim_sink_write(struct sim_world *w, const struct sim_write *write, uint64_t *value)
{
    switch ((enum sim_target)write->target) {
    case SIM_TARGET_STORE:
        store(w, write);
        return 1;
    case SIM_TARGET_PUBLISH:
        publish(w, write->key, write->value, &write->content);
        return 1;
    case SIM_TARGET_BURY:
        bury(w, write->sequence, write->count);
        return 1;
    case SIM_TARGET_KEEP:
        *value = write->value;
        return sim_kv_keep(w, write->key, &write->id, write->value, value);
    case SIM_TARGET_RECORD:
        sim_kv_record(w, write->key, &write->record, write->value, write->writer);
        return 1;
    default:
        return 1; /* calls change nothing that lasts */
    }
}

uint32_t sim_sink_defer(struct sim_world *w, const struct sim_write *write)
{
    uint32_t index = w->sink.first_free;
    if (index != 0) {
        struct sim_write *place = &w->sink.writes[index];
        w->sink.first_free = place->next_free;
        *place = *write;
    }
    return index;
}

int sim_sink_undefer(struct sim_world *w, uint32_t index, uint64_t *value)
{
    struct sim_write *place = &w->sink.writes[index];
    int done = sim_sink_write(w, place, value);
    place->next_free = w->sink.first_free;
    w->sink.first_free = index;
    return done;
}
