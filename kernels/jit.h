/* SPDX-License-Identifier: Apache-2.0 */
/* Device source text -> machine code by NVRTC, kept in a cache on disk.
 *
 * The cache lies in ${MOEPARITY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/moeparity}: <key>.cubin behind a
 * header with its digest, and beside it <key>.cu, the source with its options, for people; <key>.log is what
 * the compiler said of it, where that was asked for. The key is the XXH3-128 of the device texts that this
 * source is made of (kernels/includes.h), the options, the architecture and NVRTC's version. A damaged entry
 * is compiled again; a cache that cannot be written only costs time.
 */
#ifndef MP_KERNELS_JIT_H
#define MP_KERNELS_JIT_H

#include "kernels/variants.h"

#include <stddef.h>

/* MP_EUNSUPPORTED when this NVRTC does not know sm_<architecture>. */
mp_status mp_jit_check_architecture(int architecture, mp_error *err);
/* Machine code for architecture 80, 90, ...; free(*cubin). Thread-safe. MP_EUNSUPPORTED without an NVRTC that
 * knows it, MP_EDEVICE with the first error line of the log when the source does not compile. */
mp_status mp_jit_cubin(const mp_kernel *kernel, int architecture, void **cubin, size_t *cubin_bytes,
                       mp_error *err);
/* What the compiler says of a kernel's source: ptxas's resource report of each of its entries. free(*log),
 * which is NULL on failure. From the cache, as machine code; what does not compile is never in it. */
mp_status mp_jit_log(const mp_kernel *kernel, int architecture, char **log, mp_error *err);
/* Compiles without the cache. *log (ptxas's resource report in it) is freed by the caller and NULL on
 * failure; cubin may be NULL. */
mp_status mp_jit_compile(const mp_kernel *kernel, int architecture, void **cubin, size_t *cubin_bytes,
                         char **log, mp_error *err);

/* Where compiled kernels are kept; "" when there is no place for them, and *why (which may be NULL) says why.
 */
const char *mp_jit_cache_folder(mp_error *why);

#endif
