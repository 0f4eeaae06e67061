/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in ABI: where its members stand, that workers of older minors load, and what is said
 * about those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run/loader.h"
#include <link.h>
#include <stdio.h>
#include <string.h>

/* Members never move; what is new stands behind. LP64, which is what Debian's architectures with
 * 64 bits are. */
#define AT(type, member, offset)                                                                   \
    _Static_assert(sizeof(void *) != 8 || offsetof(type, member) == (offset), #type "." #member)

AT(sluice_worker, magic, 0);
AT(sluice_worker, abi_major, 4);
AT(sluice_worker, abi_minor, 6);
AT(sluice_worker, struct_size, 8);
AT(sluice_worker, kind, 12);
AT(sluice_worker, name, 16);
AT(sluice_worker, version, 24);
AT(sluice_worker, input, 32);
AT(sluice_worker, key_field, 40);
AT(sluice_worker, on_message, 48);
AT(sluice_worker, routes, 56);
AT(sluice_worker, require, 64);
AT(sluice_worker, reserved, 68);
AT(sluice_worker, outputs, 72);
AT(sluice_worker, options, 80);
AT(sluice_worker, create, 88);
AT(sluice_worker, destroy, 96);
AT(sluice_worker, services, 104); /* 1.1 */
AT(sluice_worker, prompts, 112);
_Static_assert(sizeof(void *) != 8 || sizeof(sluice_worker) == 120, "size of 1.1");

AT(sluice_host, struct_size, 0);
AT(sluice_host, abi_major, 4);
AT(sluice_host, abi_minor, 6);
AT(sluice_host, decode, 8);
AT(sluice_host, llm_start, 16);
AT(sluice_host, llm_await, 24);
AT(sluice_host, await_all, 32);
AT(sluice_host, http, 40);
AT(sluice_host, find, 48);
AT(sluice_host, offload, 56);
AT(sluice_host, store, 64);
AT(sluice_host, publish, 72);
AT(sluice_host, fail, 80);
AT(sluice_host, alloc, 88);
AT(sluice_host, format, 96);
AT(sluice_host, defer, 104);
AT(sluice_host, self, 112);
AT(sluice_host, key, 120);
AT(sluice_host, correlation_id, 128);
AT(sluice_host, header, 136);
AT(sluice_host, now, 144);
AT(sluice_host, random, 152);
AT(sluice_host, log, 160);
AT(sluice_host, option_text, 168);
AT(sluice_host, option_number, 176);

AT(sluice_msg, struct_size, 0);
AT(sluice_msg, deliveries, 4);
AT(sluice_msg, subject, 8);
AT(sluice_msg, type, 16);
AT(sluice_msg, body, 24);
AT(sluice_msg, sequence, 40);
AT(sluice_msg, stored_unix_ns, 48);
AT(sluice_msg, stream, 56);

AT(sluice_llm_request, prompt, 0);
AT(sluice_llm_request, vars, 8);
AT(sluice_llm_request, more_vars, 16);
AT(sluice_llm_request, more_vars_count, 24);
AT(sluice_llm_request, max_tokens, 28);
AT(sluice_llm_request, answer, 32);
AT(sluice_llm_request, model, 40);
AT(sluice_llm_request, system, 48);
AT(sluice_llm_request, user, 56);
AT(sluice_llm_request, temperature, 64);
AT(sluice_llm_request, timeout_ms, 72);

AT(sluice_llm_reply, answer, 0);
AT(sluice_llm_reply, text, 8);
AT(sluice_llm_reply, model, 24);
AT(sluice_llm_reply, finish_reason, 32);
AT(sluice_llm_reply, prompt_tokens, 40);
AT(sluice_llm_reply, completion_tokens, 44);
AT(sluice_llm_reply, created_unix_ms, 48);

AT(sluice_http_request, method, 0);
AT(sluice_http_request, path, 8);
AT(sluice_http_request, headers, 16);
AT(sluice_http_request, headers_count, 24);
AT(sluice_http_request, timeout_ms, 28);
AT(sluice_http_request, body, 32);
AT(sluice_http_request, content_type, 48);

AT(sluice_http_reply, status, 0);
AT(sluice_http_reply, body, 8);
AT(sluice_http_reply, content_type, 24);

AT(sluice_route, input, 0);
AT(sluice_route, subject, 8);
AT(sluice_route, on_message, 16);
AT(sluice_route, key_field, 24);

AT(sluice_option, key, 0);
AT(sluice_option, kind, 8);
AT(sluice_option, required, 12);
AT(sluice_option, default_value, 16);
AT(sluice_option, min, 24);
AT(sluice_option, max, 32);
AT(sluice_option, help, 40);
_Static_assert(sizeof(void *) != 8 || sizeof(sluice_option) == 48, "rows of a list cannot grow");
_Static_assert(sizeof(void *) != 8 || sizeof(sluice_route) == 32, "rows of a list cannot grow");
_Static_assert(sizeof(void *) != 8 || sizeof(sluice_header) == 16, "rows of a list cannot grow");
_Static_assert(sizeof(void *) != 8 || sizeof(sluice_var) == 16, "rows of a list cannot grow");

static struct sluice_plugin plugin;
static struct sluice_err err;

static sluice_rc load(const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/abi_%s.so", FOLDER, name);
    err = (struct sluice_err){.rc = SLUICE_OK};
    return sluice_plugin_load(path, "", &plugin, &err);
}

static void a_worker_of_this_version_loads(void **state)
{
    (void)state;
    if (load("right") != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(plugin.worker.name, "variant");
    assert_string_equal(plugin.worker.services[0], "crm");
    assert_string_equal(plugin.worker.prompts[0], "question");
    assert_int_equal(plugin.path[0], '/');
}

static void a_worker_with_routes_loads(void **state)
{
    (void)state;
    if (load("routes") != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
}

/* Built against tests/abi/1.0/sluice/worker.h, which never changes again. */
static void a_worker_of_an_older_minor_loads(void **state)
{
    (void)state;
    if (load("old") != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(plugin.worker.abi_minor, 0);
    assert_int_equal(plugin.worker.struct_size, offsetof(sluice_worker, services));
    assert_string_equal(plugin.worker.outputs[0], "ready");
    assert_null(plugin.worker.services); /* what it does not know is zero */
    assert_null(plugin.worker.prompts);
}

static void each_refusal_tells_path_reason_and_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sluice_rc rc;
        const char *text;
    } cases[] = {
        {"no_magic", SLUICE_ERR_UNSUPPORTED, "no magic number; expected one made by SLUICE_WORKER"},
        {"no_answer", SLUICE_ERR_UNSUPPORTED, "no magic number"},
        {"other_major", SLUICE_ERR_UNSUPPORTED, "built for worker ABI 7."},
        {"newer_minor", SLUICE_ERR_UNSUPPORTED, "built for worker ABI 1.99, this host has 1."},
        {"newer_minor", SLUICE_ERR_UNSUPPORTED, "use a newer host"},
        {"other_entry", SLUICE_ERR_UNSUPPORTED, "built for worker ABI 2, this host has 1."},
        {"other_size", SLUICE_ERR_UNSUPPORTED, "has 40 bytes, expected "},
        {"bad_name", SLUICE_ERR_VALIDATION, "name: \"Not A Name\", expected [a-z0-9-]{1,64}"},
        {"no_version", SLUICE_ERR_VALIDATION, "version: empty"},
        {"no_handler", SLUICE_ERR_VALIDATION, "expected either on_message or routes"},
        {"both", SLUICE_ERR_VALIDATION, "expected either on_message or routes"},
        {"other_kind", SLUICE_ERR_UNSUPPORTED, "kind 9"},
        {"bad_output", SLUICE_ERR_VALIDATION, "outputs: \"not a name\", expected at most 16"},
        {"output_twice", SLUICE_ERR_VALIDATION,
         "outputs: \"ready\", expected at most 16 different"},
        {"bad_service", SLUICE_ERR_VALIDATION, "services: \"\", expected at most 13"},
        {"bad_prompt", SLUICE_ERR_VALIDATION, "prompts: \"a/b\", expected at most 64"},
        {"bad_input", SLUICE_ERR_VALIDATION,
         "(variant): input: no descriptor of a protobuf type, expected &PREFIX__descriptor"},
        {"bad_key", SLUICE_ERR_VALIDATION,
         "(variant): key_field: \"idd\", expected a text field of v.One, no list"},
        {"list_key", SLUICE_ERR_VALIDATION, "key_field: \"ids\", expected a text field of v.Other"},
        {"empty_key", SLUICE_ERR_VALIDATION, "key_field: \"\", expected a text field of v.One"},
        {"route_key", SLUICE_ERR_VALIDATION,
         "(variant): routes[1].key_field: \"ids\", expected a text field of v.One"},
        {"worker_key", SLUICE_ERR_VALIDATION,
         "routes[1].key_field: \"id\", expected a text field of v.Other"},
        {"bad_subject", SLUICE_ERR_VALIDATION,
         "routes[0].subject: \"a.>.b\", expected a subject, or a pattern of * and >"},
        {"no_route", SLUICE_ERR_VALIDATION, "routes[1].on_message: NULL, expected a function"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "abi_%s.so", cases[i].name);
        sluice_rc rc = load(cases[i].name);
        if (rc != cases[i].rc || strstr(err.text, cases[i].text) == NULL ||
            strstr(err.text, path) == NULL) {
            fail_msg("%s: %s: %s", cases[i].name, sluice_status_name(rc), err.text);
        }
    }
}

static void names_and_paths_that_lead_nowhere_are_told(void **state)
{
    (void)state;
    assert_int_equal(sluice_plugin_load("/nonexistent/w.so", "", &plugin, &err),
                     SLUICE_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/w.so"));
    assert_int_equal(sluice_plugin_load("w", "/nonexistent", &plugin, &err), SLUICE_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/w.so: No such file"));
    assert_int_equal(sluice_plugin_load("/dev/null", "", &plugin, &err), SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(sluice_plugin_load("abi_right", FOLDER, &plugin, &err), SLUICE_OK);
}

/* ---- Files that the dynamic loader must never see ---- */

static char whole[1u << 20];
static size_t whole_size;

static void whole_read(void)
{
    FILE *f = fopen(FOLDER "/abi_right.so", "rb");
    assert_non_null(f);
    whole_size = fread(whole, 1, sizeof whole, f);
    (void)fclose(f);
    assert_in_range(whole_size, sizeof(ElfW(Ehdr)), sizeof whole - 1);
}

static sluice_rc load_bytes(size_t size)
{
    static const char path[] = FOLDER "/abi_damaged.so";
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(whole, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    sluice_rc rc = load("damaged");
    assert_int_equal(remove(path), 0);
    return rc;
}

static void a_file_that_is_cut_anywhere_is_refused(void **state)
{
    (void)state;
    whole_read();
    for (size_t size = 0; size < whole_size; size += size < 256 ? 1 : 61) {
        if (load_bytes(size) != SLUICE_ERR_UNSUPPORTED ||
            strstr(err.text, "abi_damaged.so: cannot be loaded: ") == NULL ||
            strstr(err.text, size < sizeof(ElfW(Ehdr)) ? "not an ELF file" : "is cut") == NULL) {
            fail_msg("cut at %zu: %s", size, err.text);
        }
    }
    assert_int_equal(load_bytes(whole_size - 1), SLUICE_ERR_UNSUPPORTED);
    assert_int_equal(load_bytes(whole_size), SLUICE_OK);
}

static void a_file_of_another_kind_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        char value;
        const char *text;
    } cases[] = {{0, 'x', "not an ELF file"},
                 {EI_CLASS, 7, "another machine: ELF class 7"},
                 {EI_DATA, 7, "byte order 7"},
                 {offsetof(ElfW(Ehdr), e_machine), 99, "expected "},
                 {offsetof(ElfW(Ehdr), e_type), ET_EXEC, "type 2, expected a shared object (3)"},
                 {offsetof(ElfW(Ehdr), e_phoff) + 3, 127, "table of segments would end behind"},
                 {offsetof(ElfW(Ehdr), e_phoff) + 7, -1, "table of segments would end behind"},
                 {offsetof(ElfW(Ehdr), e_shoff) + 7, -1, "table of sections would end behind"},
                 {sizeof(ElfW(Ehdr)) + offsetof(ElfW(Phdr), p_filesz) + 7, -1, "its contents"},
                 {sizeof(ElfW(Ehdr)) + offsetof(ElfW(Phdr), p_offset) + 7, -1, "its contents"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        whole_read();
        whole[cases[i].at] = cases[i].value;
        if (load_bytes(whole_size) != SLUICE_ERR_UNSUPPORTED ||
            strstr(err.text, cases[i].text) == NULL) {
            fail_msg("expected %s: %s", cases[i].text, err.text);
        }
    }
    assert_int_equal(sluice_plugin_load(FOLDER "/.", "", &plugin, &err), SLUICE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "not a file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_worker_of_this_version_loads),
                                       cmocka_unit_test(a_worker_with_routes_loads),
                                       cmocka_unit_test(a_worker_of_an_older_minor_loads),
                                       cmocka_unit_test(each_refusal_tells_path_reason_and_remedy),
                                       cmocka_unit_test(names_and_paths_that_lead_nowhere_are_told),
                                       cmocka_unit_test(a_file_that_is_cut_anywhere_is_refused),
                                       cmocka_unit_test(a_file_of_another_kind_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
