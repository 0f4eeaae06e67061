/* SPDX-License-Identifier: Apache-2.0 */
#include "run/runtime_operation.h"

#include <stdlib.h>

struct operation *runtime_operation_new(struct runtime *rt, struct inflight *m, uint32_t index)
{
    struct operation *op = rt->free_operations;
    if (op != NULL) {
        rt->free_operations = op->next;
    } else if ((op = malloc(sizeof *op)) == NULL) {
        return NULL;
    }
    op->rt = rt;
    op->m = m;
    op->index = index;
    m->operations++;
    return op;
}

void runtime_inflight_free_if_done(struct runtime *rt, struct inflight *m)
{
    if (m->is_released && m->operations == 0) {
        inflight_close(m, rt->source);
        free(m);
    }
}

static void operation_give_back(struct operation *op)
{
    struct runtime *rt = op->rt;
    op->m->operations--;
    op->next = rt->free_operations;
    rt->free_operations = op;
}

void runtime_operation_refused(struct runtime *rt, struct inflight *m, struct operation *op)
{
    if (op != NULL) {
        operation_give_back(op);
    }
    runtime_owe(rt, m);
}

struct inflight *runtime_operation_end(struct operation *op)
{
    struct runtime *rt = op->rt;
    struct inflight *m = op->m;
    operation_give_back(op);
    if (m->is_released) {
        runtime_inflight_free_if_done(rt, m);
        return NULL;
    }
    return m;
}

void runtime_operations_free(struct runtime *rt)
{
    while (rt->free_operations != NULL) {
        struct operation *next = rt->free_operations->next;
        free(rt->free_operations);
        rt->free_operations = next;
    }
}
