#define INK_SHADES 5
int ink_left(void);
