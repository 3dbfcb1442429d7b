#include <ink.h>
int page_shades(void) { return INK_SHADES; }
