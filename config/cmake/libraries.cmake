# Flags of the project's own targets, and one function that makes a library in all its forms.
set(weir_warnings -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wvla -Wformat=2 -Wundef)
if(WEIR_WERROR)
  list(APPEND weir_warnings -Werror)
endif()
set(weir_hardening -fstack-protector-strong -fstack-clash-protection -fcf-protection)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  list(APPEND weir_hardening -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
set(weir_link_hardening -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

# weir_library(TARGET NAME n SOURCES ... [INCLUDES public dirs] [PRIVATE_INCLUDES ...] [LINKS ...] [PACKAGES pkg-config names])
# makes: <TARGET>-objects (compiled once), <TARGET> (shared), <TARGET>-static, all exported as weir::<TARGET>.
# In the static form hidden symbols are made local, so that internal names cannot clash with a program's own.
function(weir_library target)
  cmake_parse_arguments(L "" "NAME" "SOURCES;INCLUDES;PRIVATE_INCLUDES;LINKS;PACKAGES" ${ARGN})
  set(public_includes lib/include ${L_INCLUDES})
  list(TRANSFORM public_includes PREPEND "${PROJECT_SOURCE_DIR}/")

  add_library(${target}-objects OBJECT ${L_SOURCES})
  target_include_directories(${target}-objects PUBLIC ${public_includes} ${L_PRIVATE_INCLUDES})
  target_compile_options(${target}-objects PRIVATE ${weir_warnings} ${weir_hardening})
  foreach(link IN LISTS L_LINKS)
    if(TARGET ${link}-objects)
      get_target_property(includes ${link} INTERFACE_INCLUDE_DIRECTORIES)
      target_include_directories(${target}-objects PUBLIC ${includes})
    else()
      target_link_libraries(${target}-objects PUBLIC ${link})
    endif()
  endforeach()

  add_library(${target} SHARED $<TARGET_OBJECTS:${target}-objects>)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${L_NAME} VERSION ${PROJECT_VERSION} SOVERSION ${WEIR_SOVERSION}
    LINKER_LANGUAGE C)
  target_link_options(${target} PRIVATE ${weir_link_hardening} -Wl,--no-undefined)

  set(joined "${CMAKE_CURRENT_BINARY_DIR}/${L_NAME}-joined.o")
  add_custom_command(OUTPUT ${joined}
    COMMAND ${CMAKE_LINKER} -r -o ${joined} $<TARGET_OBJECTS:${target}-objects>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${joined}
    DEPENDS ${target}-objects $<TARGET_OBJECTS:${target}-objects> COMMAND_EXPAND_LISTS VERBATIM)
  add_library(${target}-static STATIC ${joined})
  set_target_properties(${target}-static PROPERTIES OUTPUT_NAME ${L_NAME} LINKER_LANGUAGE C)
  target_compile_definitions(${target}-static INTERFACE WEIR_STATIC)

  foreach(form ${target} ${target}-static)
    foreach(directory IN LISTS public_includes)
      target_include_directories(${form} INTERFACE $<BUILD_INTERFACE:${directory}>)
    endforeach()
    target_include_directories(${form} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    add_library(weir::${form} ALIAS ${form})
  endforeach()
  foreach(link IN LISTS L_LINKS)
    if(TARGET ${link}-objects)
      target_link_libraries(${target} PUBLIC ${link})
      target_link_libraries(${target}-static PUBLIC ${link}-static)
    else()
      target_link_libraries(${target} PRIVATE ${link})
      target_link_libraries(${target}-static PUBLIC ${link})
    endif()
  endforeach()
  set_property(GLOBAL APPEND PROPERTY weir_libraries ${target} ${target}-static)
  set_property(GLOBAL PROPERTY weir_${target}_packages "${L_PACKAGES}")
endfunction()

# weir_program(TARGET SOURCES ... LINKS ...): a program of the project, with hardening and the faster allocator.
function(weir_program target)
  cmake_parse_arguments(P "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${target} ${P_SOURCES})
  target_compile_options(${target} PRIVATE ${weir_warnings} ${weir_hardening})
  target_link_options(${target} PRIVATE ${weir_link_hardening})
  target_link_libraries(${target} PRIVATE ${P_LINKS})
  if(WEIR_ALLOCATOR)
    target_link_libraries(${target} PRIVATE -Wl,--no-as-needed ${WEIR_ALLOCATOR} -Wl,--as-needed)
  endif()
endfunction()
