/* SPDX-License-Identifier: Apache-2.0 */
#include "run/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of this program, defined by the linker: class, byte order and machine of what it can load. */
extern const ElfW(Ehdr) __ehdr_start;

struct elf_file {
    int descriptor;
    uint64_t size;
    ElfW(Ehdr) header;
};

static int is_read(const struct elf_file *f, uint64_t at, void *out, size_t size)
{
    return pread(f->descriptor, out, size, (off_t)at) == (ssize_t)size;
}

/* `count` rows of `row` bytes from `at`, without an overflow. */
static int is_inside(const struct elf_file *f, uint64_t at, uint64_t count, uint64_t row)
{
    return at <= f->size && (row == 0 || count <= (f->size - at) / row);
}

static sluice_rc cut(const struct elf_file *f, const char *what, struct sluice_err *err)
{
    return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                          "the file is cut or damaged: its %s would end behind its %llu bytes",
                          what, (unsigned long long)f->size);
}

static sluice_rc header_check(struct elf_file *f, struct sluice_err *err)
{
    const ElfW(Ehdr) *h = &f->header;
    const ElfW(Ehdr) *own = &__ehdr_start;
    if (!is_read(f, 0, &f->header, sizeof f->header) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED, "not an ELF file");
    }
    if (h->e_ident[EI_CLASS] != own->e_ident[EI_CLASS] ||
        h->e_ident[EI_DATA] != own->e_ident[EI_DATA] || h->e_machine != own->e_machine) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                              "built for another machine: ELF class %d, byte order %d, machine %d, "
                              "expected %d, %d, %d",
                              h->e_ident[EI_CLASS], h->e_ident[EI_DATA], h->e_machine,
                              own->e_ident[EI_CLASS], own->e_ident[EI_DATA], own->e_machine);
    }
    if (h->e_type != ET_DYN || h->e_phentsize != sizeof(ElfW(Phdr))) {
        return sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                              "an ELF file of type %d, expected a shared object (%d)", h->e_type,
                              ET_DYN);
    }
    if (!is_inside(f, h->e_phoff, h->e_phnum, sizeof(ElfW(Phdr)))) {
        return cut(f, "table of segments", err);
    }
    /* 0: stripped of it. The loader does not read it, but it is the last that linkers write. */
    if (h->e_shoff != 0 && !is_inside(f, h->e_shoff, h->e_shnum, h->e_shentsize)) {
        return cut(f, "table of sections", err);
    }
    return SLUICE_OK;
}

static sluice_rc segments_check(const struct elf_file *f, struct sluice_err *err)
{
    for (uint32_t i = 0; i < f->header.e_phnum; i++) {
        ElfW(Phdr) segment;
        if (!is_read(f, f->header.e_phoff + i * sizeof segment, &segment, sizeof segment) ||
            !is_inside(f, segment.p_offset, segment.p_filesz, 1)) {
            return cut(f, "contents", err);
        }
    }
    return SLUICE_OK;
}

sluice_rc sluice_elf_file_check(const char *path, struct sluice_err *err)
{
    /* Not blocking: it may be a pipe. */
    struct elf_file f = {.descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    struct stat status;
    if (f.descriptor < 0 || fstat(f.descriptor, &status) != 0) {
        sluice_rc rc = sluice_err_set(err, SLUICE_ERR_NOT_FOUND, "%s", strerror(errno));
        if (f.descriptor >= 0) {
            (void)close(f.descriptor);
        }
        return rc;
    }
    f.size = (uint64_t)status.st_size;
    sluice_rc rc = S_ISREG(status.st_mode) ? header_check(&f, err)
                                           : sluice_err_set(err, SLUICE_ERR_UNSUPPORTED,
                                                            "not a file, expected a shared object");
    if (rc == SLUICE_OK) {
        rc = segments_check(&f, err);
    }
    (void)close(f.descriptor);
    return rc;
}
