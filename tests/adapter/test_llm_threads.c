/* SPDX-License-Identifier: Apache-2.0 */
/* LLM calls over several threads: who carries what, cancelling at every moment, destroying,
 * memory. That each call is carried as the port wants it: test_curl_llm.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "curl_fixture.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define COMPLETION                                                                                 \
    "{\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":\"Hello, too\"},"                 \
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}"

static void answer_well(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    tiny_answer_text(out, "200 OK", "", COMPLETION);
}

static void answer_never(void *ctx, const struct tiny_request *request, struct tiny_answer *out)
{
    (void)ctx;
    (void)request;
    out->after = TINY_HANG;
}

/* No answer leaves while it is shut. */
static struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    int is_open;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void gate_set(int is_open)
{
    pthread_mutex_lock(&gate.mutex);
    gate.is_open = is_open;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.mutex);
}

/* On the server's threads; a test that has failed does not open it. */
static void answer_behind_gate(void *ctx, const struct tiny_request *request,
                               struct tiny_answer *out)
{
    struct timespec end;
    int rc = 0;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&gate.mutex);
    while (!gate.is_open && rc == 0) {
        rc = pthread_cond_timedwait(&gate.opened, &gate.mutex, &end);
    }
    pthread_mutex_unlock(&gate.mutex);
    answer_well(ctx, request, out);
}

static void open_with(struct fixture *f, tiny_answer_fn *answer, uint32_t threads,
                      uint32_t home_max)
{
    if (f->answer != answer) { /* the server may still be reading it */
        f->answer = answer;
    }
    f->threads = threads;
    f->home_max = home_max;
    llm_open(f);
}

static int are_running(struct fixture *f, void *arg)
{
    return llm_stats(f).running == *(uint32_t *)arg;
}

static void wait_running(struct fixture *f, uint32_t count)
{
    wait_until(f, are_running, &count, "so many calls with a connection each");
}

/* ---- Who carries what */

/* Home and each thread that was used have a shard. */
static void calls_beyond_home_are_spread_over_all_threads(void **state)
{
    enum { THREADS = 3, HOME = 2, CALLS = 32 };
    struct fixture *f = *state;
    struct outcome o[CALLS];
    uint64_t numbers[CALLS];
    open_with(f, answer_never, THREADS, HOME);
    for (int i = 0; i < CALLS; i++) {
        numbers[i] = start_plain(f, &o[i]);
        assert_int_not_equal(numbers[i], 0);
        for (int k = 0; k < i; k++) {
            assert_int_not_equal(numbers[i], numbers[k]);
        }
    }
    assert_int_equal(llm_stats(f).running + llm_stats(f).queued, CALLS);
    wait_running(f, CALLS);
    struct sluice_curl_stats stats = llm_stats(f);
    assert_int_equal(stats.shards, THREADS + 1);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.connections, CALLS);
    assert_int_equal(stats.calls_total, CALLS);
    assert_int_equal(stats.connects_total, CALLS);
    for (int i = 0; i < CALLS; i++) {
        f->llm->ops->cancel(f->llm, numbers[i]);
    }
    wait_ended(f, CALLS);
    wait_running(f, 0);
}

/* The one with the fewest is the first while it has none. */
static void calls_one_after_the_other_need_one_thread(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    open_with(f, answer_well, 3, 0);
    for (int i = 0; i < 10; i++) {
        ask_once(f, &o);
        assert_int_equal(o.fate, SLUICE_FATE_OK);
    }
    assert_int_equal(llm_stats(f).shards, 1);
    assert_int_equal(tiny_server_connections(f->server), 1);
}

static void few_calls_stay_at_home(void **state)
{
    enum { HOME = 8, ROUNDS = 20 };
    struct fixture *f = *state;
    struct outcome o[HOME];
    open_with(f, answer_well, 2, HOME);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < HOME; i++) {
            start_plain(f, &o[i]);
        }
        wait_ended(f, (round + 1) * HOME);
    }
    assert_int_equal(llm_stats(f).shards, 1);
    start_ping(f, &o[0]);
    wait_outcome(f, &o[0]);
    assert_int_equal(llm_stats(f).shards, 1);
}

struct seen {
    pthread_t thread;
    int count, is_elsewhere;
};

static void on_seen(void *ctx, const struct sluice_llm_done *done)
{
    struct seen *s = ctx;
    s->is_elsewhere |= !pthread_equal(s->thread, pthread_self());
    s->count += done->fate == SLUICE_FATE_OK;
}

static int have_been_seen(struct fixture *f, void *arg)
{
    (void)f;
    return ((const struct seen *)arg)->count == 40;
}

static void callbacks_are_made_on_the_loop(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.thread = pthread_self()};
    open_with(f, answer_well, 2, 0);
    const struct sluice_llm_ask ask = plain_ask(f);
    for (int i = 0; i < 40; i++) {
        (void)f->llm->ops->ask(f->llm, &ask, on_seen, &seen);
    }
    wait_until(f, have_been_seen, &seen, "40 answers");
    assert_false(seen.is_elsewhere);
}

static int has_all_ended_elsewhere(const struct fixture *f, uint64_t calls)
{
    struct sluice_curl_stats stats = llm_stats(f);
    return stats.calls_total == calls && stats.running == 0 && stats.queued == 0;
}

static int have_left(struct fixture *f, void *arg)
{
    return llm_stats(f).calls_total == *(uint64_t *)arg;
}

static void pause_ms(long ms)
{
    struct timespec pause = {0, ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* All so many calls that were asked behind the gate end while the loop stands still: the thread
 * works on. */
static void wait_elsewhere(struct fixture *f, uint64_t calls)
{
    uint64_t end = uv_hrtime() + (uint64_t)WAIT_MS * 1000000;
    wait_until(f, have_left, &calls, "calls with the other thread");
    gate_set(1);
    while (!has_all_ended_elsewhere(f, calls) && uv_hrtime() < end) {
        pause_ms(1);
    }
    assert_true(has_all_ended_elsewhere(f, calls));
}

/* The loop has other work, too. */
static void many_answers_at_once_come_in_several_turns(void **state)
{
    enum { CALLS = 400, A_TURN = 256 };
    struct fixture *f = *state;
    struct outcome *o = calloc(CALLS, sizeof *o);
    gate_set(0);
    open_with(f, answer_behind_gate, 1, 0);
    for (int i = 0; i < CALLS; i++) {
        start_plain(f, &o[i]);
    }
    wait_elsewhere(f, CALLS);
    assert_int_equal(f->ended, 0);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_true(f->ended > 0);
    assert_true(f->ended <= A_TURN);
    wait_ended(f, CALLS);
    free(o);
}

/* ---- Cancelling */

static int have_some_ended(struct fixture *f, void *arg)
{
    return f->ended >= *(unsigned *)arg;
}

/* At once, after some turns of the loop, or when some others have ended. */
static void let_time_pass(struct fixture *f, unsigned round)
{
    unsigned ended = f->ended + round / 3 % 8;
    if (round % 3 == 1) {
        for (unsigned turn = 0; turn < round % 7; turn++) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
    } else if (round % 3 == 2) {
        wait_until(f, have_some_ended, &ended, "the end of some calls");
    }
}

static void a_cancelled_call_ends_once_at_whatever_moment(void **state)
{
    enum { ROUNDS = 150, CALLS = 12 };
    struct fixture *f = *state;
    unsigned cancelled = 0;
    unsigned answered = 0;
    open_with(f, answer_well, 2, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct outcome o[CALLS];
        uint64_t numbers[CALLS];
        for (int i = 0; i < CALLS; i++) {
            numbers[i] = start_plain(f, &o[i]);
        }
        let_time_pass(f, round);
        for (unsigned i = 0; i < CALLS; i++) {
            f->llm->ops->cancel(f->llm, numbers[i]);
            f->llm->ops->cancel(f->llm, numbers[(i + round) % CALLS]); /* twice, or another */
        }
        wait_ended(f, (round + 1) * CALLS);
        for (int i = 0; i < CALLS; i++) {
            assert_int_equal(o[i].count, 1);
            assert_true(o[i].fate == SLUICE_FATE_OK || o[i].fate == SLUICE_FATE_CANCELLED);
            cancelled += o[i].fate == SLUICE_FATE_CANCELLED;
            answered += o[i].fate == SLUICE_FATE_OK;
            f->llm->ops->cancel(f->llm, numbers[i]); /* it has ended: ignored */
        }
    }
    print_message("# %u cancelled, %u answered\n", cancelled, answered);
    assert_int_not_equal(cancelled, 0);
    assert_int_not_equal(answered, 0);
}

/* With the pause the thread hears of the end before it hears of the call. */
static void a_call_cancelled_at_once_ends(void **state)
{
    struct fixture *f = *state;
    open_with(f, answer_never, 1, 0);
    for (int round = 0; round < 20; round++) {
        struct outcome o;
        uint64_t number = start_plain(f, &o);
        f->llm->ops->cancel(f->llm, number);
        pause_ms(round % 2);
        assert_int_equal(o.count, 0); /* never from inside */
        wait_outcome(f, &o);
        assert_int_equal(o.fate, SLUICE_FATE_CANCELLED);
        assert_int_equal(o.rc, SLUICE_ERR_CANCELLED);
        assert_string_equal(o.text, "chat completion: cancelled");
    }
}

static void a_call_without_an_answer_can_be_cancelled(void **state)
{
    struct fixture *f = *state;
    struct outcome o[2];
    open_with(f, answer_never, 1, 0);
    uint64_t number = start_plain(f, &o[0]);
    start_plain(f, &o[1]);
    wait_running(f, 2);
    f->llm->ops->cancel(f->llm, 0);
    f->llm->ops->cancel(f->llm, number ^ UINT64_C(1) << 40); /* nobody's */
    f->llm->ops->cancel(f->llm, number);
    wait_outcome(f, &o[0]);
    assert_int_equal(o[0].fate, SLUICE_FATE_CANCELLED);
    assert_int_equal(o[1].count, 0);
    llm_close(f); /* ends the other */
}

struct crowd {
    struct fixture *f;
    uint64_t numbers[20];
    int count, well;
};

static void on_end_cancel_all(void *ctx, const struct sluice_llm_done *done)
{
    struct crowd *c = ctx;
    c->count++;
    c->well += done->fate == SLUICE_FATE_OK;
    for (size_t i = 0; i < COUNT(c->numbers); i++) {
        c->f->llm->ops->cancel(c->f->llm, c->numbers[i]);
    }
}

static int has_whole_crowd(struct fixture *f, void *arg)
{
    const struct crowd *c = arg;
    (void)f;
    return c->count == (int)COUNT(c->numbers);
}

/* Those whose callback is due are not the thread's any more, and their memory is soon another
 * call's. */
static void to_cancel_what_has_come_back_harms_nobody(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {.f = f};
    struct outcome o[COUNT(c.numbers)];
    gate_set(0);
    open_with(f, answer_behind_gate, 1, 0);
    const struct sluice_llm_ask ask = plain_ask(f);
    for (size_t i = 0; i < COUNT(c.numbers); i++) {
        c.numbers[i] = f->llm->ops->ask(f->llm, &ask, on_end_cancel_all, &c);
    }
    wait_elsewhere(f, COUNT(c.numbers));
    wait_until(f, has_whole_crowd, &c, "all answers");
    assert_int_equal(c.well, COUNT(c.numbers));
    for (size_t i = 0; i < COUNT(o); i++) {
        start_plain(f, &o[i]);
    }
    wait_ended(f, COUNT(o));
    for (size_t i = 0; i < COUNT(o); i++) {
        assert_int_equal(o[i].fate, SLUICE_FATE_OK);
    }
}

/* The thread hears of the end of a call when home has already made something new of its memory. */
static void to_cancel_what_has_just_ended_harms_nobody(void **state)
{
    struct fixture *f = *state;
    open_with(f, answer_behind_gate, 1, 0);
    for (uint64_t round = 0; round < 20; round++) {
        struct outcome o[2];
        gate_set(0);
        uint64_t number = start_plain(f, &o[0]);
        wait_elsewhere(f, 2 * round + 1);
        f->llm->ops->cancel(f->llm, number);
        wait_outcome(f, &o[0]);
        assert_int_equal(o[0].fate, SLUICE_FATE_OK);
        start_plain(f, &o[1]);
        wait_outcome(f, &o[1]);
        assert_int_equal(o[1].fate, SLUICE_FATE_OK);
    }
}

/* ---- Destroying */

static void destroy_ends_calls_wherever_they_are(void **state)
{
    enum { CALLS = 50 };
    struct fixture *f = *state;
    for (uint32_t running = 0; running <= CALLS; running += 25) {
        struct outcome o[CALLS];
        f->ended = 0;
        open_with(f, answer_never, 3, 1);
        for (uint32_t i = 0; i < running; i++) {
            start_plain(f, &o[i]);
        }
        wait_running(f, running);
        uint64_t last = 0;
        for (uint32_t i = running; i < CALLS; i++) {
            last = start_plain(f, &o[i]); /* these have not left */
        }
        f->llm->ops->cancel(f->llm, last);
        f->llm->ops->destroy(f->llm);
        f->llm = NULL;
        assert_int_equal(f->ended, CALLS);
        for (int i = 0; i < CALLS; i++) {
            assert_int_equal(o[i].count, 1);
            assert_int_equal(o[i].fate, SLUICE_FATE_CANCELLED);
        }
        llm_close(f);
    }
}

struct again {
    struct fixture *f;
    int count;
    uint64_t other; /* to be cancelled by the first end */
};

static void on_end_ask_again(void *ctx, const struct sluice_llm_done *done)
{
    struct again *a = ctx;
    const struct sluice_llm_ask ask = plain_ask(a->f);
    assert_int_equal(done->fate, SLUICE_FATE_CANCELLED);
    a->f->llm->ops->cancel(a->f->llm, a->other);
    if (a->count++ < 4) {
        (void)a->f->llm->ops->ask(a->f->llm, &ask, on_end_ask_again, a);
    }
}

static void what_a_callback_asks_for_during_destroy_is_cancelled(void **state)
{
    struct fixture *f = *state;
    struct again again = {.f = f};
    open_with(f, answer_never, 2, 0);
    const struct sluice_llm_ask ask = plain_ask(f);
    for (int i = 0; i < 2; i++) {
        again.other = f->llm->ops->ask(f->llm, &ask, on_end_ask_again, &again);
    }
    wait_running(f, 2);
    f->llm->ops->destroy(f->llm);
    f->llm = NULL;
    assert_int_equal(again.count, 6);
}

/* ---- Memory */

struct end {
    int count;
    enum sluice_fate fate;
    sluice_rc rc;
    int32_t http_status;
    uint32_t prompt_tokens;
    char text[128];
};

static void on_end(void *ctx, const struct sluice_llm_done *done)
{
    struct end *e = ctx;
    *e = (struct end){.count = e->count + 1,
                      .fate = done->fate,
                      .rc = done->rc,
                      .http_status = done->http_status,
                      .prompt_tokens = done->prompt_tokens};
    snprintf(e->text, sizeof e->text, "%s", done->text);
    if (done->fate != SLUICE_FATE_OK) {
        assert_string_equal(done->model, "");
        assert_string_equal(done->finish_reason, "");
        assert_int_equal(done->content.len, 0);
    }
}

static int has_ended(struct fixture *f, void *arg)
{
    (void)f;
    return ((const struct end *)arg)->count != 0;
}

/* Here and in the thread: the n-th allocation fails, and all that follow. */
static struct end ask_with(struct fixture *f, long allocations)
{
    const struct sluice_llm_ask ask = plain_ask(f);
    struct end e = {.count = 0};
    f->heap.failed = 0;
    f->heap.fail_after = allocations;
    uint64_t number = f->llm->ops->ask(f->llm, &ask, on_end, &e);
    if (number != 0) {
        wait_until(f, has_ended, &e, "the end of a call without memory");
    }
    f->heap.fail_after = -1;
    assert_int_equal(e.count, number != 0);
    return e;
}

static void a_call_ends_once_wherever_memory_ends(void **state)
{
    struct fixture *f = *state;
    int is_unbegun = 0;
    int has_lost_answer = 0; /* the copy of an answer found no memory */
    long n = 0;
    do {
        open_with(f, answer_well, 1, 0);
        struct end e = ask_with(f, n++);
        is_unbegun |= e.count == 0;
        if (e.count != 0 && e.fate != SLUICE_FATE_OK) {
            assert_int_not_equal(f->heap.failed, 0);
            assert_true(e.rc == SLUICE_ERR_NOMEM || e.rc == SLUICE_ERR_UNAVAILABLE);
            assert_int_equal(e.fate, SLUICE_FATE_RETRY);
            assert_string_not_equal(e.text, "");
            has_lost_answer |= e.http_status == 200 && e.prompt_tokens == 7;
        }
        long failed = f->heap.failed;
        assert_int_equal(ask_with(f, -1).fate, SLUICE_FATE_OK); /* and the next is well */
        f->heap.failed = failed;
        llm_close(f);
        assert_int_equal(f->heap.open, 0);
    } while (f->heap.failed != 0);
    assert_true(n > 5);
    assert_true(is_unbegun);
    assert_true(has_lost_answer);
}

/* ---- Creation */

static void creation_refuses_a_number_of_threads_out_of_range(void **state)
{
    static const uint32_t counts[] = {SLUICE_LLM_THREADS_MAX + 1, UINT32_MAX};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct sluice_err err = {0};
        f->threads = counts[i];
        assert_int_equal(llm_create(f, &err), SLUICE_ERR_CONFIG);
        assert_non_null(strstr(err.text, "is not 1…16"));
    }
    f->threads = SLUICE_LLM_THREADS_MAX;
    llm_open(f);
}

static void threads_are_wanted_for_many_calls_only(void **state)
{
    static const struct {
        uint32_t calls_max, processors, threads;
    } cases[] = {
        {1, 64, 0},      {256, 64, 0},    {1024, 64, 0},  {1025, 64, 1}, {1025, 2, 1},
        {1025, 1, 0},    {1025, 0, 0},    {5120, 64, 1},  {5121, 64, 2}, {5121, 2, 1},
        {10000, 2, 1},   {10000, 3, 2},   {10000, 64, 3}, {65536, 2, 1}, {65536, 16, 15},
        {65536, 17, 16}, {65536, 64, 16}, {65536, 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(sluice_llm_threads_wanted(cases[i].calls_max, cases[i].processors),
                         cases[i].threads);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(calls_beyond_home_are_spread_over_all_threads),
        CASE(calls_one_after_the_other_need_one_thread),
        CASE(few_calls_stay_at_home),
        CASE(callbacks_are_made_on_the_loop),
        CASE(many_answers_at_once_come_in_several_turns),
        CASE(a_cancelled_call_ends_once_at_whatever_moment),
        CASE(a_call_cancelled_at_once_ends),
        CASE(a_call_without_an_answer_can_be_cancelled),
        CASE(to_cancel_what_has_come_back_harms_nobody),
        CASE(to_cancel_what_has_just_ended_harms_nobody),
        CASE(destroy_ends_calls_wherever_they_are),
        CASE(what_a_callback_asks_for_during_destroy_is_cancelled),
        CASE(a_call_ends_once_wherever_memory_ends),
        CASE(creation_refuses_a_number_of_threads_out_of_range),
        cmocka_unit_test(threads_are_wanted_for_many_calls_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
