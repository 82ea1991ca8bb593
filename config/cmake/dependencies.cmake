# What the build needs, and a sentence for what is missing. The private prefix that `config/setup` fills is looked at first.
find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
  message(FATAL_ERROR "pkg-config is missing. Run config/setup build, which installs what the build needs.")
endif()

set(WEIR_PREFIX "${PROJECT_SOURCE_DIR}/.deps" CACHE PATH "Where config/setup puts libraries that the system has too old")
if(EXISTS "${WEIR_PREFIX}/lib/pkgconfig")
  set(ENV{PKG_CONFIG_PATH} "${WEIR_PREFIX}/lib/pkgconfig:$ENV{PKG_CONFIG_PATH}")
endif()

pkg_check_modules(RDKAFKA IMPORTED_TARGET rdkafka>=2.8)
if(NOT RDKAFKA_FOUND)
  pkg_check_modules(RDKAFKA_OLD rdkafka)
  if(RDKAFKA_OLD_FOUND)
    message(FATAL_ERROR "librdkafka ${RDKAFKA_OLD_VERSION} is too old: Weir needs 2.8 or newer. "
      "Run config/setup build, which builds Debian 13's librdkafka into ${WEIR_PREFIX}.")
  endif()
  message(FATAL_ERROR "librdkafka 2.8 or newer is missing. Run config/setup build.")
endif()
pkg_check_modules(YAML IMPORTED_TARGET yaml-0.1)
find_path(XXHASH_INCLUDE xxhash.h)
if(NOT YAML_FOUND OR NOT XXHASH_INCLUDE)
  message(FATAL_ERROR "libyaml or xxhash.h is missing. Run config/setup build.")
endif()

# An allocator made for threads halves the cost of a consumed record. Programs link it, the libraries never do.
find_library(WEIR_ALLOCATOR NAMES tcmalloc_minimal tcmalloc jemalloc)
if(NOT WEIR_ALLOCATOR)
  set(WEIR_ALLOCATOR "")
endif()
