/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text, exactly and whatever the locale. Pure, any thread. */
#ifndef SLUICE_CODEC_NUMBER_H
#define SLUICE_CODEC_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define SLUICE_NUMBER_SIZE     32u /* longest text that is written, its NUL included */
#define SLUICE_NUMBER_TEXT_MAX 63u /* longest text that is read */

/* A number that came in: exact when it is whole and fits. */
struct sluice_number {
    int is_whole; /* sign and magnitude are exact */
    int is_negative;
    uint64_t magnitude;
    double real; /* always */
};

/* Length of the number in JSON's grammar that text begins with; 0 when there is none. */
size_t sluice_number_span(const char *text, size_t len);

/* Read a text that is one number in JSON's grammar. 0 when it is not, is longer than
 * SLUICE_NUMBER_TEXT_MAX or is not finite. */
int sluice_number_parse(const char *text, size_t len, struct sluice_number *number);

struct sluice_number sluice_number_of_int64(int64_t value);
struct sluice_number sluice_number_of_double(double value);

/* 1 and the value when it is whole and in the type's range. */
int sluice_number_to_int64(const struct sluice_number *number, int64_t *value);
int sluice_number_to_uint64(const struct sluice_number *number, uint64_t *value);
int sluice_number_to_int32(const struct sluice_number *number, int32_t *value);
int sluice_number_to_uint32(const struct sluice_number *number, uint32_t *value);

/* Write in decimal, with a NUL; the length without it. A float gets the digits that a float needs.
 * What is written reads back as the same value. What is not finite gets the name that protobuf's
 * JSON has for it, without its quotes: NaN, Infinity, -Infinity. */
size_t sluice_number_write_uint64(uint64_t value, char text[SLUICE_NUMBER_SIZE]);
size_t sluice_number_write_int64(int64_t value, char text[SLUICE_NUMBER_SIZE]);
size_t sluice_number_write_double(double value, char text[SLUICE_NUMBER_SIZE]);
size_t sluice_number_write_float(float value, char text[SLUICE_NUMBER_SIZE]);

#endif
