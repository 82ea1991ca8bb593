# What the build needs, and a sentence for what is missing. The private prefix that `config/setup` fills is looked at first.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
  message(FATAL_ERROR "pkg-config is missing. Run config/setup build, which installs what the build needs.")
endif()

set(WEIR_PREFIX "${PROJECT_SOURCE_DIR}/.deps" CACHE PATH "Where config/setup puts libraries that the system has too old")
set(WEIR_RDKAFKA_MIN 2.8)

# weir::rdkafka, from one of two places:
#   the system's     shared, found by every program as any other library
#   the private one  its archive: a program or libweir-kafka.so then carries it inside, and nothing has to be found at run time.
add_library(weir::rdkafka INTERFACE IMPORTED GLOBAL)
if(EXISTS "${WEIR_PREFIX}/lib/pkgconfig/rdkafka.pc")
  set(weir_pkg_config_path "$ENV{PKG_CONFIG_PATH}")
  set(ENV{PKG_CONFIG_PATH} "${WEIR_PREFIX}/lib/pkgconfig:$ENV{PKG_CONFIG_PATH}")
endif()
pkg_check_modules(RDKAFKA QUIET IMPORTED_TARGET rdkafka>=${WEIR_RDKAFKA_MIN})
if(NOT RDKAFKA_FOUND)
  pkg_check_modules(RDKAFKA_OLD QUIET rdkafka)
  if(RDKAFKA_OLD_FOUND)
    message(FATAL_ERROR "librdkafka ${RDKAFKA_OLD_VERSION} is too old: Weir needs ${WEIR_RDKAFKA_MIN} or newer. "
      "Run config/setup build, which builds Debian 13's librdkafka into ${WEIR_PREFIX}.")
  endif()
  message(FATAL_ERROR "librdkafka ${WEIR_RDKAFKA_MIN} or newer is missing. Run config/setup build.")
endif()
set(weir_rdkafka_archive "${WEIR_PREFIX}/lib/librdkafka.a")
if(DEFINED weir_pkg_config_path AND EXISTS "${weir_rdkafka_archive}")
  execute_process(COMMAND ${PKG_CONFIG_EXECUTABLE} --print-requires-private rdkafka
    OUTPUT_VARIABLE weir_rdkafka_needs OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX REPLACE "[ \t\n]+" ";" weir_rdkafka_needs "${weir_rdkafka_needs}")
  pkg_check_modules(RDKAFKA_NEEDS REQUIRED QUIET IMPORTED_TARGET ${weir_rdkafka_needs})
  target_include_directories(weir::rdkafka SYSTEM INTERFACE "${WEIR_PREFIX}/include")
  target_link_libraries(weir::rdkafka INTERFACE "${weir_rdkafka_archive}" PkgConfig::RDKAFKA_NEEDS m ${CMAKE_DL_LIBS}
    Threads::Threads)
else()
  set(weir_rdkafka_archive "")
  target_link_libraries(weir::rdkafka INTERFACE PkgConfig::RDKAFKA)
endif()
if(DEFINED weir_pkg_config_path)
  set(ENV{PKG_CONFIG_PATH} "${weir_pkg_config_path}")
endif()
message(STATUS "librdkafka ${RDKAFKA_VERSION}: ${RDKAFKA_LIBDIR}")

pkg_check_modules(WEIR_YAML QUIET IMPORTED_TARGET yaml-0.1)
find_path(XXHASH_INCLUDE xxhash.h)
if(NOT WEIR_YAML_FOUND OR NOT XXHASH_INCLUDE)
  message(FATAL_ERROR "libyaml or xxhash.h is missing. Run config/setup build.")
endif()

set(WEIR_ROCKSDB_MIN 7.8)
pkg_check_modules(WEIR_ROCKSDB QUIET IMPORTED_TARGET rocksdb>=${WEIR_ROCKSDB_MIN})
if(NOT WEIR_ROCKSDB_FOUND)
  message(FATAL_ERROR "librocksdb ${WEIR_ROCKSDB_MIN} or newer is missing. Run config/setup build.")
endif()
# RocksDB's table files are read without it, too, and they are packed with LZ4.
pkg_check_modules(WEIR_LZ4 QUIET IMPORTED_TARGET liblz4)
if(NOT WEIR_LZ4_FOUND)
  message(FATAL_ERROR "liblz4 is missing. Run config/setup build.")
endif()
# Since 9.4.
include(CheckSymbolExists)
set(CMAKE_REQUIRED_LIBRARIES PkgConfig::WEIR_ROCKSDB)
check_symbol_exists(rocksdb_logger_create_callback_logger "rocksdb/c.h" WEIR_ROCKSDB_HANDS_LINES_OVER)
unset(CMAKE_REQUIRED_LIBRARIES)
if(WEIR_ROCKSDB_HANDS_LINES_OVER)
  add_compile_definitions(WEIR_ROCKSDB_HANDS_LINES_OVER)
endif()

pkg_check_modules(WEIR_MICROHTTPD QUIET IMPORTED_TARGET libmicrohttpd>=0.9.75)
if(NOT WEIR_MICROHTTPD_FOUND)
  message(FATAL_ERROR "libmicrohttpd 0.9.75 or newer is missing. Run config/setup build.")
endif()

pkg_check_modules(WEIR_GNUTLS QUIET IMPORTED_TARGET gnutls>=3.7)
if(NOT WEIR_GNUTLS_FOUND)
  message(FATAL_ERROR "GnuTLS 3.7 or newer is missing. Run config/setup build.")
endif()

# An allocator made for threads halves the cost of a consumed record. Programs link it, the libraries never do.
find_library(WEIR_ALLOCATOR NAMES tcmalloc_minimal tcmalloc jemalloc)
if(NOT WEIR_ALLOCATOR)
  message(STATUS "Neither tcmalloc nor jemalloc: programs use the C library's allocator, and are slower")
  set(WEIR_ALLOCATOR "")
endif()
