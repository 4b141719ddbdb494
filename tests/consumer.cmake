# SPDX-License-Identifier: Apache-2.0
# Installs the build into a prefix of its own, builds tests/consumer against it with find_package and with
# pkg-config, and runs what was built. -DBUILD=<build tree> -DSOURCE=<tests/consumer> -DWORK=<scratch folder>
# -DC_COMPILER=<the one of the build>
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

file(GLOB_RECURSE pc ${WORK}/prefix/*.pc)
cmake_path(GET pc PARENT_PATH packages)
cmake_path(GET packages PARENT_PATH libraries)
set(ENV{PKG_CONFIG_PATH} ${packages})
execute_process(COMMAND pkg-config --cflags --libs moeparity
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags)
step(${C_COMPILER} -std=gnu17 ${SOURCE}/main.c -o ${WORK}/consumer_pc ${flags} -lm)
set(ENV{LD_LIBRARY_PATH} ${libraries})
judge_right_and_wrong(${WORK}/consumer_pc)
