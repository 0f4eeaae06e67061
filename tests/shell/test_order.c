/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run/heap.h"
#include "run/mailbox.h"
#include "run/order.h"
#include <pthread.h>

enum { DRAIN = 1, ABORT, STOP, TAKEN_MAX = 4, LIMIT_MS = 30000 };

struct fixture {
    uv_loop_t loop;
    struct sluice_loop_mailbox *mailbox;
    struct sluice_mailbox *port;
    struct sluice_order order;
    struct sluice_mail neighbour;
    int taken[TAKEN_MAX], taken_count, neighbours;
};

static struct fixture fixture;

static void take(void *ctx, int kind)
{
    struct fixture *f = ctx;
    assert_true(f->taken_count < TAKEN_MAX);
    f->taken[f->taken_count++] = kind;
    if (kind == STOP) {
        uv_stop(&f->loop);
    }
}

static void on_neighbour(struct sluice_mail *mail)
{
    (void)mail;
    fixture.neighbours++;
}

static int setup(void **state)
{
    struct fixture *f = &fixture;
    *f = (struct fixture){.order = {.take = take, .ctx = f}};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(sluice_loop_mailbox_create(&f->loop, &sluice_heap, &f->mailbox, NULL),
                     SLUICE_OK);
    f->port = sluice_loop_mailbox_port(f->mailbox);
    f->neighbour.deliver = on_neighbour;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sluice_loop_mailbox_destroy(f->mailbox);
    while (uv_run(&f->loop, UV_RUN_DEFAULT) != 0) { /* a stop that nobody ran for */
    }
    assert_int_equal(uv_loop_close(&f->loop), 0);
    return 0;
}

/* The loop hangs in a handler: nobody takes the first one. */
static void an_order_takes_the_place_of_one_that_was_not_taken(void **state)
{
    struct fixture *f = *state;
    sluice_order_give(&f->order, f->port, DRAIN, 0);
    f->port->post(f->port, &f->neighbour);
    sluice_order_give(&f->order, f->port, ABORT, 0);
    assert_int_equal(sluice_loop_mailbox_drain(f->mailbox), 2);
    assert_int_equal(f->taken_count, 1);
    assert_int_equal(f->taken[0], ABORT);
    assert_int_equal(f->neighbours, 1);
}

static void each_order_that_was_taken_is_taken_once(void **state)
{
    struct fixture *f = *state;
    for (int kind = DRAIN; kind <= STOP; kind++) {
        sluice_order_give(&f->order, f->port, kind, 0);
        assert_int_equal(sluice_loop_mailbox_drain(f->mailbox), 1);
        assert_int_equal(f->taken_count, kind);
        assert_int_equal(f->taken[kind - 1], kind);
    }
    assert_int_equal(sluice_loop_mailbox_drain(f->mailbox), 0);
}

static void *loop_run(void *arg)
{
    struct fixture *f = arg;
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void giving_waits_until_the_loop_has_taken_it(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, loop_run, f), 0);
    sluice_order_give(&f->order, f->port, DRAIN, LIMIT_MS);
    assert_int_equal(atomic_load(&f->order.kind), 0);
    sluice_order_give(&f->order, f->port, STOP, LIMIT_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(f->taken_count, 2);
    assert_int_equal(f->taken[0], DRAIN);
    assert_int_equal(f->taken[1], STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_order_takes_the_place_of_one_that_was_not_taken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_order_that_was_taken_is_taken_once, setup, teardown),
        cmocka_unit_test_setup_teardown(giving_waits_until_the_loop_has_taken_it, setup, teardown),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
