// The kernels for ctypes: run(name, grid x, grid y, pointers).
#include "kernels.cu"

#define A(k) args[k]
static void call_clear(void** args) { clear((const Params*)A(0), (Arena*)A(1)); }
static void call_scale_maps(void** args) {
  scale_maps((const Params*)A(0), (const float* const*)A(1), (const float* const*)A(2), (float*)A(3),
             (Arena*)A(4));
}
static void call_find_peaks(void** args) { find_peaks((const Params*)A(0), (const float*)A(1), (Arena*)A(2)); }
static void call_limb_scores(void** args) { limb_scores((const Params*)A(0), (const float*)A(1), (Arena*)A(2)); }
static void call_assign(void** args) { assign((const Params*)A(0), (const float*)A(1), (Arena*)A(2)); }
static void call_lift_samples(void** args) { lift_samples((const Params*)A(0), (const float*)A(1), (Arena*)A(2)); }
static void call_letterbox(void** args) { letterbox((const Params*)A(0), (const byte*)A(1), (float*)A(2)); }
static void call_mirror(void** args) { mirror((const Params*)A(0), (const float*)A(1), (float*)A(2)); }
static void call_count_bad(void** args) { count_bad((const int*)A(0), (const float*)A(1), (int*)A(2)); }
static void call_take(void** args) {
  take((const int*)A(0), (const int*)A(1), (const float*)A(2), (float*)A(3));
}

static const struct { const char* name; void (*call)(void**); int arguments; } KERNELS[] = {
    {"clear", call_clear, 2},
    {"scale_maps", call_scale_maps, 5},
    {"find_peaks", call_find_peaks, 3},
    {"limb_scores", call_limb_scores, 3},
    {"assign", call_assign, 3},
    {"lift_samples", call_lift_samples, 3},
    {"letterbox", call_letterbox, 3},
    {"mirror", call_mirror, 3},
    {"count_bad", call_count_bad, 3},
    {"take", call_take, 4},
};

extern "C" int run(const char* name, int grid_x, int grid_y, void** args) {
  for (const auto& kernel : KERNELS)
    if (!strcmp(kernel.name, name)) return host::launch(kernel.call, args, grid_x, grid_y), 0;
  return 1;
}
extern "C" int sizes(int which) {
  return which == 0 ? sizeof(Params) : which == 1 ? sizeof(Arena) : sizeof(Result);
}
