/* SPDX-License-Identifier: Apache-2.0 */
/* What lasts: documents in the store, outputs and dead letters in their streams. */
#ifndef SLUICE_SIM_SINK_H
#define SLUICE_SIM_SINK_H

#include "sim/plan.h"
#include "sim/script.h"

/* What a document or an output is made of: the paid answers that the run of the handler was handed.
 * Both numbers are mixed of all of them, in order. */
struct sim_content {
    uint64_t questions; /* with their epochs */
    uint64_t answers;
};

struct sim_output {
    uint64_t id;
    int64_t stored_ms;          /* newest copy */
    uint32_t copies;            /* more than one: outside of the duplicate window */
    struct sim_content content; /* of the newest */
};

struct sim_sunk {
    uint32_t documents; /* bit set of document numbers that are durable */
    struct sim_content document_contents[SIM_DOCUMENTS_MAX];
    uint32_t outputs_count;
    struct sim_output outputs[SIM_OUTPUTS_MAX * SIM_VERSIONS]; /* by key */
    uint32_t dead_copies;                                      /* by sequence */
    uint8_t dead_failure; /* enum sluice_failure of the newest */
    int64_t dead_ms;
};

/* A change of the world that a request asks for and that takes effect at its own time. */
struct sim_write {
    uint8_t target; /* enum sim_target */
    uint8_t count;  /* STORE: documents; BURY: failure */
    uint32_t key, sequence;
    uint64_t value;              /* KEEP: content; PUBLISH: id; RECORD: issue */
    uint32_t writer;             /* RECORD */
    struct sluice_journaled id;  /* KEEP */
    struct sim_content content;  /* STORE, PUBLISH */
    struct sluice_record record; /* RECORD */
    uint32_t next_free;
};

#define SIM_WRITES_MAX 256u

struct sim_sink {
    struct sim_sunk sunk[SIM_INPUTS_MAX + 1];
    struct sim_write writes[SIM_WRITES_MAX + 1]; /* pending; index 0 is none */
    uint32_t first_free;
};

struct sim_world;

void sim_sink_init(struct sim_world *w);
int sim_sink_has_documents(const struct sim_world *w, uint32_t key, uint32_t count);
int sim_sink_has_output(const struct sim_world *w, uint32_t key, uint64_t id);
/* Make the change now. *value becomes the journaled content (KEEP); 0: it is another's. */
int sim_sink_write(struct sim_world *w, const struct sim_write *write, uint64_t *value);
/* Put a change aside for later; 0 when there is no place. */
uint32_t sim_sink_defer(struct sim_world *w, const struct sim_write *write);
/* Make the change of `index` now and forget it. */
int sim_sink_undefer(struct sim_world *w, uint32_t index, uint64_t *value);

#endif
