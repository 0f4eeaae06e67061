/* SPDX-License-Identifier: Apache-2.0 */
/* The model server behaves as the measured one: unfenced settles, held places, silence, going
 * back. */
#include "sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ACK_WAIT 1000

static struct sim_world *w;

static int setup(void **state)
{
    (void)state;
    w = sim_world_create();
    return w == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_world_destroy(w);
    return 0;
}

/* A quiet server with `count` messages published and one connected client. */
static void serve(uint32_t count, uint32_t ack_pending_max)
{
    sim_plan_draw(&w->plan, 1, SIM_PROFILE_CALM);
    w->plan.is_work_queue = 1;
    w->plan.engine.ack_wait_ms = ACK_WAIT;
    w->plan.ack_pending_max = ack_pending_max;
    w->plan.workers_count = 1;
    w->plan.link_ms = 0;
    w->plan.ping_ms = 1000000;
    w->rng = (struct sluice_prng){1};
    w->now_ms = 0;
    w->inputs_count = count;
    sim_queue_clear(&w->queue);
    sim_jetstream_init(w);
    sim_kv_init(w);
    sim_sink_init(w);
    sim_judge_init(w);
    sim_process_init(w, 0);
    assert_true(sim_link_connect(w, &w->processes[0]));
    for (uint32_t i = 1; i <= count; i++) {
        w->inputs[i] = (struct sim_input){.size = 100, .key = i};
        w->sink.sunk[i].dead_copies = 1; /* so that no judge minds a TERM or ACK here */
        sim_jetstream_publish(w, i);
    }
}

static void pull(uint32_t id, uint32_t batch)
{
    struct sim_process *p = &w->processes[0];
    p->inboxes[id % SIM_INBOXES_MAX] = (struct sim_inbox){
        .pull = {.pull = id, .batch = batch, .expires_ms = 5000, .heartbeat_ms = 500}};
    struct sim_item item = {.b = id, .life = p->link.epoch};
    sim_jetstream_on_pull(w, &item);
}

static void settle(uint32_t sequence, enum sluice_verb verb, int64_t delay_ms)
{
    struct sim_item item = {
        .a = (uint32_t)verb, .b = sequence, .c = delay_ms, .life = w->processes[0].link.epoch};
    sim_jetstream_on_settle(w, &item);
}

/* Let time pass until `until_ms` and count what reaches the client, by kind. */
struct heard {
    uint32_t messages, statuses, settled;
    uint32_t last_sequence, last_deliveries, last_status;
    int64_t last_message_ms;
};

static struct heard listen(int64_t until_ms)
{
    struct heard h = {0};
    while (sim_queue_next_ms(&w->queue) <= until_ms) {
        struct sim_item item;
        sim_queue_pop(&w->queue, &item);
        w->now_ms = item.at_ms;
        switch ((enum sim_kind)item.kind) {
        case SIM_K_TO_CLIENT_MESSAGE:
            h.messages++;
            h.last_sequence = item.a;
            h.last_deliveries = (uint32_t)item.c;
            h.last_message_ms = w->now_ms;
            break;
        case SIM_K_TO_CLIENT_STATUS:
            h.statuses++;
            h.last_status = item.a;
            break;
        case SIM_K_TO_CLIENT_SETTLED:
            h.settled++;
            break;
        case SIM_K_ACK_TIMER:
            sim_jetstream_on_ack_timer(w, &item);
            break;
        case SIM_K_PULL_TIMER:
            sim_jetstream_on_pull_timer(w, &item);
            break;
        default:
            break;
        }
    }
    w->now_ms = until_ms;
    return h;
}

static void an_unacked_message_comes_again_after_the_ack_wait(void **state)
{
    (void)state;
    serve(1, 10);
    pull(1, 5);
    struct heard h = listen(ACK_WAIT - 1);
    assert_int_equal(h.messages, 1);
    assert_int_equal(h.last_deliveries, 1);
    h = listen(ACK_WAIT + 1);
    assert_int_equal(h.messages, 1);
    assert_int_equal(h.last_deliveries, 2);
    assert_int_equal(h.last_message_ms, ACK_WAIT);
}

static void progress_starts_the_ack_timer_again(void **state)
{
    (void)state;
    serve(1, 10);
    pull(1, 5);
    (void)listen(900);
    settle(1, SLUICE_VERB_PROGRESS, 0);
    struct heard h = listen(900 + ACK_WAIT - 1);
    assert_int_equal(h.messages, 0);
    assert_int_equal(h.settled, 1);
    h = listen(900 + ACK_WAIT + 1);
    assert_int_equal(h.messages, 1);
}

static void a_delayed_nak_keeps_its_place_under_max_ack_pending(void **state)
{
    (void)state;
    serve(2, 1);
    pull(1, 5);
    (void)listen(10);
    settle(1, SLUICE_VERB_NAK, 3000);
    struct heard h = listen(2999);
    assert_int_equal(h.messages, 0); /* the second message waits as well */
    h = listen(3011);
    assert_int_equal(h.last_sequence, 1);
    assert_int_equal(h.last_deliveries, 2);
}

static void a_nak_shorter_than_the_armed_ack_timer_is_kept(void **state)
{
    (void)state;
    serve(1, 1);
    pull(1, 5);
    (void)listen(10);
    settle(1, SLUICE_VERB_NAK, 50);
    struct heard h = listen(61);
    assert_int_equal(h.messages, 1);
    assert_int_equal(h.last_message_ms, 60);
}

static void a_stale_nak_works_on_the_present_delivery(void **state)
{
    (void)state;
    serve(1, 10);
    pull(1, 5);
    struct heard h = listen(ACK_WAIT + 1);
    assert_int_equal(h.last_deliveries, 2);
    settle(1, SLUICE_VERB_NAK, 0); /* meant for delivery 1 */
    h = listen(ACK_WAIT + 2);
    assert_int_equal(h.last_deliveries, 3);
}

static void every_settle_is_answered_even_when_it_does_nothing(void **state)
{
    (void)state;
    serve(1, 10);
    pull(1, 5);
    (void)listen(1);
    settle(1, SLUICE_VERB_TERM, 0);
    settle(1, SLUICE_VERB_ACK, 0);
    settle(1, SLUICE_VERB_NAK, 0);
    struct heard h = listen(10000);
    assert_int_equal(h.settled, 3);
    assert_int_equal(h.messages, 0);
    assert_int_equal(w->js.settled_count, 1);
    assert_int_equal(w->js.pending_count, 0);
}

static void redeliveries_come_before_new_messages(void **state)
{
    (void)state;
    serve(3, 10);
    pull(1, 2);
    (void)listen(1);
    settle(1, SLUICE_VERB_NAK, 0);
    pull(2, 1);
    struct heard h = listen(2);
    assert_int_equal(h.last_sequence, 1);
    assert_int_equal(h.last_deliveries, 2);
}

static void an_idle_pull_has_heartbeats_and_ends_with_a_status(void **state)
{
    (void)state;
    serve(0, 10);
    pull(1, 5);
    struct heard h = listen(4999);
    assert_int_equal(h.statuses, 9);
    assert_int_equal(h.last_status, SLUICE_PULL_ALIVE);
    h = listen(5001);
    assert_int_equal(h.statuses, 1);
    assert_int_equal(h.last_status, SLUICE_PULL_ENDED);
    assert_int_equal(w->js.waiting_count, 0);
}

static void a_message_over_max_bytes_ends_the_pull(void **state)
{
    (void)state;
    serve(1, 10);
    w->inputs[1].size = 500;
    struct sim_process *p = &w->processes[0];
    p->inboxes[1] = (struct sim_inbox){
        .pull = {.pull = 1, .batch = 5, .max_bytes = 499, .expires_ms = 5000, .heartbeat_ms = 500}};
    struct sim_item item = {.b = 1, .life = p->link.epoch};
    sim_jetstream_on_pull(w, &item);
    struct heard h = listen(1);
    assert_int_equal(h.messages, 0);
    assert_int_equal(h.last_status, SLUICE_PULL_ENDED);
}

static void a_missing_consumer_is_silent(void **state)
{
    (void)state;
    serve(1, 10);
    sim_jetstream_delete_consumer(w);
    pull(1, 5);
    settle(1, SLUICE_VERB_ACK, 0);
    struct heard h = listen(20000);
    assert_int_equal(h.messages + h.statuses + h.settled, 0);
    sim_jetstream_create_consumer(w);
    pull(2, 1);
    h = listen(20001);
    assert_int_equal(h.messages, 1);
    assert_int_equal(h.last_deliveries, 1);
}

static void a_killed_server_goes_back_behind_confirmed_acks(void **state)
{
    (void)state;
    serve(100, 200);
    pull(1, 100);
    (void)listen(1);
    for (uint32_t i = 1; i <= 100; i++) {
        settle(i, SLUICE_VERB_ACK, 0);
    }
    assert_int_equal(w->js.settled_count, 100);
    sim_jetstream_kill(w, 1 | 4);
    assert_in_range(w->js.settled_count, 0, 20); /* measured: 2 of 100 stayed */
    assert_int_equal(w->js.is_up, 0);
    assert_int_equal(w->js.waiting_count, 0);
}

static void acks_that_are_old_enough_survive_a_kill(void **state)
{
    (void)state;
    serve(100, 200);
    pull(1, 100);
    (void)listen(1);
    for (uint32_t i = 1; i <= 100; i++) {
        settle(i, SLUICE_VERB_ACK, 0);
    }
    (void)listen(400);
    sim_jetstream_kill(w, 1 | 4);
    assert_int_equal(w->js.settled_count, 100);
}

static void a_repeated_output_is_dropped_inside_the_window_only(void **state)
{
    (void)state;
    serve(1, 10);
    w->plan.duplicate_window_ms = 1000;
    struct sim_script *s = &w->inputs[1].scripts[0];
    s->is_made = w->inputs[1].scripts[1].is_made = 1;
    s->outputs[0] = 42;
    s->outputs_count = 1;
    struct sim_write write = {.target = SIM_TARGET_PUBLISH, .key = 1, .value = 42};
    uint64_t value;
    (void)sim_sink_write(w, &write, &value);
    w->now_ms = 999;
    (void)sim_sink_write(w, &write, &value);
    assert_int_equal(w->sink.sunk[1].outputs[0].copies, 1);
    w->now_ms = 1000;
    (void)sim_sink_write(w, &write, &value);
    assert_int_equal(w->sink.sunk[1].outputs[0].copies, 2);
    assert_int_equal(w->judge.has_failed, 0);
}

static void the_first_journaled_answer_wins(void **state)
{
    (void)state;
    serve(1, 10);
    struct sluice_journaled id = {.hash = {1, 2}};
    uint64_t existing = 0;
    assert_true(sim_kv_keep(w, 1, &id, 100, &existing));
    assert_false(sim_kv_keep(w, 1, &id, 200, &existing));
    assert_int_equal(existing, 100);
    assert_true(sim_kv_keep(w, 1, &id, 100, &existing)); /* our own, seen again */
    id.epoch = 1;
    assert_true(sim_kv_keep(w, 1, &id, 200, &existing));
    assert_int_equal(w->kv.entries[1].answers_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unacked_message_comes_again_after_the_ack_wait),
        cmocka_unit_test(progress_starts_the_ack_timer_again),
        cmocka_unit_test(a_delayed_nak_keeps_its_place_under_max_ack_pending),
        cmocka_unit_test(a_nak_shorter_than_the_armed_ack_timer_is_kept),
        cmocka_unit_test(a_stale_nak_works_on_the_present_delivery),
        cmocka_unit_test(every_settle_is_answered_even_when_it_does_nothing),
        cmocka_unit_test(redeliveries_come_before_new_messages),
        cmocka_unit_test(an_idle_pull_has_heartbeats_and_ends_with_a_status),
        cmocka_unit_test(a_message_over_max_bytes_ends_the_pull),
        cmocka_unit_test(a_missing_consumer_is_silent),
        cmocka_unit_test(a_killed_server_goes_back_behind_confirmed_acks),
        cmocka_unit_test(acks_that_are_old_enough_survive_a_kill),
        cmocka_unit_test(a_repeated_output_is_dropped_inside_the_window_only),
        cmocka_unit_test(the_first_journaled_answer_wins),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
