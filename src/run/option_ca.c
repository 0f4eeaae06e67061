/* SPDX-License-Identifier: Apache-2.0 */
/* The CA certificates of the LLM and of each service: a file of their own, else what SSL_CERT_FILE
 * names, else the system's. libcurl itself does not read that variable. */
#include "run/option_box.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "SSL_CERT_FILE"

/* Without a certificate each connection would fail, and only say that the file is bad. */
static int has_certificate(FILE *file)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    static const char end[] = "-----END CERTIFICATE-----";
    char line[512];
    int is_begun = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        is_begun = is_begun || strncmp(line, begin, sizeof begin - 1) == 0;
        if (is_begun && strncmp(line, end, sizeof end - 1) == 0) {
            return 1;
        }
    }
    return 0;
}

static int ca_check(const char *path, const struct option_source *s)
{
    errno = 0;
    FILE *file = fopen(path, "re");
    int is_good = file != NULL && has_certificate(file);
    int why = file == NULL || ferror(file) ? errno : 0;
    if (!is_good) {
        sluice_report_add(s->report, &s->place, "%s: %s, expected a PEM file of CA certificates",
                          path, why != 0 ? strerror(why) : "holds no certificate");
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return is_good;
}

/* In lower case: no other spelling is taken as a URL. */
static int is_https(const char *url)
{
    return strncmp(url, "https:", 6) == 0;
}

/* Check what row `o` of `base` says, or take the variable in its place. */
static void ca_settle(const struct option *o, const char *url, void *base, char **text,
                      uint8_t *layer, const struct option_source *s)
{
    const char *value = *text == NULL ? "" : *text;
    const char *variable = getenv(VARIABLE);
    if (value[0] != '\0') {
        (void)ca_check(value, s);
        return;
    }
    struct option_source own = {{.option = VARIABLE, .is_variable = 1}, s->report};
    if (*layer == LAYER_DEFAULT && is_https(url) && variable != NULL && variable[0] != '\0' &&
        ca_check(variable, &own) && option_set(o, variable, base, text, &own)) {
        *layer = LAYER_ENVIRONMENT;
    }
}

void option_ca_check(struct sluice_settings_box *box, struct sluice_report *report)
{
    struct sluice_settings *all = &box->settings;
    struct option_source s = {option_place(box, sluice_option_rows[ROW_llm_ca].key,
                                           box->layers[ROW_llm_ca], box->at[ROW_llm_ca], "LLM_CA"),
                              report};
    ca_settle(&sluice_option_rows[ROW_llm_ca], all->llm_base_url, all, &box->texts[ROW_llm_ca],
              &box->layers[ROW_llm_ca], &s);
    for (uint32_t i = 0; i < all->services_count; i++) {
        struct service_origin *origin = &box->services[i];
        char key[128];
        (void)snprintf(key, sizeof key, "services.%s.ca", all->services[i].name);
        s.place =
            option_place(box, key, origin->layers[SERVICE_ROW_ca], origin->at[SERVICE_ROW_ca], key);
        ca_settle(&sluice_service_rows[SERVICE_ROW_ca], all->services[i].url, &all->services[i],
                  &origin->texts[SERVICE_ROW_ca], &origin->layers[SERVICE_ROW_ca], &s);
    }
}
