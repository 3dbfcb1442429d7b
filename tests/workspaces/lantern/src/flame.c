#if defined(__aarch64__)
const char *flame(void) { return "aarch64"; }
#elif defined(__x86_64__)
const char *flame(void) { return "x86_64"; }
#else
#error "this machine is not known"
#endif
