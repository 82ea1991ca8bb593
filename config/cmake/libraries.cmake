# Flags of the project's own targets, and one function each that makes a library in all its forms and a program.
include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

set(weir_warnings -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wvla -Wformat=2 -Wundef)
if(WEIR_WERROR)
  list(APPEND weir_warnings -Werror)
endif()

# What a compiler for another machine does not know is left out: -fcf-protection is x86's.
set(weir_hardening "")
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
  string(MAKE_C_IDENTIFIER "weir_has${flag}" known)
  check_c_compiler_flag(${flag} ${known})
  if(${known})
    list(APPEND weir_hardening ${flag})
  endif()
endforeach()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  list(APPEND weir_hardening -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
set(weir_link_hardening -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

# weir_join(FILE OBJECTS... DEPENDS targets): one object out of many, in the current binary folder, in which hidden symbols are
# local.
function(weir_join file)
  cmake_parse_arguments(J "" "" "DEPENDS" ${ARGN})
  set(joined "${CMAKE_CURRENT_BINARY_DIR}/${file}")
  add_custom_command(OUTPUT ${joined}
    COMMAND ${CMAKE_LINKER} -r -o ${joined} ${J_UNPARSED_ARGUMENTS}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${joined}
    DEPENDS ${J_DEPENDS} ${J_UNPARSED_ARGUMENTS} COMMAND_EXPAND_LISTS VERBATIM)
endfunction()

# weir_library(TARGET NAME n DESCRIPTION text SOURCES ... [INCLUDES dirs] [PRIVATE_INCLUDES dirs] [LINKS targets] [PACKAGES p])
# makes
#   <TARGET>-objects  the sources, compiled once
#   <TARGET>          libNAME.so: exports what is marked WEIR_API, and nothing else
#   <TARGET>-static   libNAME.a: one object in which every other symbol is local, so that internal names cannot clash with
#                     those of a program
# the latter two also as weir::<TARGET>, weir::<TARGET>-static, as in the installed package. INCLUDES are public headers beside
# lib/include. LINKS are further libraries made by this function, or any other targets; the others stay invisible to users
# of the shared form. PACKAGES are pkg-config names that users of the static form need.
function(weir_library target)
  cmake_parse_arguments(L "" "NAME;DESCRIPTION" "SOURCES;INCLUDES;PRIVATE_INCLUDES;LINKS;PACKAGES" ${ARGN})
  if(NOT L_SOURCES)
    return()
  endif()
  set(public_includes lib/include ${L_INCLUDES})
  list(TRANSFORM public_includes PREPEND "${PROJECT_SOURCE_DIR}/")
  set(own "")
  foreach(link IN LISTS L_LINKS)
    if(TARGET ${link}-objects)
      list(APPEND own ${link})
    endif()
  endforeach()

  add_library(${target}-objects OBJECT ${L_SOURCES})
  target_include_directories(${target}-objects PRIVATE ${public_includes} ${L_PRIVATE_INCLUDES})
  target_compile_options(${target}-objects PRIVATE ${weir_warnings} ${weir_hardening})

  add_library(${target} SHARED $<TARGET_OBJECTS:${target}-objects>)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${L_NAME} VERSION ${PROJECT_VERSION} SOVERSION ${WEIR_SOVERSION}
    LINKER_LANGUAGE C INSTALL_RPATH "$ORIGIN")
  # exclude-libs: what comes out of an archive, a private librdkafka, is not exported again.
  target_link_options(${target} PRIVATE ${weir_link_hardening} -Wl,--no-undefined -Wl,--exclude-libs,ALL)

  weir_join(${L_NAME}-joined.o $<TARGET_OBJECTS:${target}-objects> DEPENDS ${target}-objects)
  add_library(${target}-static STATIC ${CMAKE_CURRENT_BINARY_DIR}/${L_NAME}-joined.o)
  set_target_properties(${target}-static PROPERTIES OUTPUT_NAME ${L_NAME} LINKER_LANGUAGE C)

  foreach(form ${target} ${target}-static)
    foreach(directory IN LISTS public_includes)
      target_include_directories(${form} INTERFACE $<BUILD_INTERFACE:${directory}>)
    endforeach()
    target_include_directories(${form} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    add_library(weir::${form} ALIAS ${form})
  endforeach()
  foreach(link IN LISTS L_LINKS)
    if(link IN_LIST own)
      target_include_directories(${target}-objects PRIVATE $<TARGET_PROPERTY:${link},INTERFACE_INCLUDE_DIRECTORIES>)
      target_link_libraries(${target} PUBLIC ${link})
      target_link_libraries(${target}-static PUBLIC ${link}-static)
    else()
      target_link_libraries(${target}-objects PRIVATE ${link})
      target_link_libraries(${target} PRIVATE ${link})
      target_link_libraries(${target}-static PUBLIC ${link})
    endif()
  endforeach()
  # For install.cmake.
  set_property(GLOBAL APPEND PROPERTY weir_libraries ${target})
  set_target_properties(${target} PROPERTIES weir_description "${L_DESCRIPTION}" weir_own "${own}"
    weir_packages "${L_PACKAGES}" weir_includes "${public_includes}")
endfunction()

# weir_program(TARGET SOURCES ... LINKS ...): a program of the project, with hardening and the faster allocator.
function(weir_program target)
  cmake_parse_arguments(P "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${target} ${P_SOURCES})
  target_compile_options(${target} PRIVATE ${weir_warnings} ${weir_hardening})
  target_link_options(${target} PRIVATE ${weir_link_hardening})
  target_link_libraries(${target} PRIVATE ${P_LINKS})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(WEIR_ALLOCATOR)
    target_link_libraries(${target} PRIVATE -Wl,--no-as-needed ${WEIR_ALLOCATOR} -Wl,--as-needed)
  endif()
endfunction()
