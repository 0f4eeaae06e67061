/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_refusals.h"

#include "nats_fixture.h"
#include <stdio.h>
#include <string.h>

/* Refusals whose mailbox delivers when the test says so, and what was told of them. */
struct world {
    struct sluice_mailbox mailbox; /* first */
    struct sluice_mail *wake;      /* the box never posts a second one */
    struct sluice_nats_box *box;
    struct sluice_nats_refusals refusals;
    int told;
    char text[512];
};

static void keep(struct sluice_mailbox *mailbox, struct sluice_mail *mail)
{
    ((struct world *)mailbox)->wake = mail;
}

static void deliver_posted(struct world *w)
{
    struct sluice_mail *wake = w->wake;
    w->wake = NULL;
    if (wake != NULL) {
        wake->deliver(wake);
    }
}

static void on_told(void *ctx, const char *text)
{
    struct world *w = ctx;
    w->told++;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->mailbox.post = keep;
    w->box = sluice_nats_box_create(&w->mailbox);
    assert_non_null(w->box);
    assert_true(sluice_nats_refusals_init(&w->refusals, w->box, on_told, w));
}

static void close_world(struct world *w)
{
    sluice_nats_refusals_close(&w->refusals);
    sluice_nats_box_close(w->box);
    deliver_posted(w);
    sluice_nats_refusals_fini(&w->refusals);
}

static void post(struct world *w, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "%u", i);
        sluice_nats_refusals_post(&w->refusals, text);
    }
}

static void are_told_on_the_loop_in_their_order(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    post(&w, 3);
    assert_int_equal(w.told, 0);
    deliver_posted(&w);
    assert_int_equal(w.told, 3);
    assert_string_equal(w.text, "3");
    close_world(&w);
}

static void of_a_flood_the_first_are_told(void **state)
{
    (void)state;
    static const uint32_t counts[] = {SLUICE_NATS_REFUSALS_MAX - 1, SLUICE_NATS_REFUSALS_MAX,
                                      SLUICE_NATS_REFUSALS_MAX + 1};
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) { /* each leaves room again */
        char last[32];
        uint32_t told = counts[i] < SLUICE_NATS_REFUSALS_MAX ? counts[i] : SLUICE_NATS_REFUSALS_MAX;
        (void)snprintf(last, sizeof last, "%u", told);
        w.told = 0;
        post(&w, counts[i]);
        deliver_posted(&w);
        assert_int_equal(w.told, told);
        assert_string_equal(w.text, last);
    }
    close_world(&w);
}

static void a_long_text_is_cut(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (size_t len = SLUICE_NATS_REFUSAL_TEXT_MAX - 1; len <= SLUICE_NATS_REFUSAL_TEXT_MAX + 1;
         len++) {
        char text[SLUICE_NATS_REFUSAL_TEXT_MAX + 2];
        memset(text, 'x', len);
        text[len] = '\0';
        sluice_nats_refusals_post(&w.refusals, text);
        deliver_posted(&w);
        assert_int_equal(strlen(w.text),
                         len < SLUICE_NATS_REFUSAL_TEXT_MAX ? len : SLUICE_NATS_REFUSAL_TEXT_MAX);
    }
    close_world(&w);
}

static void nothing_is_told_once_closed(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    post(&w, 2); /* under way */
    sluice_nats_refusals_close(&w.refusals);
    sluice_nats_refusals_close(&w.refusals);
    deliver_posted(&w);
    post(&w, 1);
    assert_null(w.wake);
    close_world(&w);
    assert_int_equal(w.told, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_told_on_the_loop_in_their_order),
        cmocka_unit_test(of_a_flood_the_first_are_told),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(nothing_is_told_once_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
