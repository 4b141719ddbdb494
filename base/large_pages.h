/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in pages of 2 MiB, where the system has them. */
#ifndef MP_BASE_LARGE_PAGES_H
#define MP_BASE_LARGE_PAGES_H

#include <stddef.h>

#define MP_LARGE_PAGE ((size_t)2 << 20) /* bytes */

/* `bytes` rounded up to whole large pages, beginning on one: for who writes many at once, since a fault for
 * each small page takes longer than writing it, or reads them over and over. Where the system has no large
 * pages they are small ones. It may hold anything; for free(). NULL: there is no memory, nor can there be so
 * much. */
void *mp_large_pages_alloc(size_t bytes);

#endif
