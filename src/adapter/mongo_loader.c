/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/mongo_loader.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODULE_NAME "sluice_mongo.so"
#define PATH_SIZE   4096u

static int is_readable(const char *path)
{
    return access(path, R_OK) == 0;
}

/* BUILD/src/cli/sluice has it in BUILD/src/adapter. 0: not there. */
static int find_in_build(char *path, size_t size)
{
    char program[PATH_SIZE];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len <= 0) {
        return 0;
    }
    program[len] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL) {
        return 0;
    }
    *slash = '\0';
    int n = snprintf(path, size, "%s/../adapter/%s", program, MODULE_NAME);
    return n > 0 && (size_t)n < size && is_readable(path);
}

static sluice_rc find_module(const char *folder, char *path, size_t size, struct sluice_err *err)
{
    if (folder == NULL && find_in_build(path, size)) {
        return SLUICE_OK;
    }
    folder = folder == NULL ? SLUICE_LIBDIR : folder;
    int n = snprintf(path, size, "%s/%s", folder, MODULE_NAME);
    if (n <= 0 || (size_t)n >= size || !is_readable(path)) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                              "MongoDB support is not installed: there is no %s in %s", MODULE_NAME,
                              folder);
    }
    return SLUICE_OK;
}

static sluice_rc load(const char *path, const struct sluice_mongo_module **out,
                      struct sluice_err *err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *reason = dlerror();
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED, "MongoDB support is not installed: %s",
                              reason == NULL ? path : reason);
    }
    sluice_mongo_module_fn *entry = NULL;
    void *symbol = dlsym(handle, SLUICE_MONGO_MODULE_ENTRY);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function pointer */
    const struct sluice_mongo_module *module = entry == NULL ? NULL : entry();
    if (module == NULL || strcmp(module->version, SLUICE_VERSION) != 0 ||
        module->config_size != sizeof(struct sluice_mongo_config)) {
        sluice_err_set(err, SLUICE_ERR_UNSUPPORTED, "%s belongs to version %s, expected %s", path,
                       module == NULL ? "unknown" : module->version, SLUICE_VERSION);
        (void)dlclose(handle); /* nothing of it has run */
        return SLUICE_ERR_UNSUPPORTED;
    }
    *out = module;
    return SLUICE_OK;
}

sluice_rc sluice_mongo_loader_create(const char *folder, const struct sluice_mongo_config *config,
                                     struct sluice_store **out, struct sluice_err *err)
{
    char path[PATH_SIZE];
    const struct sluice_mongo_module *module = NULL;
    sluice_rc rc = find_module(folder, path, sizeof path, err);
    if (rc != SLUICE_OK || (rc = load(path, &module, err)) != SLUICE_OK) {
        return rc;
    }
    return module->create(config, out, err);
}
