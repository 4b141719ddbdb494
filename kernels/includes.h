/* SPDX-License-Identifier: Apache-2.0 */
/* Which device texts a source is made of: what the compiler is given for it, and what the key of its cache
 * covers. */
#ifndef MP_KERNELS_INCLUDES_H
#define MP_KERNELS_INCLUDES_H

#include "kernels/variants.h"

#define MP_MAX_INCLUDES 64

/* The source and every text that it includes by "name", itself or through others, each once and the source
 * first; 0 where no text has that name, -1 where they are more than MP_MAX_INCLUDES. An include counts under
 * any condition, so that these are enough under all options; <names>, and those that texts lacks, are no
 * device code. */
int mp_device_includes(const mp_device_texts *texts, const char *source,
                       const struct mp_device_text *found[MP_MAX_INCLUDES]);

#endif
