/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one target over each file of a folder, without libFuzzer: as it is, cut at every offset, and
 * with single bytes changed (always the same ones). usage: replay_TARGET FOLDER */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_SIZE_MAX    65536u
#define CUTS_SIZE_MAX    1024u /* larger files are run as they are */
#define CHANGES_PER_BYTE 2

static unsigned long executions;

static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    FUZZ_CHECK(exact != NULL);
    if (size != 0) {
        memcpy(exact, data, size);
    }
    (void)LLVMFuzzerTestOneInput(exact, size);
    executions++;
    free(exact);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void run_variants(uint8_t *data, size_t size)
{
    uint32_t random = 2463534242u;
    run(data, size);
    for (size_t cut = 0; cut < size && size <= CUTS_SIZE_MAX; cut++) {
        run(data, cut);
    }
    for (size_t i = 0; i < size * CHANGES_PER_BYTE && size <= CUTS_SIZE_MAX; i++) {
        uint8_t kept = data[i / CHANGES_PER_BYTE];
        data[i / CHANGES_PER_BYTE] = (uint8_t)next_random(&random);
        run(data, size);
        data[i / CHANGES_PER_BYTE] = kept;
    }
}

static int run_file(const char *folder, const char *name)
{
    static uint8_t data[FILE_SIZE_MAX];
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        perror(path);
        return 0;
    }
    size_t size = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    run_variants(data, size);
    return 1;
}

int main(int count, char **arguments)
{
    DIR *folder = count == 2 ? opendir(arguments[1]) : NULL;
    if (folder == NULL) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    unsigned files = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            if (!run_file(arguments[1], entry->d_name)) {
                return 1;
            }
            files++;
        }
    }
    (void)closedir(folder);
    (void)printf("%u files, %lu executions\n", files, executions);
    return files == 0; /* an empty corpus proves nothing */
}
