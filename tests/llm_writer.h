/* SPDX-License-Identifier: Apache-2.0 */
/* Of an LLM only what a handler's run needs: its requests are written, nobody is asked. */
#ifndef SLUICE_TESTS_LLM_WRITER_H
#define SLUICE_TESTS_LLM_WRITER_H

#include "adapter/growbuf.h"
#include "port/llm.h"

struct llm_writer {
    struct sluice_llm llm; /* first */
    struct sluice_growbuf out;
};

void llm_writer_open(struct llm_writer *w, const struct sluice_allocator *allocator);
void llm_writer_close(struct llm_writer *w);
/* For tests whose LLM can do more: the port has to be an llm_writer's. */
sluice_rc llm_writer_write(struct sluice_llm *llm, const struct sluice_llm_question *question,
                           sluice_bytes *request, struct sluice_err *err);

#endif
