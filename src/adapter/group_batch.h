/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the waiting messages are committed together. Pure; of one thread. */
#ifndef SLUICE_ADAPTER_GROUP_BATCH_H
#define SLUICE_ADAPTER_GROUP_BATCH_H

#include "adapter/group_op.h"

#define SLUICE_GROUP_MESSAGES_MAX  512u
#define SLUICE_GROUP_DOCUMENTS_MAX 1024u
#define SLUICE_GROUP_BYTES_MAX     (8u * 1024u * 1024u) /* a larger message goes alone */
#define SLUICE_GROUP_SEEN_SIZE     4096u                /* a power of two */

struct sluice_group_batch {
    uint32_t count;
    uint32_t documents;
    size_t bytes;
    struct sluice_group_op *ops[SLUICE_GROUP_MESSAGES_MAX];
    uint64_t seen[SLUICE_GROUP_SEEN_SIZE]; /* hashes of the documents looked at; 0: free */
    uint32_t seen_count;
};

/* Choose the next group from the front of `backlog`. A message whose document is in the group, or
 * in a message that waits before it, has to wait: no two messages of a group write the same
 * document, and writes of one document keep their order. What waits stays in `backlog` in its
 * order. Messages that must not be tried (waited longer than timeout_ms, not fit for any store,
 * without documents) are settled and moved to `ended`. Everything left in the batch before is
 * forgotten. */
void sluice_group_batch_form(struct sluice_group_batch *batch, struct sluice_group_list *backlog,
                             struct sluice_group_list *ended, enum sluice_doc_format format,
                             int64_t now_ms, uint32_t timeout_ms);

/* Settle an operation that need not, or must not, be tried. */
void sluice_group_screen(struct sluice_group_op *op, enum sluice_doc_format format, int64_t now_ms,
                         uint32_t timeout_ms);

#endif
