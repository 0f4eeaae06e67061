/* SPDX-License-Identifier: Apache-2.0 */
/* What is read at the start, with each allocation and each call on a file failing in turn: the
 * report says so, nothing crashes, and no value is half there. */
#include "failing.h"
#include "run/heap.h"
#include "run/option.h"
#include "run/prompts.h"
#include "text_file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static void put(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    text_file_write(path, text);
}

static int setup(void **state)
{
    char secret[128];
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/sluice-torture-XXXXXX");
    assert_non_null(mkdtemp(folder));
    put("worker.yaml", "nats:\n  url: nats://h:4222\nllm:\n  headers:\n    X-Team: "
                       "blue\nservices:\n  billing:\n    url: http://b:1\n"
                       "outputs:\n  more: a.more\noptions:\n  mine: 5\n");
    put("secret", "s3cr3t\n");
    (void)mkdir(strcat(strcpy(secret, folder), "/prompts"), 0700);
    put("prompts/a.prompt", "Say {{query}}.");
    put("prompts/b.prompt", "# system\nBe brief.\n# user\n{{query}}");
    (void)snprintf(secret, sizeof secret, "%s/secret", folder);
    (void)setenv("LLM_API_KEY_FILE", secret, 1);
    (void)setenv("LLM_HEADER_API_KEY_FILE", secret, 1);
    (void)setenv("LLM_MODEL", "m", 1);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"worker.yaml",      "secret",  "prompts/a.prompt",
                                        "prompts/b.prompt", "prompts", ""};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)remove(path);
    }
    return 0;
}

static int loading(void *ctx)
{
    static struct sluice_report report;
    struct sluice_settings_box *box = NULL;
    char path[128], flag[] = "--log-level=debug";
    char *arguments[] = {flag};
    (void)ctx;
    (void)snprintf(path, sizeof path, "%s/worker.yaml", folder);
    sluice_rc rc = sluice_settings_load(1, arguments, path, &box, &report);
    assert_true((rc == SLUICE_OK) == (report.count == 0));
    assert_true((box == NULL) == (rc == SLUICE_ERR_NOMEM));
    assert_null(strstr(report.text, "s3cr3t"));
    if (rc == SLUICE_OK) {
        const struct sluice_settings *s = sluice_settings_of(box);
        assert_string_equal(s->nats_url, "nats://h:4222");
        assert_string_equal(s->llm_api_key, "s3cr3t");
        assert_string_equal(s->log_level, "debug");
        assert_int_equal(s->services_count, 1);
        assert_int_equal(s->llm_headers_count, 2);
        assert_string_equal(s->llm_headers[0].value, "blue");
        assert_string_equal(s->llm_headers[1].value, "s3cr3t");
        assert_int_equal(s->outputs_count, 1);
    }
    sluice_settings_free(box);
    return rc == SLUICE_OK;
}

static void settings_report_what_failed(void **state)
{
    (void)state;
    long count = failing_sweep(FAILING_ALL, loading, NULL);
    print_message("# %ld calls\n", count);
    assert_true(count > 50);
}

static int prompting(void *ctx)
{
    static const struct sluice_plugin plugin; /* that needs none by name */
    static struct sluice_report report;
    struct worker_host host = {.plugin = &plugin, .allocator = &sluice_heap};
    char path[128];
    const struct sluice_settings settings = {.prompt_dir = path};
    (void)ctx;
    (void)snprintf(path, sizeof path, "%s/prompts", folder);
    sluice_arena_init(&host.scratch, &sluice_heap, 64, 0);
    report = (struct sluice_report){.count = 0};
    sluice_prompts_load(&host, &settings, &report, &report);
    assert_true(report.count > 0 || host.prompts_count == 2);
    host_fini(&host);
    return report.count == 0;
}

static void prompts_report_what_failed(void **state)
{
    (void)state;
    assert_true(failing_sweep(FAILING_ALL, prompting, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_report_what_failed),
        cmocka_unit_test(prompts_report_what_failed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
