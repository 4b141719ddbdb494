/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5 files that are built in memory. */
#include "golden/h5.h"

#include <stdlib.h>
#include <string.h>

/* The core driver's memory is ours: when the file is closed it is handed over instead of being freed. HDF5
 * 1.10 could also copy the open file out (H5Fget_file_image), but then clears a flag in the superblock and
 * leaves its checksum as it was. */
static void *image_resize(void *image, size_t size, H5FD_file_image_op_t operation, void *taken) {
    (void)operation;
    (void)taken;
    return realloc(image, size);
}

static herr_t image_take(void *image, H5FD_file_image_op_t operation, void *taken) {
    if (operation == H5FD_FILE_IMAGE_OP_FILE_CLOSE) *(void **)taken = image;
    return 0;
}

static void *share(void *taken) {
    return taken;
}

static herr_t let_go(void *taken) {
    (void)taken;
    return 0;
}

bool mp_h5_build_in_memory(hid_t access_list, void **image) {
    H5FD_file_image_callbacks_t callbacks = {
        .image_realloc = image_resize,
        .image_free = image_take,
        .udata_copy = share,
        .udata_free = let_go,
        .udata = image,
    };
    return H5Pset_fapl_core(access_list, 4 << 20, false) >= 0 &&
           H5Pset_file_image_callbacks(access_list, &callbacks) >= 0;
}

/* The memory is larger than the file in it, whose superblock says where it ends: 8 bytes at offset 28,
 * little-endian, in versions 2 and 3 of the superblock with 8-byte addresses (HDF5 File Format Specification
 * 3.0, section II.A). */
size_t mp_h5_image_size(const void *image) {
    uint64_t end;
    memcpy(&end, (const char *)image + 28, sizeof end);
    return (size_t)end;
}
