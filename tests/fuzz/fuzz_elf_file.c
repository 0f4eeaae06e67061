/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in's file before the dynamic loader maps it. Of one that is taken, each segment lies in
 * it; what is refused has a reason. */
#include "run/elf_file.h"
#include "scratch_file.h"
#include <link.h>
#include <string.h>

static void check_segments(sluice_bytes file)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    FUZZ_CHECK(file.len >= sizeof header);
    memcpy(&header, file.data, sizeof header);
    FUZZ_CHECK(header.e_type == ET_DYN && header.e_phentsize == sizeof segment);
    FUZZ_CHECK(header.e_phoff <= file.len);
    FUZZ_CHECK(header.e_phnum <= (file.len - header.e_phoff) / sizeof segment);
    for (size_t i = 0; i < header.e_phnum; i++) {
        memcpy(&segment, (const char *)file.data + header.e_phoff + i * sizeof segment,
               sizeof segment);
        FUZZ_CHECK(segment.p_offset <= file.len);
        FUZZ_CHECK(segment.p_filesz <= file.len - segment.p_offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sluice_err err = {0};
    struct fuzz_input in = fuzz_input_of(data, size);
    sluice_bytes file = fuzz_take_rest(&in);
    sluice_rc rc = sluice_elf_file_check(fuzz_scratch_file(file.data, file.len), &err);
    if (rc == SLUICE_OK) {
        check_segments(file);
    } else {
        FUZZ_CHECK(rc == SLUICE_ERR_UNSUPPORTED && err.rc == rc && err.text[0] != '\0');
    }
    fuzz_input_fini(&in);
    return 0;
}
