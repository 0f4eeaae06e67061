/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a test puts down for what it tests. The case fails when that cannot be done. */
#ifndef SLUICE_TESTS_TEXT_FILE_H
#define SLUICE_TESTS_TEXT_FILE_H

/* Anew: what stood there is gone. */
void text_file_write(const char *path, const char *text);
/* At a path of its own, which replaces the XXXXXX at the end of `path`; for the owner's eyes only,
 * as a secret's file is. */
void text_file_make(char *path, const char *text);

#endif
