#include "runtime/letters.h"

#include <stdlib.h>

#include "runtime/worker.h"

void letter_destroy(struct mail *mail)
{
    switch ((enum letter_type)mail->type) {
    case LETTER_BARRIER:
    case LETTER_OVERTAKE:
    case LETTER_PROCEED:
    case LETTER_COMMITTED:
    case LETTER_SPLIT:
    case LETTER_FINISH:
    case LETTER_PART_DURABLE:
    case LETTER_DUMP: weir_splits_clear(&((struct letter_to_task *)mail)->splits); break;
    case LETTER_OPENED:
    case LETTER_ACK:
    case LETTER_FLIGHT:
    case LETTER_PART:
    case LETTER_INPUT_ENDED:
    case LETTER_ENDED:
    case LETTER_FAILED:
    case LETTER_ACTIVITY:
    case LETTER_BYTES:
    case LETTER_CHUNK:
    case LETTER_GONE: {
        struct letter_from_task *letter = (struct letter_from_task *)mail;
        chain_snapshot_clear(&letter->snapshot);
        weir_splits_clear(&letter->positions);
        flights_clear(&letter->flights);
        buffer_deinit(&letter->chunk);
        buffer_deinit(&letter->stamped);
        free(letter->folder);
        break;
    }
    case LETTER_DECIDER: weir_decider_event_clear(&((struct letter_decider *)mail)->event); break;
    case LETTER_WORK_DONE: work_destroy((struct work *)mail); return;
    case LETTER_SAVEPOINT: free(((struct letter_savepoint *)mail)->directory); break;
    case LETTER_CHECKPOINT:
    case LETTER_STOP:
    case LETTER_CANCEL_JOB:
    case LETTER_END_JOB: break;
    }
    free(mail);
}
