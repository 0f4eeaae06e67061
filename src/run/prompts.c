/* SPDX-License-Identifier: Apache-2.0 */
#include "run/prompts.h"

#include "run/heap.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void sluice_prompts_folder(const struct sluice_settings *settings,
                           const struct sluice_plugin *plugin, const char *datadir, char *path,
                           size_t size)
{
    char installed[4096];
    const char *slash = strrchr(plugin->path, '/');
    (void)snprintf(installed, sizeof installed, "%s/%s/prompts", datadir, plugin->worker.name);
    (void)snprintf(path, size, "%.*s/prompts", (int)(slash - plugin->path), plugin->path);
    if (settings->prompt_dir[0] != '\0') {
        (void)snprintf(path, size, "%s", settings->prompt_dir);
    } else if (access(path, F_OK) != 0 && access(installed, F_OK) == 0) {
        (void)snprintf(path, size, "%s", installed);
    }
}

static sluice_rc file_load(struct worker_host *host, const char *path, const char *name,
                           size_t name_len, struct sluice_err *err)
{
    if (host->prompts_count == HOST_PROMPTS_MAX || name_len > SLUICE_NAME_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "%s: expected at most %u prompts with names of at most 64 bytes",
                              path, HOST_PROMPTS_MAX);
    }
    FILE *in = fopen(path, "re");
    char *text = malloc(SLUICE_PROMPT_SIZE_MAX + 1);
    sluice_rc rc;
    if (in == NULL || text == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_CONFIG, "%s: %s", path, strerror(errno));
    } else {
        size_t len = fread(text, 1, SLUICE_PROMPT_SIZE_MAX + 1, in);
        struct host_prompt *p = &host->prompts[host->prompts_count];
        rc = ferror(in) ? sluice_err_set(err, SLUICE_ERR_CONFIG, "%s: %s", path, strerror(errno))
                        : sluice_prompt_parse(path, (sluice_bytes){text, len}, host->allocator,
                                              &p->prompt, err);
        if (rc == SLUICE_OK) {
            (void)snprintf(p->name, sizeof p->name, "%.*s", (int)name_len, name);
            host->prompts_count++;
        }
    }
    free(text);
    if (in != NULL) {
        (void)fclose(in);
    }
    return rc;
}

/* All files of the folder, which need not be there. */
static void folder_load(struct worker_host *host, const char *folder, struct sluice_report *report)
{
    static const struct sluice_place in_settings = {.option = "SLUICE_PROMPT_DIR"};
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        if (errno != ENOENT) {
            sluice_report_add(report, &in_settings, "%s: %s", folder, strerror(errno));
        }
        return;
    }
    const struct dirent *entry;
    while ((void)(errno = 0), (entry = readdir(dir)) != NULL) {
        struct sluice_err err = {.rc = SLUICE_OK};
        char path[4400];
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || dot == entry->d_name || strcmp(dot, ".prompt") != 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (file_load(host, path, entry->d_name, (size_t)(dot - entry->d_name), &err) !=
            SLUICE_OK) {
            sluice_report_add(report, NULL, "%s", err.text);
        }
    }
    if (errno != 0) { /* what lies behind would look as if it were not wanted */
        sluice_report_add(report, &in_settings, "%s: %s", folder, strerror(errno));
    }
    (void)closedir(dir);
}

static void fields_look(const struct worker_host *host, const char *name,
                        struct sluice_report *warnings)
{
    const sluice_worker *w = &host->plugin->worker;
    struct sluice_err err = {.rc = SLUICE_OK};
    for (uint32_t i = 0; warnings != NULL && w->input != NULL && i < host->prompts_count; i++) {
        const struct host_prompt *p = &host->prompts[i];
        if (strcmp(p->name, name) == 0 &&
            sluice_prompt_check(p->prompt, w->input, NULL, 0, &err) != SLUICE_OK) {
            sluice_report_add(warnings, NULL, "%s, in a prompt filled from %s", err.text,
                              w->input->name);
        }
    }
}

void sluice_prompts_load(struct worker_host *host, const struct sluice_settings *settings,
                         struct sluice_report *report, struct sluice_report *warnings)
{
    const sluice_worker *w = &host->plugin->worker;
    char folder[4096];
    sluice_prompts_folder(settings, host->plugin, SLUICE_DATADIR, folder, sizeof folder);
    folder_load(host, folder, report);
    for (const char *const *name = w->prompts; name != NULL && *name != NULL; name++) {
        char path[4200];
        (void)snprintf(path, sizeof path, "%s/%s.prompt", folder, *name);
        if (access(path, F_OK) != 0) { /* one that is there was loaded, or its fault was told */
            sluice_report_add(report, NULL,
                              "worker %s: prompt \"%s\": no file %s.prompt in %s, expected there "
                              "or in the folder that SLUICE_PROMPT_DIR names",
                              w->name, *name, *name, folder);
        }
        fields_look(host, *name, warnings);
    }
}

void sluice_prompts_check(const struct sluice_settings *settings,
                          const struct sluice_plugin *plugin, struct sluice_report *report,
                          struct sluice_report *warnings)
{
    struct worker_host host = {.plugin = plugin, .allocator = &sluice_heap};
    sluice_prompts_load(&host, settings, report, warnings);
    host_fini(&host);
}
