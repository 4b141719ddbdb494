# SPDX-License-Identifier: Apache-2.0
# MP_HDF5: what the program and the tests are linked with for HDF5. The static library, where there is one
# that links: Debian's shared one reads files from the network too, and loads curl, Kerberos and LDAP for it,
# thirty libraries, at every start. Each worker is a start. Of the static one the linker leaves that part
# out. Sanitizers know what leaks in HDF5 by the name of its shared library (cli/main.c).
set(MP_HDF5 ${HDF5_C_LIBRARIES})
if(MP_STATIC_HDF5 AND NOT MP_SANITIZE_ADDRESS AND NOT MP_SANITIZE_THREAD AND NOT MP_FUZZ)
  set(static_hdf5 ${HDF5_C_LIBRARIES})
  list(FILTER static_hdf5 EXCLUDE REGEX "/lib(curl|crypto)\\.")
  list(TRANSFORM static_hdf5 REPLACE "(/libhdf5[^/]*)\\.so$" "\\1.a")
  include(CheckCSourceCompiles)
  set(CMAKE_REQUIRED_INCLUDES ${HDF5_C_INCLUDE_DIRS})
  set(CMAKE_REQUIRED_LIBRARIES ${static_hdf5})
  set(CMAKE_REQUIRED_QUIET ON)
  check_c_source_compiles("#include <hdf5.h>
    int main(void) { return H5Fopen(\"a\", H5F_ACC_RDONLY, H5P_DEFAULT) < 0; }" MP_STATIC_HDF5_LINKS)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
  unset(CMAKE_REQUIRED_QUIET)
  if(MP_STATIC_HDF5_LINKS)
    set(MP_HDF5 ${static_hdf5})
  else()
    message(STATUS "HDF5 has no static library that links: the shared one it is")
  endif()
endif()
