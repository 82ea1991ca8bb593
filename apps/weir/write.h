/* weir state write: the one form of `weir state` that writes. */
#ifndef WEIR_WRITE_H
#define WEIR_WRITE_H

/* With the verb as argv[0]; answers the exit code. */
int state_write(int argc, char **argv);

#endif
