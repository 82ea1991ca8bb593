#include "word_count.h"

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = word_count_define, .options = word_count_options,
                     .about = "Counts the words of a Kafka topic into another one, exactly once.");
}
