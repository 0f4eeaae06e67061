/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/mailbox.h"
#include <pthread.h>

enum { POSTERS = 4, MAILS_EACH = 50000, BURST = 1000 };

static int allocations_left; /* fails when it reaches 0; negative: never */

static void *heap_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (allocations_left == 0) {
        return NULL;
    }
    if (allocations_left > 0) {
        allocations_left--;
    }
    return realloc(p, size);
}

static const struct sluice_allocator heap = {.resize = heap_resize};

struct fixture {
    uv_loop_t loop;
    struct sluice_loop_mailbox *mailbox;
    uint64_t seen[POSTERS]; /* next number expected of each poster */
    uint64_t total, expected;
    int is_out_of_order;
    int is_destroyed;
};

struct note {
    struct sluice_mail mail; /* first */
    struct fixture *fixture;
    uint32_t poster;
    uint64_t number;
    uint64_t repeats; /* posts itself again this often */
};

static int setup(void **state)
{
    allocations_left = -1;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(sluice_loop_mailbox_create(&f->loop, &heap, &f->mailbox, NULL), SLUICE_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (!f->is_destroyed) {
        sluice_loop_mailbox_destroy(f->mailbox);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void deliver_note(struct sluice_mail *mail)
{
    struct note *note = (struct note *)mail;
    struct fixture *f = note->fixture;
    if (note->number != f->seen[note->poster]) {
        f->is_out_of_order = 1;
    }
    f->seen[note->poster] = note->number + 1;
    f->total++;
    if (f->total == f->expected) {
        uv_stop(&f->loop);
    }
    if (note->repeats > 0) {
        note->repeats--;
        note->number++;
        struct sluice_mailbox *port = sluice_loop_mailbox_port(f->mailbox);
        port->post(port, mail);
        return;
    }
    free(note);
}

static struct note *note_create(struct fixture *f, uint32_t poster, uint64_t number)
{
    struct note *note = calloc(1, sizeof *note);
    if (note == NULL) {
        abort();
    }
    note->mail.deliver = deliver_note;
    note->fixture = f;
    note->poster = poster;
    note->number = number;
    return note;
}

static void post(struct fixture *f, struct note *note)
{
    struct sluice_mailbox *port = sluice_loop_mailbox_port(f->mailbox);
    port->post(port, &note->mail);
}

struct poster {
    struct fixture *fixture;
    uint32_t index;
    pthread_t thread;
};

static void *poster_run(void *arg)
{
    struct poster *poster = arg;
    for (uint64_t i = 0; i < MAILS_EACH; i++) {
        post(poster->fixture, note_create(poster->fixture, poster->index, i));
    }
    return NULL;
}

static void delivers_every_mail_once_and_in_each_posters_order(void **state)
{
    struct fixture *f = *state;
    struct poster posters[POSTERS];
    f->expected = (uint64_t)POSTERS * MAILS_EACH;
    for (uint32_t i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.fixture = f, .index = i};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, poster_run, &posters[i]), 0);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT); /* ends by uv_stop at the last mail */
    for (uint32_t i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    }
    assert_int_equal(f->total, f->expected);
    assert_false(f->is_out_of_order);
}

static void a_burst_needs_one_turn_of_the_loop(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < BURST; i++) {
        post(f, note_create(f, 0, i));
    }
    assert_int_equal(f->total, 0); /* never from inside post() */
    uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->total, BURST);
    assert_false(f->is_out_of_order);
}

static void a_mail_posted_while_delivering_waits_for_the_next_turn(void **state)
{
    struct fixture *f = *state;
    struct note *note = note_create(f, 0, 0);
    note->repeats = 2;
    post(f, note);
    uint64_t turns = 0;
    while (f->total < 3) {
        uint64_t before = f->total;
        uv_run(&f->loop, UV_RUN_ONCE);
        assert_true(f->total <= before + 1);
        assert_true(++turns < 100);
    }
    assert_int_equal(f->total, 3);
}

static void drain_delivers_without_the_loop(void **state)
{
    struct fixture *f = *state;
    struct note *note = note_create(f, 0, 0);
    note->repeats = 4;
    post(f, note);
    post(f, note_create(f, 1, 0));
    assert_int_equal(sluice_loop_mailbox_drain(f->mailbox), 6);
    assert_int_equal(f->total, 6);
    assert_int_equal(sluice_loop_mailbox_drain(f->mailbox), 0);
}

static void destroy_delivers_what_is_left(void **state)
{
    struct fixture *f = *state;
    post(f, note_create(f, 0, 0));
    post(f, note_create(f, 0, 1));
    sluice_loop_mailbox_destroy(f->mailbox);
    f->is_destroyed = 1;
    assert_int_equal(f->total, 2);
    sluice_loop_mailbox_destroy(NULL);
}

static void create_without_memory_fails_cleanly(void **state)
{
    struct fixture *f = *state;
    struct sluice_loop_mailbox *none = NULL;
    struct sluice_err err = {0};
    allocations_left = 0;
    assert_int_equal(sluice_loop_mailbox_create(&f->loop, &heap, &none, &err), SLUICE_ERR_NOMEM);
    allocations_left = -1;
    assert_null(none);
    assert_string_equal(err.text, "mailbox: out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(delivers_every_mail_once_and_in_each_posters_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_burst_needs_one_turn_of_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mail_posted_while_delivering_waits_for_the_next_turn,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(drain_delivers_without_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(destroy_delivers_what_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(create_without_memory_fails_cleanly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
