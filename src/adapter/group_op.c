/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/group_op.h"

#include <stdio.h>
#include <string.h>

void sluice_group_op_settle(struct sluice_group_op *op, enum sluice_fate fate, sluice_rc rc)
{
    if (!op->is_settled) {
        op->is_settled = 1;
        op->fate = fate;
        op->rc = rc;
    }
}

void sluice_group_ok(struct sluice_group_op *op)
{
    sluice_group_op_settle(op, SLUICE_FATE_OK, SLUICE_OK);
}

void sluice_group_fail(struct sluice_group_op *op, enum sluice_fate fate, sluice_rc rc,
                       uint32_t failed_doc, const char *format, ...)
{
    if (op->is_settled) {
        return;
    }
    sluice_group_op_settle(op, fate, rc);
    op->failed_doc = failed_doc;
    char text[SLUICE_ERR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t size = strlen(text) + 1;
    op->text = sluice_mem_alloc(op->allocator, size, 1);
    if (op->text != NULL) {
        memcpy(op->text, text, size);
    }
}

void sluice_group_found(struct sluice_group_op *op, sluice_bytes head, sluice_bytes tail)
{
    if (op->is_settled) {
        return;
    }
    /* Both lie in memory at the same time, so their sum does not overflow. */
    char *copy = sluice_mem_alloc(op->allocator, head.len + tail.len, 1);
    if (copy == NULL) {
        sluice_group_fail(op, SLUICE_FATE_RETRY, SLUICE_ERR_NOMEM, 0,
                          "no memory for a document of %zu bytes", head.len + tail.len);
        return;
    }
    if (head.len > 0) {
        memcpy(copy, head.data, head.len);
    }
    if (tail.len > 0) {
        memcpy(copy + head.len, tail.data, tail.len);
    }
    op->found.data = copy;
    op->found.len = head.len + tail.len;
    sluice_group_ok(op);
}

void sluice_group_missing(struct sluice_group_op *op)
{
    sluice_group_fail(op, SLUICE_FATE_BAD_ANSWER, SLUICE_ERR_NOT_FOUND, 0,
                      "collection %s: no document with this _id", op->docs[0].collection);
}

static const char *text_of(const struct sluice_group_op *op)
{
    if (op->text != NULL) {
        return op->text;
    }
    if (op->fate == SLUICE_FATE_OK) {
        return "";
    }
    return op->fate == SLUICE_FATE_CANCELLED ? "the store is closing" : "out of memory";
}

void sluice_group_op_deliver(struct sluice_group_op *op)
{
    sluice_group_op_settle(op, SLUICE_FATE_CANCELLED, SLUICE_ERR_CANCELLED);
    struct sluice_store_done done = {.fate = op->fate,
                                     .rc = op->rc,
                                     .failed_doc = op->failed_doc,
                                     .text = text_of(op),
                                     .found = {.data = op->found.data, .len = op->found.len}};
    op->done(op->ctx, &done);
    sluice_mem_free(op->allocator, op->text);
    sluice_mem_free(op->allocator, op->found.data);
    op->text = NULL;
    op->found.data = NULL;
}

void sluice_group_list_push(struct sluice_group_list *list, struct sluice_group_op *op)
{
    op->next = NULL;
    if (list->last == NULL) {
        list->first = op;
    } else {
        list->last->next = op;
    }
    list->last = op;
}

struct sluice_group_op *sluice_group_list_pop(struct sluice_group_list *list)
{
    struct sluice_group_op *op = list->first;
    if (op != NULL) {
        list->first = op->next;
        if (list->first == NULL) {
            list->last = NULL;
        }
        op->next = NULL;
    }
    return op;
}

void sluice_group_list_append(struct sluice_group_list *list, struct sluice_group_list *more)
{
    if (more->first == NULL) {
        return;
    }
    if (list->last == NULL) {
        list->first = more->first;
    } else {
        list->last->next = more->first;
    }
    list->last = more->last;
    *more = (struct sluice_group_list){NULL, NULL};
}
