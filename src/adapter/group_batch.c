/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/group_batch.h"

#include "adapter/doc_check.h"
#include <string.h>

#define SEEN_MAX (SLUICE_GROUP_SEEN_SIZE / 2) /* half full: probes stay short */

static size_t slot_of(const struct sluice_group_batch *batch, uint64_t hash)
{
    size_t slot = (size_t)hash & (SLUICE_GROUP_SEEN_SIZE - 1);
    while (batch->seen[slot] != 0 && batch->seen[slot] != hash) {
        slot = (slot + 1) & (SLUICE_GROUP_SEEN_SIZE - 1);
    }
    return slot;
}

/* Does it share a document with an operation before it? All of its documents count as seen
 * afterwards: even if it has to wait, those behind it must not overtake it. */
static int is_conflicting(struct sluice_group_batch *batch, const struct sluice_group_op *op)
{
    uint64_t hashes[SLUICE_EFFECTS_MAX];
    int conflict = 0;
    for (uint32_t i = 0; i < op->docs_count; i++) {
        hashes[i] = sluice_doc_hash(&op->docs[i]);
        conflict = conflict || batch->seen[slot_of(batch, hashes[i])] != 0;
    }
    for (uint32_t i = 0; i < op->docs_count; i++) {
        size_t slot = slot_of(batch, hashes[i]);
        batch->seen_count += batch->seen[slot] == 0;
        batch->seen[slot] = hashes[i];
    }
    return conflict;
}

static void screen_find(struct sluice_group_op *op)
{
    struct sluice_err err = {0};
    sluice_rc rc = sluice_doc_check_name(&op->docs[0], &err);
    if (rc != SLUICE_OK) {
        sluice_group_fail(op, SLUICE_FATE_PERMANENT, rc, 0, "%s", err.text);
    }
}

static void screen_put(struct sluice_group_op *op, enum sluice_doc_format format)
{
    for (uint32_t i = 0; i < op->docs_count; i++) {
        struct sluice_err err = {0};
        sluice_rc rc = sluice_doc_check(&op->docs[i], format, &err);
        if (rc != SLUICE_OK) {
            sluice_group_fail(op, SLUICE_FATE_PERMANENT, rc, i, "%s", err.text);
            return;
        }
    }
    if (op->docs_count == 0) {
        sluice_group_ok(op);
    }
}

void sluice_group_screen(struct sluice_group_op *op, enum sluice_doc_format format, int64_t now_ms,
                         uint32_t timeout_ms)
{
    int64_t waited_ms = now_ms - op->queued_ms;
    if (waited_ms > timeout_ms) {
        sluice_group_fail(op, SLUICE_FATE_UNREACHABLE, SLUICE_ERR_TIMEOUT, 0,
                          "waited %lld ms for the store, not tried", (long long)waited_ms);
    } else if (op->kind == SLUICE_GROUP_FIND) {
        screen_find(op);
    } else if (op->kind == SLUICE_GROUP_PUT) {
        screen_put(op, format);
    }
}

static int is_fitting(const struct sluice_group_batch *batch, const struct sluice_group_op *op)
{
    return batch->count == 0 || (op->docs_count <= SLUICE_GROUP_DOCUMENTS_MAX - batch->documents &&
                                 batch->bytes <= SLUICE_GROUP_BYTES_MAX &&
                                 op->bytes <= SLUICE_GROUP_BYTES_MAX - batch->bytes);
}

void sluice_group_batch_form(struct sluice_group_batch *batch, struct sluice_group_list *backlog,
                             struct sluice_group_list *ended, enum sluice_doc_format format,
                             int64_t now_ms, uint32_t timeout_ms)
{
    struct sluice_group_list waiting = {NULL, NULL};
    struct sluice_group_op *op;
    memset(batch, 0, sizeof *batch);
    while (batch->count < SLUICE_GROUP_MESSAGES_MAX &&
           batch->seen_count + SLUICE_EFFECTS_MAX <= SEEN_MAX &&
           (op = sluice_group_list_pop(backlog)) != NULL) {
        sluice_group_screen(op, format, now_ms, timeout_ms);
        if (op->is_settled) {
            sluice_group_list_push(ended, op);
            continue;
        }
        if (!is_fitting(batch, op)) {
            sluice_group_list_push(&waiting, op);
            break;
        }
        if (is_conflicting(batch, op)) {
            sluice_group_list_push(&waiting, op);
            continue;
        }
        batch->ops[batch->count++] = op;
        batch->documents += op->docs_count;
        batch->bytes += op->bytes;
    }
    sluice_group_list_append(&waiting, backlog);
    *backlog = waiting;
}
