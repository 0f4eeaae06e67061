/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a folder of prompt files. */
#include "run/host.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sluice_rc file_load(struct worker_host *host, const char *directory, const char *file,
                           size_t name_len, struct sluice_err *err)
{
    if (host->prompts_count == HOST_PROMPTS_MAX || name_len > SLUICE_NAME_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "%s/%s: expected at most %u prompts with names of at most 64 bytes",
                              directory, file, HOST_PROMPTS_MAX);
    }
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", directory, file);
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
            (void)snprintf(p->name, sizeof p->name, "%.*s", (int)name_len, file);
            host->prompts_count++;
        }
    }
    free(text);
    if (in != NULL) {
        (void)fclose(in);
    }
    return rc;
}

sluice_rc host_prompts_load(struct worker_host *host, const char *directory, struct sluice_err *err)
{
    DIR *dir = opendir(directory);
    if (dir == NULL) {
        return errno == ENOENT ? SLUICE_OK /* a worker needs no prompt files */
                               : sluice_err_set(err, SLUICE_ERR_CONFIG, "prompts: %s: %s",
                                                directory, strerror(errno));
    }
    sluice_rc rc = SLUICE_OK;
    const struct dirent *entry;
    while (rc == SLUICE_OK && (entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && dot != entry->d_name && strcmp(dot, ".prompt") == 0) {
            rc = file_load(host, directory, entry->d_name, (size_t)(dot - entry->d_name), err);
        }
    }
    (void)closedir(dir);
    return rc;
}

void host_fini(struct worker_host *host)
{
    for (uint32_t i = 0; i < host->prompts_count; i++) {
        sluice_prompt_destroy(host->prompts[i].prompt);
    }
    host->prompts_count = 0;
    sluice_arena_fini(&host->scratch);
}
