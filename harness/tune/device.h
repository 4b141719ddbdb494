/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a device by its name. */
#ifndef MP_HARNESS_TUNE_DEVICE_H
#define MP_HARNESS_TUNE_DEVICE_H

#include <stdbool.h>

typedef enum mp_vendor { MP_NVIDIA, MP_AMD, MP_INTEL, MP_VENDOR_UNKNOWN } mp_vendor;

typedef struct mp_device_facts {
    const char *begin; /* of its names, as files spell them */
    mp_vendor vendor;
    int arch;         /* NVIDIA's compute capability, 90 for 9.0; 0: another vendor's */
    int shared_bytes; /* the most shared memory that a block may ask for; 0: not known */
    bool tma;         /* the tensor memory accelerator */
} mp_device_facts;

/* Of the longest name in the table with which `device` begins, "NVIDIA_H100_80GB_HBM3"; blanks count as "_".
 * Unknown devices have their vendor, as far as the name tells it, and nothing else. */
mp_device_facts mp_device_by_name(const char *device);
const char *mp_vendor_name(mp_vendor vendor);

/* A name that somebody has shortened, as NVIDIA_H100: full ones that drivers report instead, or NULL. */
const char *mp_device_full_names(const char *device);

#endif
