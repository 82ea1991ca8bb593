/* The two functions of librdkafka that the connector's table of failures calls, so that a simulated job needs nothing of
 * it when it runs. Kafka's error numbers are librdkafka's. */
#include <librdkafka/rdkafka.h>

#include "sim/kafka_model.h"

const char *rd_kafka_err2name(rd_kafka_resp_err_t error) { return model_error_name((enum model_error)error); }
const char *rd_kafka_err2str(rd_kafka_resp_err_t error) { return model_error_name((enum model_error)error); }
