/* SPDX-License-Identifier: Apache-2.0 */
/* Counting calls from outside the worker: what was asked, what was answered, per idempotency key.
 */
#ifndef SLUICE_LLMSIM_LEDGER_H
#define SLUICE_LLMSIM_LEDGER_H

#include "llmsim/server.h"
#include <cjson/cJSON.h>

struct llmsim_ledger;

struct llmsim_ledger *llmsim_ledger_create(void); /* NULL without memory */
void llmsim_ledger_destroy(struct llmsim_ledger *l); /* accepts NULL */
/* All: any thread. A call was received: returns how many calls this key has had before. */
unsigned llmsim_ledger_call(struct llmsim_ledger *l, const char *key);
/* What was decided about it. */
void llmsim_ledger_fault(struct llmsim_ledger *l, enum llmsim_fault fault);
/* Its complete answer was handed to the socket, now. Only a fault-free answer counts as paid for.
 */
void llmsim_ledger_answered(struct llmsim_ledger *l, const char *key);
/* A call that was received is over, however. */
void llmsim_ledger_ended(struct llmsim_ledger *l, const char *key);
void llmsim_ledger_reset(struct llmsim_ledger *l);
cJSON *llmsim_ledger_json(struct llmsim_ledger *l, int with_keys);

#endif
