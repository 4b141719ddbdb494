/* SPDX-License-Identifier: Apache-2.0 */
/* Stored codes beside those that are predicted, row by row. */
#ifndef MP_OFFLOAD_DEVICE_CONFIRMED_H
#define MP_OFFLOAD_DEVICE_CONFIRMED_H

#include "base/mix.h"
#include "offload/device/number.h"

/* Of a row: elements whose codes are equal, and what identifies the codes that were compared. */
typedef struct mp_confirmed_row {
    long long equal;
    mp_u64 predicted, got;
} mp_confirmed_row;

/* The code that is predicted of element j of a row, and the one that is stored there. The digest of a code is
 * that of a word in its column's place. */
MP_DEVICE_INLINE void mp_confirmed_add_code(mp_confirmed_row *to, unsigned long long predicted,
                                            unsigned long long stored, long long j) {
    to->equal += predicted == stored;
    to->predicted += mp_digest_of_word((unsigned)predicted, (mp_u64)j);
    to->got += mp_digest_of_word((unsigned)stored, (mp_u64)j);
}

/* The same of a number that is stored in format f. */
MP_DEVICE_INLINE void mp_confirmed_add(mp_confirmed_row *to, const mp_number_format *f, float number,
                                       unsigned long long stored, long long j) {
    mp_confirmed_add_code(to, mp_code_of_number(f, (double)number), stored, j);
}

#endif
