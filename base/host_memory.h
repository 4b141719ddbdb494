/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_BASE_HOST_MEMORY_H
#define MP_BASE_HOST_MEMORY_H

#include "moeparity/status.h"

#include <stddef.h>

/* A buffer of mp_host_space between its two zones, whose content is yet to be written. */
mp_status mp_host_alloc_unfilled(size_t bytes, void **data, mp_error *err);

#endif
