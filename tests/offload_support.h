/* SPDX-License-Identifier: Apache-2.0 */
/* A group's judge on a device, or on tests/fake_cuda.h's. */
#ifndef MP_TESTS_OFFLOAD_SUPPORT_H
#define MP_TESTS_OFFLOAD_SUPPORT_H

#include "offload/offload.h"
#include "tests/ref_support.h"

static mp_offload *offload;

static int open_device(void **state) {
    (void)state;
    mp_error err = {0};
    if (mp_offload_open(4, &offload, &err) == MP_OK) return 0;
    print_message("SKIP: %s\n", err.text);
    exit(err.status == MP_EUNSUPPORTED ? 77 : 1);
}

static int close_device(void **state) {
    (void)state;
    mp_offload_close(offload);
    return 0;
}

#endif
