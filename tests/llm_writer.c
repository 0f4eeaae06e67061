/* SPDX-License-Identifier: Apache-2.0 */
#include "llm_writer.h"

#include "adapter/openai.h"

#define REQUEST_SIZE_MAX 1000000u

sluice_rc llm_writer_write(struct sluice_llm *llm, const struct sluice_llm_question *question,
                           sluice_bytes *request, struct sluice_err *err)
{
    struct llm_writer *w = (struct llm_writer *)llm;
    const struct sluice_openai_quirks quirks = {0};
    sluice_growbuf_clear(&w->out);
    sluice_rc rc = sluice_openai_request(&w->out, question, &quirks, err);
    if (rc == SLUICE_OK) {
        *request = (sluice_bytes){w->out.data, w->out.len};
    }
    return rc;
}

void llm_writer_open(struct llm_writer *w, const struct sluice_allocator *allocator)
{
    static const struct sluice_llm_ops ops = {.write = llm_writer_write};
    w->llm.ops = &ops;
    sluice_growbuf_init(&w->out, allocator, REQUEST_SIZE_MAX);
}

void llm_writer_close(struct llm_writer *w)
{
    sluice_growbuf_fini(&w->out);
}
