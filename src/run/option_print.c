/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of the option table that people and programs read. */
#include "run/option_box.h"
#include "run/worker_config.h"

#include <string.h>

const char *option_layer_name(uint8_t layer)
{
    static const char *const names[] = {"default", "file", "environment", "flag"};
    return names[layer];
}

void option_print_value(FILE *out, const struct option *o, const char *value, int as_json)
{
    char text[8192];
    option_mask(o, value, text, sizeof text);
    for (const char *p = text; *p != '\0'; p++) {
        if (as_json && (*p == '"' || *p == '\\')) {
            fputc('\\', out);
        }
        fputc(*p, out);
    }
}

static const char *shown(const struct sluice_settings_box *box, size_t i)
{
    const char *value = box->texts[i] == NULL ? "" : box->texts[i];
    return i == ROW_store ? box->settings.store : value;
}

static void warnings_print(const struct sluice_report *warnings, FILE *out)
{
    static const struct option row = {.kind = OPTION_TEXT};
    uint32_t count = warnings == NULL ? 0 : warnings->errors_count;
    char text[1024];
    fputs(",\"warnings\":[", out);
    for (uint32_t i = 0; i < count; i++) {
        sluice_report_line(warnings, i, text, sizeof text);
        fprintf(out, "%s{\"option\":\"%s\",\"text\":\"", i == 0 ? "" : ",",
                warnings->errors[i].option);
        option_print_value(out, &row, text, 1);
        fputs("\"}", out);
    }
    fputs("]", out);
}

void sluice_settings_print(const struct sluice_settings_box *box,
                           const struct sluice_config *worker, const struct sluice_report *warnings,
                           FILE *out, int as_json)
{
    fputs(as_json ? "{" : "", out);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (as_json) {
            fprintf(out, "%s\"%s\":{\"value\":\"", i == 0 ? "" : ",", sluice_option_rows[i].key);
            option_print_value(out, &sluice_option_rows[i], shown(box, i), 1);
            fprintf(out, "\",\"origin\":\"%s\"}", option_layer_name(box->layers[i]));
        } else {
            fprintf(out, "%-28s ", sluice_option_rows[i].key);
            option_print_value(out, &sluice_option_rows[i], shown(box, i), 0);
            fprintf(out, "  (%s)\n", option_layer_name(box->layers[i]));
        }
    }
    option_named_print(box, out, as_json);
    if (worker != NULL) {
        sluice_worker_config_print(worker, out, as_json);
    }
    if (as_json) {
        warnings_print(warnings, out);
        fputs("}\n", out);
    }
}

void sluice_options_print_flags(FILE *out)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        char flag[64];
        (void)snprintf(flag, sizeof flag, "%s", sluice_option_rows[i].key);
        for (char *p = flag; *p != '\0'; p++) {
            *p = *p == '.' || *p == '_' ? '-' : *p;
        }
        if (sluice_option_rows[i].kind != OPTION_SECRET) {
            fprintf(out, "  --%-28s %s [%s]\n", flag, sluice_option_rows[i].help,
                    sluice_option_rows[i].default_value);
        }
    }
    fputs("  --services-NAME-KEY           a service's KEY; `sluice check --reference` lists them\n"
          "  --outputs-NAME                subject of the worker's output NAME\n"
          "  --options-KEY                 option of the worker's own\n",
          out);
}

_Static_assert(ROW_llm_base_url < ROW_llm_api_key, "the first option of section llm");

/* Is this the first option of its section? */
static int begins_section(size_t i)
{
    size_t len = strcspn(sluice_option_rows[i].key, ".") + 1;
    for (size_t k = 0; k < i; k++) {
        if (strncmp(sluice_option_rows[k].key, sluice_option_rows[i].key, len) == 0) {
            return 0;
        }
    }
    return 1;
}

void sluice_options_print_example(FILE *out)
{
    fputs("# Configuration of a Sluice worker. Every line is optional and shows its default;\n"
          "# an environment variable (in brackets) takes precedence, a flag over that.\n"
          "# A secret can also be given as NAME_FILE or key_file: the path of a file.\n",
          out);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        size_t len = strcspn(sluice_option_rows[i].key, ".");
        if (!begins_section(i)) {
            continue;
        }
        fprintf(out, "\n# %.*s:\n", (int)len, sluice_option_rows[i].key);
        for (size_t k = i; k < OPTIONS_COUNT; k++) {
            if (strncmp(sluice_option_rows[k].key, sluice_option_rows[i].key, len + 1) == 0) {
                fprintf(out, "#   %s: %s   # %s [%s]\n", sluice_option_rows[k].key + len + 1,
                        sluice_option_rows[k].default_value[0] == '\0'
                            ? "\"\""
                            : sluice_option_rows[k].default_value,
                        sluice_option_rows[k].help, sluice_option_rows[k].env);
            }
        }
        if (i == ROW_llm_base_url) {
            option_header_example(out);
        }
    }
    option_named_example(out);
}

void sluice_options_print_reference(FILE *out)
{
    fputs("| key | environment | default | meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        fprintf(out, "| `%s` | `%s` | %s | ", sluice_option_rows[i].key, sluice_option_rows[i].env,
                sluice_option_rows[i].default_value[0] == '\0'
                    ? ""
                    : sluice_option_rows[i].default_value);
        for (const char *p = sluice_option_rows[i].help; *p != '\0'; p++) {
            fprintf(out, *p == '|' ? "\\|" : "%c", *p);
        }
        fputs(" |\n", out);
    }
    option_named_reference(out);
}

void sluice_options_print_schema(FILE *out)
{
    fputs("{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"worker.yaml\","
          "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{",
          out);
    int is_first = 1;
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        size_t len = strcspn(sluice_option_rows[i].key, ".");
        if (!begins_section(i)) {
            continue;
        }
        fprintf(out,
                "%s\"%.*s\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{",
                is_first ? "" : ",", (int)len, sluice_option_rows[i].key);
        is_first = 0;
        const char *comma = "";
        for (size_t k = i; k < OPTIONS_COUNT; k++) {
            if (strncmp(sluice_option_rows[k].key, sluice_option_rows[i].key, len + 1) != 0) {
                continue;
            }
            fprintf(
                out,
                "%s\"%s\":{\"type\":[\"string\",\"number\",\"boolean\"],\"description\":\"%s\"}",
                comma, sluice_option_rows[k].key + len + 1, sluice_option_rows[k].help);
            comma = ",";
            if (sluice_option_rows[k].kind == OPTION_SECRET) {
                fprintf(out, ",\"%s_file\":{\"type\":\"string\"}",
                        sluice_option_rows[k].key + len + 1);
            }
        }
        if (i == ROW_llm_base_url) {
            option_header_schema(out);
        }
        fputs("}}", out);
    }
    option_named_schema(out);
    fputs("}}\n", out);
}
