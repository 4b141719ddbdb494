/* SPDX-License-Identifier: Apache-2.0 */
/* What lets a header be read by the C compiler and by NVRTC. Pointers are CUdeviceptr on the host and typed
 * pointers on the device; both are 8 bytes. Functions are tested on the host as they run on the device. */
#ifndef MP_OFFLOAD_DEVICE_PORTABLE_H
#define MP_OFFLOAD_DEVICE_PORTABLE_H

#ifdef __CUDACC_RTC__
#define MP_DEVICE_POINTER(type) type *
#define MP_DEVICE_INLINE __device__ __forceinline__
#else
#define MP_DEVICE_POINTER(type) unsigned long long
#define MP_DEVICE_INLINE static inline
#endif

#endif
