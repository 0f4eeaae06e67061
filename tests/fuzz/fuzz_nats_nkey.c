/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a seed file or of a credentials file, as it is and behind a path. Credentials have a
 * seed; a key has its form; a refusal says nothing of what is in the file. */
#include "adapter/nats_files.h"
#include "scratch_file.h"
#include <string.h>

#define WORD_LEN 12u /* shorter pieces may stand in our own words by chance */

static void check_refusal(const struct sluice_err *err, sluice_rc rc, sluice_bytes text)
{
    FUZZ_CHECK(rc == SLUICE_ERR_CONFIG && err->rc == rc && err->text[0] != '\0');
    size_t len = strlen(err->text);
    for (size_t i = 0; i + WORD_LEN <= text.len; i++) {
        const char *piece = (const char *)text.data + i;
        if (memchr(piece, ' ', WORD_LEN) == NULL) { /* ours have words, a secret has none */
            FUZZ_CHECK(memmem(err->text, len, piece, WORD_LEN) == NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char key[SLUICE_NKEY_SIZE];
    struct sluice_err seed_err = {0}, creds_err = {0}, file_err = {0};
    struct fuzz_input in = fuzz_input_of(data, size);
    sluice_bytes text = fuzz_take_rest(&in);
    memset(key, '?', sizeof key);
    sluice_rc seed = sluice_nkey_public(text.data, text.len, key, &seed_err);
    sluice_rc creds = sluice_creds_check(text.data, text.len, &creds_err);
    if (seed == SLUICE_OK) {
        FUZZ_CHECK(key[0] == 'U' && key[sizeof key - 1] == '\0');
        FUZZ_CHECK(strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == sizeof key - 1);
    } else {
        check_refusal(&seed_err, seed, text);
        FUZZ_CHECK(key[0] == '?'); /* untouched */
    }
    FUZZ_CHECK(creds != SLUICE_OK || seed == SLUICE_OK);
    if (creds != SLUICE_OK) {
        check_refusal(&creds_err, creds, text);
    }
    const char *path = fuzz_scratch_file(text.data, text.len);
    FUZZ_CHECK(sluice_nats_file_check(SLUICE_NATS_FILE_NKEY, path, &file_err) == seed);
    FUZZ_CHECK(sluice_nats_file_check(SLUICE_NATS_FILE_CREDS, path, &file_err) == creds);
    fuzz_input_fini(&in);
    return 0;
}
