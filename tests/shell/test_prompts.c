/* SPDX-License-Identifier: Apache-2.0 */
/* The prompt files of a worker: which folder they are taken from, and that none is missing or
 * broken unsaid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rich.pb-c.h"
#include "run/heap.h"
#include "run/prompts.h"
#include "text_file.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/sluice-prompts-XXXXXX";
static struct sluice_report report, warnings;
static struct sluice_plugin plugin;
static struct sluice_settings settings;

/* A path below the test's folder; valid until the fourth call from here. */
static const char *at(const char *path)
{
    static char texts[4][256];
    static unsigned next;
    char *text = texts[next++ % 4];
    (void)snprintf(text, sizeof texts[0], "%s/%s", root, path);
    return text;
}

static void folder_make(const char *path)
{
    assert_int_equal(mkdir(at(path), 0700), 0);
}

static void put(const char *path, const char *text)
{
    text_file_write(at(path), text);
}

static void expect_folder(const char *path)
{
    char folder[256];
    sluice_prompts_folder(&settings, &plugin, at("share"), folder, sizeof folder);
    assert_string_equal(folder, at(path));
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(root, "/tmp/sluice-prompts-XXXXXX");
    assert_non_null(mkdtemp(root));
    report = warnings = (struct sluice_report){.count = 0};
    settings = (struct sluice_settings){.prompt_dir = ""};
    plugin = (struct sluice_plugin){.worker = {.name = "w"}};
    folder_make("lib");
    (void)snprintf(plugin.path, sizeof plugin.path, "%s", at("lib/w.so"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static void installed_then_beside_then_as_set(void **state)
{
    (void)state;
    expect_folder("lib/prompts"); /* neither is there: where a user would put them */
    folder_make("share");
    folder_make("share/w");
    folder_make("share/w/prompts");
    expect_folder("share/w/prompts");
    folder_make("lib/prompts");
    expect_folder("lib/prompts");
    settings.prompt_dir = "/set/by/the/user";
    char folder[256];
    sluice_prompts_folder(&settings, &plugin, at("share"), folder, sizeof folder);
    assert_string_equal(folder, "/set/by/the/user");
}

static void prompts_are_loaded_by_their_names(void **state)
{
    (void)state;
    static const char *const names[] = {"b", NULL};
    struct worker_host host = {.plugin = &plugin, .allocator = &sluice_heap};
    plugin.worker.prompts = names;
    folder_make("lib/prompts");
    put("lib/prompts/b.prompt", "Say {{query}}.");
    put("lib/prompts/notes.txt", "{{");
    put("lib/prompts/.prompt", "{{");
    sluice_prompts_load(&host, &settings, &report, &warnings);
    assert_int_equal(report.count, 0);
    assert_int_equal(host.prompts_count, 1);
    assert_string_equal(host.prompts[0].name, "b");
    host_fini(&host);
}

static void a_worker_without_prompts_needs_no_folder(void **state)
{
    (void)state;
    sluice_prompts_check(&settings, &plugin, &report, &warnings);
    assert_int_equal(report.count, 0);
}

static void each_missing_or_broken_prompt_is_told_once(void **state)
{
    (void)state;
    static const char *const names[] = {"missing", "broken", "good", "lost", NULL};
    plugin.worker.prompts = names;
    folder_make("lib/prompts");
    put("lib/prompts/broken.prompt", "x\n {{query");
    put("lib/prompts/good.prompt", "x");
    sluice_prompts_check(&settings, &plugin, &report, &warnings);
    char expected[1024];
    (void)snprintf(expected, sizeof expected,
                   "%s/broken.prompt:2:2: {{ without }} on the same line\n"
                   "worker w: prompt \"missing\": no file missing.prompt in %s, expected there or "
                   "in the folder that SLUICE_PROMPT_DIR names\n"
                   "worker w: prompt \"lost\": no file lost.prompt in %s, expected there or in the "
                   "folder that SLUICE_PROMPT_DIR names\n",
                   at("lib/prompts"), at("lib/prompts"), at("lib/prompts"));
    assert_string_equal(report.text, expected);
}

static void what_the_input_has_no_field_for_is_told(void **state)
{
    (void)state;
    static const char *const names[] = {"right", "typo", NULL};
    plugin.worker.prompts = names;
    plugin.worker.input = &rich__v1__rich__descriptor;
    folder_make("lib/prompts");
    put("lib/prompts/right.prompt", "{{text}}");
    put("lib/prompts/typo.prompt", "x\n{{txet}}");
    put("lib/prompts/unlisted.prompt", "{{of_another_message}}");
    sluice_prompts_check(&settings, &plugin, &report, &warnings);
    assert_int_equal(report.count, 0);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.text, "typo.prompt:2:1: "));
    assert_non_null(strstr(warnings.text, "txet"));
    assert_non_null(strstr(warnings.text, "rich.v1.Rich"));
}

static void a_folder_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    put("lib/prompts", "a file");
    sluice_prompts_check(&settings, &plugin, &report, &warnings);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.text, "lib/prompts: Not a directory"));
}

static void there_is_room_for_as_many_as_the_host_says(void **state)
{
    (void)state;
    char name[80];
    folder_make("lib/prompts");
    for (unsigned i = 0; i < HOST_PROMPTS_MAX; i++) {
        (void)snprintf(name, sizeof name, "lib/prompts/p%u.prompt", i);
        put(name, "x");
    }
    sluice_prompts_check(&settings, &plugin, &report, &warnings);
    assert_int_equal(report.count, 0);
    put("lib/prompts/one_more.prompt", "x");
    sluice_prompts_check(&settings, &plugin, &report, &warnings);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.text, "expected at most 64 prompts"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(installed_then_beside_then_as_set),
                                       TEST(prompts_are_loaded_by_their_names),
                                       TEST(a_worker_without_prompts_needs_no_folder),
                                       TEST(each_missing_or_broken_prompt_is_told_once),
                                       TEST(what_the_input_has_no_field_for_is_told),
                                       TEST(a_folder_that_cannot_be_read_is_told),
                                       TEST(there_is_room_for_as_many_as_the_host_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
