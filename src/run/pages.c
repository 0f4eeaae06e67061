/* SPDX-License-Identifier: Apache-2.0 */
#include "run/pages.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The tables of an object as the dynamic linker left them; NULL when there are none. */
static const ElfW(Dyn) * dynamic_of(const struct dl_phdr_info *object)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC) {
            return (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
        }
    }
    return NULL;
}

/* Did the dynamic linker write into its code? Such pages are not those of the file. */
static int has_text_relocations(const struct dl_phdr_info *object)
{
    const ElfW(Dyn) *entry = dynamic_of(object);
    if (entry == NULL) {
        return 1; /* unknown */
    }
    for (; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_TEXTREL ||
            (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0)) {
            return 1;
        }
    }
    return 0;
}

static int release_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)ctx;
    if (has_text_relocations(object)) {
        return 0;
    }
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        /* never written to: not even relocated, for which a part is writable at first */
        if (part->p_type == PT_LOAD && (part->p_flags & PF_W) == 0) {
            uintptr_t begin = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
            uintptr_t end = object->dlpi_addr + part->p_vaddr + part->p_memsz;
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
        }
    }
    return 0;
}

/* A debugger's breakpoints are written into the code: they would be gone. */
static int is_traced(void)
{
    static const char key[] = "TracerPid:";
    char line[256];
    int is = 1;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, sizeof key - 1) == 0) {
            is = atoi(line + sizeof key - 1) != 0;
            break;
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return is;
}

/* jemalloc's, where the program is linked with it. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
    __attribute__((weak));

static void release_heap(void)
{
    if (mallctl == NULL) {
        (void)malloc_trim(0);
        return;
    }
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
}

void sluice_pages_release(void)
{
    release_heap();
    if (!is_traced()) {
        (void)dl_iterate_phdr(release_object, NULL);
    }
}
