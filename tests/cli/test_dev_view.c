/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/dev_view.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct dev_view view;
static char shown[4096];

/* What the view prints of a worker's log. */
static void show(const char *log)
{
    int ends[2], before = dup(STDOUT_FILENO);
    FILE *file = tmpfile();
    assert_true(before >= 0 && file != NULL && pipe(ends) == 0);
    (void)fflush(stdout);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    dev_view_open(&view);
    dev_view_attach(&view, ends[0]);
    ssize_t written = write(ends[1], log, strlen(log));
    (void)close(ends[1]);
    dev_view_pump(&view, 1000);
    dev_view_close(&view);
    (void)fflush(stdout);
    assert_true(dup2(before, STDOUT_FILENO) >= 0);
    (void)close(before);
    rewind(file);
    shown[fread(shown, 1, sizeof shown - 1, file)] = '\0';
    (void)fclose(file);
    assert_int_equal(written, strlen(log));
}

#define LINE(time, event, rest)                                                                    \
    "{\"time\":\"2026-11-21T" time "Z\",\"event\":\"message." event                                \
    "\",\"seq\":7,\"message_id\":\"one\"" rest "}\n"

/* The line of the ACK has a duration of its own, which is rounded by itself. */
static void all_stages_of_a_way_are_measured_by_one_clock(void **state)
{
    (void)state;
    show(LINE("10:00:00.100", "received", "") LINE("10:00:00.157", "stored", "")
             LINE("10:00:00.158", "published", "")
                 LINE("10:00:00.158", "acknowledged", ",\"duration_ms\":57"));
    assert_string_equal(shown, "✅ one         seq 7    received → stored 57 ms → published 58 ms "
                               "→ acknowledged 58 ms\n");
    assert_int_equal(view.acknowledged, 1);
}

static void a_way_may_last_over_midnight(void **state)
{
    (void)state;
    show(LINE("23:59:59.990", "received", "") LINE("00:00:00.010", "acknowledged", ""));
    assert_non_null(strstr(shown, "acknowledged 20 ms\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_stages_of_a_way_are_measured_by_one_clock),
        cmocka_unit_test(a_way_may_last_over_midnight),
    };
    return cmocka_run_group_tests_name("dev_view", tests, NULL, NULL);
}
