#include "ink.h"
int ink_left(void) { return INK_SHADES + 2; }
