/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's calls and their answers. */
#include "port/clock.h"
#include "run/fallback.h"
#include "run/runtime_operation.h"
#include <string.h>

#define JOURNAL_LINE_MS 60000

static const struct sluice_journal_done starved = {
    .fate = SLUICE_FATE_NO_MEMORY, .rc = SLUICE_ERR_NOMEM, .text = RUNTIME_STARVED};

/* ---- Answers ---- */

/* Without its journal the worker goes on, slower, and pays again for what it would have found
 * there: said at once, then once a minute, not for each message. Called whether or not the message
 * still waits, as most do not after the journal's time-out. */
static void journal_note(struct runtime *rt, const struct sluice_journal_done *done)
{
    if (done->fate == SLUICE_FATE_OK) {
        if (rt->journal_failures != 0) {
            SLUICE_LOG(SLUICE_LOG_INFO, DONE, "journal.available", "",
                       SLUICE_F_NUMBER("failures", rt->journal_failures));
            rt->journal_failures = rt->journal_untold = 0;
            rt->journal_line_ms = 0;
        }
        return;
    }
    rt->journal_failures++;
    rt->journal_untold++;
    int64_t now = sluice_mono_ms();
    if (now >= rt->journal_line_ms) {
        SLUICE_LOG(SLUICE_LOG_WARN, WARN, "journal.unavailable", done->text,
                   SLUICE_F_NUMBER("failures", rt->journal_untold));
        rt->journal_untold = 0;
        rt->journal_line_ms = now + JOURNAL_LINE_MS;
    }
}

/* An answer of the journal may come when its message has gone, since nobody waits for a journal
 * that is away. The engine hears of it all the same, and so knows when the journal is back. */
static void kept(struct runtime *rt, struct sluice_ticket ticket, uint32_t step,
                 const struct sluice_journal_done *done)
{
    journal_note(rt, done);
    enum sluice_kept result = done->fate != SLUICE_FATE_OK ? SLUICE_KEPT_FAILED
                              : done->exists               ? SLUICE_KEPT_LOST_RACE
                                                           : SLUICE_KEPT_OK;
    struct sluice_event ev = {.kind = SLUICE_EV_KEPT,
                              .ticket = ticket,
                              .kept = {.step = (uint16_t)step, .result = (uint8_t)result}};
    runtime_drive(rt, &ev);
}

static void on_kept(void *ctx, const struct sluice_journal_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct sluice_ticket ticket = op->m->ticket;
    uint32_t step = op->index;
    (void)runtime_operation_end(op);
    kept(rt, ticket, step, done);
}

static void recorded(struct runtime *rt, struct sluice_ticket ticket,
                     const struct sluice_journal_done *done)
{
    journal_note(rt, done);
    struct sluice_event ev = {.kind = SLUICE_EV_RECORDED, .ticket = ticket};
    ev.fate = (uint8_t)runtime_fate_of(done->fate, done->rc);
    runtime_drive(rt, &ev);
}

static void on_recorded(void *ctx, const struct sluice_journal_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct sluice_ticket ticket = op->m->ticket;
    (void)runtime_operation_end(op);
    recorded(rt, ticket, done);
}

/* Nothing was read, or nobody waits for it any more. */
static void not_loaded(struct runtime *rt, struct sluice_ticket ticket, enum sluice_fate fate)
{
    struct sluice_event ev = {
        .kind = SLUICE_EV_LOADED, .ticket = ticket, .loaded = {.fate = (uint8_t)fate}};
    runtime_drive(rt, &ev);
}

/* The message by its own name when it has the journal of an original, else "". */
static const char *replay_name(const struct inflight *m, char text[FALLBACK_SIZE])
{
    const struct sluice_delivery *d = m->delivery;
    const struct sluice_journal_key own = {d->stream, d->sequence, d->stored_unix_ns};
    if (own.sequence == m->journal_key.sequence &&
        own.stored_unix_ns == m->journal_key.stored_unix_ns &&
        strcmp(own.stream, m->journal_key.stream) == 0) {
        return "";
    }
    fallback_write(&own, text);
    return text;
}

static void on_loaded(void *ctx, const struct sluice_journal_done *done)
{
    struct operation *op = ctx;
    struct runtime *rt = op->rt;
    struct sluice_ticket ticket = op->m->ticket;
    journal_note(rt, done);
    struct inflight *m = runtime_operation_end(op);
    if (m == NULL || done->fate != SLUICE_FATE_OK) {
        not_loaded(rt, ticket, runtime_fate_of(done->fate, done->rc));
        return;
    }
    uint32_t count =
        done->answers_count < SLUICE_JOURNALED_MAX ? done->answers_count : SLUICE_JOURNALED_MAX;
    struct sluice_journaled ids[SLUICE_JOURNALED_MAX];
    m->journaled = sluice_arena_alloc(&m->arena, count, sizeof *m->journaled);
    m->journaled_count = m->journaled == NULL ? 0 : count;
    for (uint32_t i = 0; i < m->journaled_count; i++) {
        sluice_bytes bytes = done->answers[i].bytes;
        ids[i] = done->answers[i].id;
        m->journaled[i] =
            (sluice_bytes){sluice_arena_copy(&m->arena, bytes.data, bytes.len), bytes.len};
    }
    if (m->arena.is_exhausted) {
        m->journaled_count = 0;
        not_loaded(rt, ticket, SLUICE_FATE_NO_MEMORY);
        return;
    }
    /* Whoever publishes a dead letter again wants it tried again: of its original it has the
     * answers that are not spent, and neither failures nor marks nor outputs that need not be sent.
     * Its own record it knows by its name, at whichever delivery: an earlier one may have ended
     * before it wrote any. */
    struct sluice_record anew = {.epoch = done->record.numbers.epoch};
    char replay[FALLBACK_SIZE];
    const char *writer = done->record.replay == NULL ? "" : done->record.replay;
    int is_anew = strcmp(replay_name(m, replay), writer) != 0;
    struct sluice_event ev = {.kind = SLUICE_EV_LOADED,
                              .ticket = ticket,
                              .loaded = {.fate = SLUICE_FATE_OK,
                                         .answers_count = m->journaled_count,
                                         .record = is_anew ? &anew : &done->record.numbers,
                                         .answers = ids}};
    if (!is_anew && done->record.text != NULL && m->reason[0] == '\0') {
        inflight_reason(m, done->record.text); /* of the last delivery */
    }
    runtime_drive(rt, &ev);
}

/* ---- Calls ---- */

void runtime_call_load(struct runtime *rt, struct inflight *m)
{
    struct sluice_journal *j = rt->config.journal;
    m->steps_count = 0;
    struct operation *op = runtime_operation_new(rt, m, 0);
    if (op == NULL || j->ops->load(j, &m->journal_key, on_loaded, op) != SLUICE_OK) {
        m->owed.load++;
        runtime_operation_refused(rt, m, op);
    }
}

void runtime_call_record(struct runtime *rt, struct inflight *m,
                         const struct sluice_record *numbers)
{
    char replay[FALLBACK_SIZE];
    struct sluice_journal_record record = {.numbers = *numbers,
                                           .failure = "",
                                           .step = m->failed_step == NULL ? "" : m->failed_step,
                                           .text = m->reason,
                                           .replay = replay_name(m, replay)};
    struct sluice_journal *j = rt->config.journal;
    struct operation *op = runtime_operation_new(rt, m, 0);
    if (op == NULL ||
        j->ops->record_put(j, &m->journal_key, &record, on_recorded, op) != SLUICE_OK) {
        m->owed.record++;
        runtime_operation_refused(rt, m, op);
    }
}

void runtime_call_keep(struct runtime *rt, struct inflight *m, const struct sluice_effect *fx)
{
    uint32_t count = 0;
    const struct sluice_step_status *status = sluice_engine_steps(rt->engine, m->ticket, &count);
    struct host_step *s = m->steps[fx->step];
    struct sluice_journaled id = {.hash = s->hash,
                                  .occurrence = fx->step < count ? status[fx->step].occurrence : 0,
                                  .epoch = fx->epoch};
    struct sluice_journal *j = rt->config.journal;
    struct operation *op =
        s->journal_bytes.len == 0 ? NULL : runtime_operation_new(rt, m, fx->step);
    if (op == NULL ||
        j->ops->answer_put(j, &m->journal_key, &id, s->journal_bytes, on_kept, op) != SLUICE_OK) {
        s->owed |= OWED_KEEP;
        m->owed.steps = 1;
        runtime_operation_refused(rt, m, op);
    }
}

/* ---- What there was no memory for ---- */

void runtime_starved_keep(struct runtime *rt, const struct inflight *m, uint32_t step)
{
    kept(rt, m->ticket, step, &starved);
}

void runtime_starved_load(struct runtime *rt, struct inflight *m)
{
    inflight_blame(m, "journal", "%s", RUNTIME_STARVED);
    journal_note(rt, &starved);
    not_loaded(rt, m->ticket, SLUICE_FATE_NO_MEMORY);
}

void runtime_starved_record(struct runtime *rt, const struct inflight *m)
{
    recorded(rt, m->ticket, &starved);
}
