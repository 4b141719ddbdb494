/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/quantiser.h"

#define ROW(value, name, codes, scale) {name, codes, scale},
static const struct {
    const char *name;
    mp_dtype codes, scale;
} rows[] = {MP_QUANTISERS(ROW)};

const char *mp_quantiser_name(mp_quantiser quantiser) {
    return rows[quantiser].name;
}

mp_dtype mp_quantiser_codes(mp_quantiser quantiser) {
    return rows[quantiser].codes;
}

mp_dtype mp_quantiser_scale(mp_quantiser quantiser) {
    return rows[quantiser].scale;
}
