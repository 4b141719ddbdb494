/* SPDX-License-Identifier: Apache-2.0 */
#include "base/large_pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

void *mp_large_pages_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX - MP_LARGE_PAGE) return NULL; /* no object can be larger */
    const size_t whole = (bytes + MP_LARGE_PAGE - 1) / MP_LARGE_PAGE * MP_LARGE_PAGE;
    void *memory = aligned_alloc(MP_LARGE_PAGE, whole);
    if (memory) madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}
