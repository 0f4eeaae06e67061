/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that take effect: staged while the handler runs, serialised at the call. */
#include "run/turn.h"

#include "codec/bson.h"
#include "codec/fixed.h"
#include "codec/proto_json.h"
#include "codec/protobuf.h"
#include <stdio.h>
#include <string.h>

static uint32_t same_collection(const struct turn *t, const char *collection)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->docs_count; i++) {
        count += strcmp(t->docs[i].collection, collection) == 0;
    }
    return count;
}

static const char *doc_id(struct turn *t, const char *collection, const char *own)
{
    struct sluice_arena *a = &t->host->scratch;
    if (own != NULL) {
        return sluice_arena_text(a, own);
    }
    uint32_t before = same_collection(t, collection);
    if (before == 0) {
        return sluice_arena_text(a, message_key(t));
    }
    char text[SLUICE_KEY_MAX + 16];
    (void)snprintf(text, sizeof text, "%s/%u", message_key(t), before + 1);
    return sluice_arena_text(a, text);
}

static int is_full(const struct turn *t)
{
    return t->docs_count + t->outputs_count >= SLUICE_EFFECTS_MAX;
}

sluice_rc turn_store(sluice_turn *base, const char *collection, const char *id,
                     const struct ProtobufCMessage *message)
{
    struct turn *t;
    sluice_rc rc = turn_enter_going(base, "store", &t);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (message == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "store", "the message is NULL");
    }
    if (!is_collection_name(collection)) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "store: collection",
                            "expected [A-Za-z0-9_-]{1,64}");
    }
    if (id != NULL && (id[0] == '\0' || strlen(id) > SLUICE_KEY_MAX)) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "store: id", "expected 1 to 256 bytes");
    }
    if (is_full(t)) {
        return turn_mistake(t, SLUICE_ERR_TOO_LARGE, "store", "more than 64 documents and outputs");
    }
    struct sluice_err err = {.rc = SLUICE_OK};
    struct sluice_doc doc = {.collection = sluice_arena_text(&t->host->scratch, collection),
                             .id = doc_id(t, collection, id)};
    rc = t->host->doc_format == SLUICE_DOC_JSON
             ? sluice_proto_to_doc_json(message, &t->host->scratch, &doc.body, &err)
             : sluice_proto_to_bson(message, &t->host->scratch, &doc.body, &err);
    if (rc == SLUICE_ERR_NOMEM || t->host->scratch.is_exhausted) {
        return turn_out_of_memory(t);
    }
    if (rc != SLUICE_OK) {
        return turn_mistake(t, rc, "store", err.text);
    }
    t->docs[t->docs_count++] = doc;
    return SLUICE_OK;
}

sluice_rc turn_publish(sluice_turn *base, const char *output,
                       const struct ProtobufCMessage *message)
{
    struct turn *t;
    sluice_rc rc = turn_enter_going(base, "publish", &t);
    if (rc != SLUICE_OK) {
        return rc;
    }
    if (output == NULL || message == NULL) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "publish", "output or message is NULL");
    }
    uint32_t index = 0;
    while (index < t->host->outputs_count && strcmp(t->host->outputs[index].name, output) != 0) {
        index++;
    }
    if (index == t->host->outputs_count) {
        return turn_mistake(t, SLUICE_ERR_VALIDATION, "publish: no such output of this worker",
                            output);
    }
    if (is_full(t)) {
        return turn_mistake(t, SLUICE_ERR_TOO_LARGE, "publish",
                            "more than 64 documents and outputs");
    }
    struct staged_output out = {.output = index,
                                .type = sluice_pb_type_name(sluice_pb_descriptor(message))};
    struct sluice_err err = {.rc = SLUICE_OK};
    rc = sluice_pb_encode(message, &t->host->scratch, &out.body, &err);
    if (rc == SLUICE_ERR_NOMEM) {
        return turn_out_of_memory(t);
    }
    if (rc != SLUICE_OK) {
        return turn_mistake(t, rc, "publish", err.text);
    }
    /* Room for our headers: an output over the server's limit can never be published. */
    if (t->host->payload_max != 0 && out.body.len + 1024 > t->host->payload_max) {
        inflight_blame(t->m, "publish",
                       "output %s: %zu bytes and 1024 for headers, over the server's max_payload "
                       "of %zu: make it smaller, or raise max_payload there",
                       output, out.body.len, t->host->payload_max);
        return SLUICE_REJECT;
    }
    uint32_t n = 1;
    for (uint32_t i = 0; i < t->outputs_count; i++) {
        n += t->outputs[i].output == index;
    }
    char id[SLUICE_KEY_MAX + 2 * SLUICE_NAME_MAX + 32];
    struct sluice_fixed text = sluice_fixed_in(id, sizeof id);
    sluice_fixed_text(&text, t->host->plugin->worker.name);
    sluice_fixed_text(&text, ":");
    sluice_fixed_text(&text, message_key(t));
    sluice_fixed_text(&text, ":");
    sluice_fixed_text(&text, output);
    sluice_fixed_text(&text, ":");
    sluice_fixed_uint64(&text, n);
    out.message_id = sluice_arena_text(&t->host->scratch, id);
    if (out.message_id == NULL) {
        return turn_out_of_memory(t);
    }
    t->outputs[t->outputs_count++] = out;
    return SLUICE_OK;
}
