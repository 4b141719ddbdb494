/* SPDX-License-Identifier: Apache-2.0 */
/* Worked examples of matrix units as lists: codes in hex from lane 0 on; "xn" repeats one; "@n" puts it into
 * lane n; unlisted lanes are 0. And random numbers for their codes. */
#ifndef MP_TESTS_CODES_SUPPORT_H
#define MP_TESTS_CODES_SUPPORT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline void parse_lanes(const char *text, int count, uint32_t *lanes) {
    memset(lanes, 0, (size_t)count * sizeof *lanes);
    for (int lane = 0; *text;) {
        char *end;
        const uint32_t code = (uint32_t)strtoul(text, &end, 16);
        long repeat = 1;
        if (*end == 'x') repeat = strtol(end + 1, &end, 10);
        if (*end == '@') lane = (int)strtol(end + 1, &end, 10);
        while (repeat-- > 0) lanes[lane++] = code;
        text = *end == ',' ? end + 1 : end;
    }
}

static uint64_t random_state = 1;
static inline uint32_t random_bits(void) { /* splitmix64 */
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

#endif
