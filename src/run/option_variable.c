/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the environment that look like ours and are not. */
#include "run/option_box.h"

#include "run/nearest.h"
#include <regex.h>
#include <string.h>

#define OUR_PREFIX "SLUICE_"
#define NAME_LETTERS                                                                               \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-." /* Kubernetes takes these  \
                                                                         */

extern char **environ;

static int is_like(const char *text, const char *expression)
{
    regex_t compiled;
    if (regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB) != 0) {
        return 0;
    }
    int is_match = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return is_match;
}

int sluice_settings_is_kubernetes(const char *variable, const char *value)
{
    return is_like(variable, "_(SERVICE_HOST|SERVICE_PORT(_.+)?|"
                             "PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$") ||
           (is_like(variable, "_PORT$") && is_like(value, "^(tcp|udp|sctp)://"));
}

static int has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Sections whose names the loader itself checks, and what `sluice bench` says to its workers. */
static int is_of_a_family(const char *variable)
{
    return has_prefix(variable, "SLUICE_SERVICE_") || has_prefix(variable, "SLUICE_OPTION_") ||
           has_prefix(variable, "SLUICE_BENCH_");
}

/* Also without the prefix, which not all of ours have. */
static void look(struct nearest *n, const char *variable, const char *known)
{
    nearest_look(n, variable, known);
    nearest_look(n, variable + strlen(OUR_PREFIX), known);
}

static void variable_check(const char *variable, struct sluice_report *report)
{
    char file_names[OPTIONS_COUNT][64];
    struct nearest n = {NULL, 0};
    look(&n, variable, "SLUICE_OUTPUTS");
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *o = &sluice_option_rows[i];
        look(&n, variable, o->env);
        if (o->kind == OPTION_SECRET) {
            (void)snprintf(file_names[i], sizeof file_names[i], "%s_FILE", o->env);
            look(&n, variable, file_names[i]);
        }
    }
    if (strcmp(n.name, variable) == 0) {
        return;
    }
    int is_near = nearest_is_near(&n, variable + strlen(OUR_PREFIX));
    sluice_report_add(report, &(struct sluice_place){.option = variable, .is_variable = 1},
                      "unknown variable, ignored%s%s%s", is_near ? "; did you mean " : "",
                      is_near ? n.name : "", is_near ? "?" : "");
}

void sluice_settings_variables_check(struct sluice_report *warnings)
{
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        char variable[256];
        size_t len = strcspn(*e, "=");
        const char *value = (*e)[len] == '=' ? *e + len + 1 : "";
        (void)snprintf(variable, sizeof variable, "%.*s", (int)len, *e);
        if (has_prefix(variable, OUR_PREFIX) && strspn(variable, NAME_LETTERS) == len &&
            !is_of_a_family(variable) && !sluice_settings_is_kubernetes(variable, value)) {
            variable_check(variable, warnings);
        }
    }
}
