/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run/pages.h"

/* Pages of files that are mapped now, in KiB. */
static long file_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "RssFile:", 8) == 0) {
            kib = strtol(line + 8, NULL, 10);
        }
    }
    (void)fclose(f);
    return kib;
}

static const char *const relocated[] = {"a pointer", "that the dynamic linker wrote"};
static const char constant[] = "what the file holds";

static void code_and_constants_come_back_by_themselves(void **state)
{
    (void)state;
    char *written = strdup("written");
    long before = file_kib();
    sluice_pages_release();
    long after = file_kib();
    assert_true(after < before);
    assert_string_equal(written, "written");
    assert_string_equal(constant, "what the file holds");
    assert_string_equal(relocated[1], "that the dynamic linker wrote");
    assert_int_equal(strtol("77", NULL, 10), 77); /* through the linker's table */
    free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_and_constants_come_back_by_themselves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
