# SPDX-License-Identifier: Apache-2.0
# Installs the build into a prefix of its own, builds tests/consumer against it with find_package and with
# pkg-config, and runs what was built; and looks at the headers that were installed.
# -DBUILD=<build tree> -DSOURCE=<tests/consumer> -DWORK=<scratch folder> -DC_COMPILER=<the one of the build>
cmake_minimum_required(VERSION 3.25)
function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
endfunction()

function(judge_right_and_wrong program)
  step(${program})
  execute_process(COMMAND ${program} wrong RESULT_VARIABLE result OUTPUT_VARIABLE output)
  if(NOT result EQUAL 1)
    message(FATAL_ERROR "a wrong kernel must fail with exit code 1, not ${result}:\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
step(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
foreach(file man/man1/moeparity.1 bash-completion/completions/moeparity zsh/site-functions/_moeparity
             moeparity/report.schema.json)
  if(NOT EXISTS ${WORK}/prefix/share/${file})
    message(FATAL_ERROR "share/${file} was not installed")
  endif()
endforeach()
step(${WORK}/prefix/bin/moeparity list seed) # found beside the installed program
step(${WORK}/prefix/bin/moeparity golden ls seed.h5)
step(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -G Ninja -DCMAKE_PREFIX_PATH=${WORK}/prefix
     -DCMAKE_C_COMPILER=${C_COMPILER})
step(${CMAKE_COMMAND} --build ${WORK}/build)
judge_right_and_wrong(${WORK}/build/consumer)
judge_right_and_wrong(${WORK}/build/consumer_shared)
step(${WORK}/build/consumer_cpp ${WORK}/golden.h5)

# The headers: those of include/moeparity, and no others. Each is compiled alone, in both languages, where of
# this tree only the installed ones can be found, and brings in none of what the library is built on.
file(GLOB public RELATIVE ${SOURCE}/../../include ${SOURCE}/../../include/moeparity/*)
file(GLOB_RECURSE installed RELATIVE ${WORK}/prefix/include ${WORK}/prefix/include/*)
if(public STREQUAL "" OR NOT public STREQUAL installed)
  message(FATAL_ERROR "installed headers:\n${installed}\nexpected:\n${public}")
endif()
file(GLOB_RECURSE headers RELATIVE ${WORK}/prefix ${WORK}/prefix/*.h ${WORK}/prefix/*.cuh)
list(FILTER headers EXCLUDE REGEX "^include/moeparity/")
if(headers)
  message(FATAL_ERROR "headers outside include/moeparity were installed: ${headers}")
endif()
file(STRINGS ${WORK}/build/CMakeCache.txt cxx_compiler REGEX "^CMAKE_CXX_COMPILER:")
string(REGEX REPLACE "^[^=]*=" "" cxx_compiler "${cxx_compiler}")
set(compile_c ${C_COMPILER} -std=c17)
set(compile_cpp ${cxx_compiler} -std=c++17)
foreach(header IN LISTS installed)
  foreach(language c cpp)
    set(alone ${WORK}/alone.${language})
    file(WRITE ${alone} "#include <${header}>\n")
    step(${compile_${language}} -Wall -Wextra -Wpedantic -Werror -I${WORK}/prefix/include
         -c ${alone} -o ${WORK}/alone.o -MD -MF ${WORK}/alone.d)
    file(READ ${WORK}/alone.d found)
    if(found MATCHES "/(jansson|H5|hdf5|yaml|xxhash|omp)[a-z_]*\\.h")
      message(FATAL_ERROR "${header} brings in ${CMAKE_MATCH_0}")
    endif()
  endforeach()
endforeach()

# The shared library needs nothing beside it.
file(WRITE ${WORK}/shared/CMakeLists.txt "cmake_minimum_required(VERSION 3.25)
project(shared C)
find_package(moeparity REQUIRED)
add_executable(shared ${SOURCE}/main.c)
target_link_libraries(shared PRIVATE moeparity::moeparity m)
")
set(nothing_else "")
foreach(package HDF5 OpenMP PkgConfig Threads)
  list(APPEND nothing_else -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
endforeach()
step(${CMAKE_COMMAND} -S ${WORK}/shared -B ${WORK}/shared/build -G Ninja -DCMAKE_PREFIX_PATH=${WORK}/prefix
     -DCMAKE_C_COMPILER=${C_COMPILER} ${nothing_else})
step(${CMAKE_COMMAND} --build ${WORK}/shared/build)
judge_right_and_wrong(${WORK}/shared/build/shared)

file(GLOB_RECURSE pc ${WORK}/prefix/*.pc)
cmake_path(GET pc PARENT_PATH packages)
cmake_path(GET packages PARENT_PATH libraries)
set(ENV{PKG_CONFIG_PATH} ${packages})
execute_process(COMMAND pkg-config --print-requires moeparity
                OUTPUT_VARIABLE required COMMAND_ERROR_IS_FATAL ANY)
if(NOT required STREQUAL "")
  message(FATAL_ERROR "pkg-config requires ${required}")
endif()
execute_process(COMMAND pkg-config --cflags --libs moeparity
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags)
step(${C_COMPILER} -std=gnu17 ${SOURCE}/main.c -o ${WORK}/consumer_pc ${flags} -lm)
set(ENV{LD_LIBRARY_PATH} ${libraries})
judge_right_and_wrong(${WORK}/consumer_pc)
