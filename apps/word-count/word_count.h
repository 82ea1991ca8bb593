/* Counts words: reads lines (or JSON objects) from one topic, writes word -> count to another, exactly once. Apart from
 * main(), so that word_count_test.c can run the very same job in the simulator. */
#ifndef WORD_COUNT_H
#define WORD_COUNT_H

#include "weir/main.h"

void word_count_define(weir_graph *graph, const weir_config *config);
extern const struct weir_option word_count_options[];

#endif
