# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a C file that holds the texts of FILES (paths relative to ROOT, separated by commas) as NAME,
# a table of names and contents.
#   cmake -DROOT=... -DFILES=a,b -DNAME=mp_kernel_texts -DOUTPUT=... -P embed.cmake
string(REPLACE "," ";" FILES "${FILES}")
set(code "#include \"kernels/variants.h\"\n\nstatic const struct mp_device_text files[] = {\n")
set(count 0)
foreach(file IN LISTS FILES)
  file(READ "${ROOT}/${file}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND code "    {\"${file}\", (const char[]){${bytes}0}},\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND code "};\nextern const mp_device_texts ${NAME};\n"
                   "const mp_device_texts ${NAME} = {files, ${count}};\n")
file(WRITE "${OUTPUT}" "${code}")
