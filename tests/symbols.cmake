# SPDX-License-Identifier: Apache-2.0
# The names that the libraries bring into a program of somebody else: all begin with mp_.
# -DNM=<nm> -DSHARED=<libmoeparity.so> -DSTATIC=<static libraries, separated by commas>
cmake_minimum_required(VERSION 3.25)
string(REPLACE "," ";" STATIC "${STATIC}")
foreach(library IN LISTS SHARED STATIC)
  set(which --extern-only)
  if(library STREQUAL "${SHARED}")
    set(which --dynamic)
  endif()
  execute_process(COMMAND ${NM} ${which} --defined-only --format=posix ${library}
                  OUTPUT_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${NM} cannot read ${library}")
  endif()
  string(REGEX MATCHALL "[^\n]+" lines "${output}")
  set(count 0)
  # The lock of OpenMP reductions, which clang names alike in all programs: a common symbol, so that the
  # linker makes one of them all. The shared library keeps it to itself.
  set(reduction_lock "^\\.gomp_critical_user_\\.reduction\\.var C ")
  if(library STREQUAL "${SHARED}")
    set(reduction_lock "^$")
  endif()
  foreach(line IN LISTS lines)
    if(line MATCHES "^(\\.gomp_critical_user_)?mp_") # or the lock of an OpenMP section of such a name
      math(EXPR count "${count} + 1")
    elseif(NOT line MATCHES "${reduction_lock}" AND NOT line MATCHES ":$") # an archive names its members
      message(SEND_ERROR "${library} defines ${line}")
    endif()
  endforeach()
  if(count EQUAL 0)
    message(SEND_ERROR "${library} defines no mp_ symbol")
  endif()
  message(STATUS "${library}: ${count} symbols")
endforeach()
