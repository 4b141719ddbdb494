/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_BASE_HOST_MEMORY_H
#define MP_BASE_HOST_MEMORY_H

#include "moeparity/status.h"

#include <stddef.h>

/* A buffer of mp_host_space between its two zones, whose content is yet to be written. */
mp_status mp_host_alloc_unfilled(size_t bytes, void **data, mp_error *err);

/* Bytes free now: MemAvailable, or what a container's limit or that of the address space (ulimit -v) leaves
 * when that is less. 0: unknown. */
size_t mp_memory_available(void);
/* MP_EUNSUPPORTED with both figures where less is available. */
mp_status mp_memory_check(size_t needed, mp_error *err);

#endif
