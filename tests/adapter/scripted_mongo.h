/* SPDX-License-Identifier: Apache-2.0 */
/* A server that speaks just enough of MongoDB's protocol to be asked for upserts, and answers them
 * as a case wants: wrongly, late or not at all. */
#ifndef SLUICE_TESTS_ADAPTER_SCRIPTED_MONGO_H
#define SLUICE_TESTS_ADAPTER_SCRIPTED_MONGO_H

#include <bson/bson.h>
#include <stdint.h>

enum scripted_answer { SCRIPTED_REPLY, SCRIPTED_CLOSE, SCRIPTED_SILENCE };
enum { SCRIPTED_IDS_MAX = 64 };

/* One update command. `reply` is empty; ok, n and the like are the script's. On the server's
 * thread. */
typedef enum scripted_answer scripted_fn(void *ctx, const char *const *ids, uint32_t count,
                                         bson_t *reply);

struct scripted_mongo;

struct scripted_mongo *scripted_mongo_start(scripted_fn *script, void *ctx);
uint16_t scripted_mongo_port(const struct scripted_mongo *server);
/* The next update command waits until the gate is opened. */
void scripted_mongo_close_gate(struct scripted_mongo *server);
void scripted_mongo_await_at_gate(struct scripted_mongo *server);
void scripted_mongo_open_gate(struct scripted_mongo *server);
void scripted_mongo_stop(struct scripted_mongo *server);

#endif
