/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that the library carries: what the special-function unit of an H100 gives for every fraction of
 * ex2.approx.ftz.f32 and every mantissa of rcp.approx.ftz.f32, MP_SPECIAL_UNIT_ENTRIES signed bytes each, in
 * ulps from the correctly rounded value, compressed by zlib. */
#ifndef MP_PREDICT_SPECIAL_UNIT_TABLES_H
#define MP_PREDICT_SPECIAL_UNIT_TABLES_H

#include "moeparity/status.h"
#include "ref/predict/special_unit.h"

#include <stddef.h>

extern const unsigned char mp_sm_90_ex2_z[], mp_sm_90_rcp_z[];
extern const size_t mp_sm_90_ex2_z_bytes, mp_sm_90_rcp_z_bytes;

/* The unit of an sm_90, unpacked when it is first asked for: 64 MiB, which stay until the program ends. May
 * be called by several threads. MP_EMEMORY, or MP_EINTERNAL where the tables are damaged: the same each
 * time. */
mp_status mp_special_unit_sm90(const mp_special_unit **unit, mp_error *err);

/* A table as the library carries it: MP_SPECIAL_UNIT_ENTRIES ulps -> *packed, which the caller frees. */
mp_status mp_special_unit_pack(const int8_t *ulps, void **packed, size_t *packed_bytes, mp_error *err);

#endif
