/* SPDX-License-Identifier: Apache-2.0 */
#include "run/loader.h"

#include "run/description.h"
#include "run/elf_file.h"
#include "run/watch.h"
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAJORS_LOOKED_FOR 16u

static sluice_rc path_find(const char *worker, const char *directory, char *path, size_t size,
                           struct sluice_err *err)
{
    char wanted[PATH_MAX];
    int written;
    if (strchr(worker, '/') != NULL) {
        written = snprintf(wanted, sizeof wanted, "%s", worker);
    } else {
        written = snprintf(wanted, sizeof wanted, "%s/%s.so",
                           directory[0] != '\0' ? directory : SLUICE_WORKERDIR, worker);
    }
    if (written < 0 || (size_t)written >= sizeof wanted) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "worker %.64s…: the path is too long",
                              worker);
    }
    char resolved[PATH_MAX];
    if (realpath(wanted, resolved) == NULL || access(resolved, R_OK) != 0) {
        int is_path = strcmp(worker, wanted) == 0;
        return sluice_err_set(err, SLUICE_ERR_NOT_FOUND,
                              "worker %s: %s%s%s; expected a readable shared object", worker,
                              is_path ? "" : wanted, is_path ? "" : ": ", strerror(errno));
    }
    if (strlen(resolved) >= size) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "worker %s: the path is too long", worker);
    }
    memcpy(path, resolved, strlen(resolved) + 1);
    return SLUICE_OK;
}

/* Function pointers and object pointers differ in ISO C; dlsym's answer is copied. */
static sluice_worker_entry_fn *entry_find(void *library, const char *symbol)
{
    void *found = dlsym(library, symbol);
    sluice_worker_entry_fn *entry = NULL;
    memcpy(&entry, &found, sizeof entry);
    return entry;
}

static sluice_rc entry_missing(void *library, const char *path, struct sluice_err *err)
{
    for (unsigned major = 1; major <= MAJORS_LOOKED_FOR; major++) {
        char symbol[64];
        (void)snprintf(symbol, sizeof symbol, "sluice_worker_entry_v%u", major);
        if (major != SLUICE_ABI_MAJOR && dlsym(library, symbol) != NULL) {
            return sluice_err_set(
                err, SLUICE_ERR_UNSUPPORTED,
                "worker %s: built for worker ABI %u, this host has %u.%u; rebuild "
                "it against this host's sluice/worker.h",
                path, major, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
        }
    }
    return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                          "worker %s: no symbol %s; expected a plug-in that uses SLUICE_WORKER(…)",
                          path, SLUICE_WORKER_ENTRY);
}

/* Of sluice_worker in each minor: members are appended only. */
static const size_t sizes[] = {offsetof(sluice_worker, services), sizeof(sluice_worker)};
_Static_assert(sizeof sizes / sizeof sizes[0] == SLUICE_ABI_MINOR + 1, "a size for each minor");

static sluice_rc abi_check(const sluice_worker *w, const char *path, struct sluice_err *err)
{
    if (w == NULL || w->magic != SLUICE_WORKER_MAGIC) {
        return sluice_err_set(
            err, SLUICE_ERR_UNSUPPORTED,
            "worker %s: its description has no magic number; expected one made by "
            "SLUICE_WORKER(…)",
            path);
    }
    int is_major_right = w->abi_major == SLUICE_ABI_MAJOR;
    if (!is_major_right || w->abi_minor > SLUICE_ABI_MINOR) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                              "worker %s: built for worker ABI %u.%u, this host has %u.%u; %s",
                              path, w->abi_major, w->abi_minor, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR,
                              is_major_right ? "use a newer host" : "rebuild the worker");
    }
    if (w->struct_size != sizes[w->abi_minor]) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                              "worker %s: its description has %u bytes, expected %zu of ABI %u.%u; "
                              "rebuild the worker",
                              path, w->struct_size, sizes[w->abi_minor], w->abi_major,
                              w->abi_minor);
    }
    return SLUICE_OK;
}

static sluice_rc library_open(const char *path, const sluice_worker **described,
                              struct sluice_err *err)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *words = dlerror(); /* most begin with the path */
        size_t len = strlen(path);
        words = words == NULL ? "" : words;
        words += strncmp(words, path, len) == 0 && strncmp(words + len, ": ", 2) == 0 ? len + 2 : 0;
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED, "worker %s: cannot be loaded: %s", path,
                              words);
    }
    sluice_worker_entry_fn *entry = entry_find(library, SLUICE_WORKER_ENTRY);
    if (entry == NULL) {
        return entry_missing(library, path, err);
    }
    *described = entry();
    return SLUICE_OK;
}

sluice_rc sluice_plugin_load(const char *worker, const char *directory, struct sluice_plugin *out,
                             struct sluice_err *err)
{
    memset(out, 0, sizeof *out);
    sluice_rc rc = path_find(worker, directory, out->path, sizeof out->path, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    struct sluice_err cause = {.rc = SLUICE_OK};
    if ((rc = sluice_elf_file_check(out->path, &cause)) != SLUICE_OK) {
        return sluice_err_set(err, rc, "worker %s: cannot be loaded: %s", out->path, cause.text);
    }
    const sluice_worker *described = NULL;
    if (!sluice_watch_guard()) { /* its constructors and its entry are run */
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "worker %s: no memory", out->path);
    }
    rc = library_open(out->path, &described, err);
    sluice_watch_unguard();
    if (rc != SLUICE_OK) {
        return rc;
    }
    if ((rc = abi_check(described, out->path, err)) != SLUICE_OK) {
        return rc;
    }
    memcpy(&out->worker, described, described->struct_size);
    return sluice_description_check(&out->worker, out->path, err);
}
