// Stands in for the GPU when g++ compiles kernels.cu: the threads of a block are fibres on one
// thread of the host, so __syncthreads, ballots and shuffles work as written. REVERSED runs the
// fibres from the last to the first, which shows a missing barrier.
#pragma once

#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define BLOCK HOST_BLOCK

using std::isfinite;
using std::max;
using std::min;

struct float4 { float x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct dim3 { int x = 1, y = 1, z = 1; };

static dim3 gridDim, blockIdx, threadIdx;

// Compiled with -ffp-contract=off: plain operators round once, as the intrinsics do.
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return std::sqrt(a); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return std::sqrt(a); }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __ffs(unsigned a) { return __builtin_ffs((int)a); }
static inline void atomicAdd(int* target, int value) { *target += value; }

namespace host {

struct Fibre {
  ucontext_t start;
  jmp_buf at;
  bool begun = false, done = false;
  long block_waits = 0, warp_waits = 0;
};

static std::vector<Fibre> fibres(HOST_BLOCK);
static std::vector<std::vector<char>> stacks(HOST_BLOCK, std::vector<char>(64 << 10));
static jmp_buf scheduler;
static int current;
static void (*body)(void**);
static void** arguments;
static uint64_t slot[HOST_BLOCK];

static void enter() {
  body(arguments);
  fibres[current].done = true;
  _longjmp(scheduler, 1);
}

static void leave() {
  const int me = current;
  if (!_setjmp(fibres[me].at)) _longjmp(scheduler, 1);
}

static void resume(int k) {
  current = k;
  threadIdx.x = k;
  if (_setjmp(scheduler)) return;
  Fibre& fibre = fibres[k];
  if (fibre.begun) _longjmp(fibre.at, 1);
  fibre.begun = true;
  getcontext(&fibre.start);
  fibre.start.uc_stack.ss_sp = stacks[k].data();
  fibre.start.uc_stack.ss_size = stacks[k].size();
  fibre.start.uc_link = nullptr;
  makecontext(&fibre.start, enter, 0);
  setcontext(&fibre.start);
}

// Waits until every living fibre of the group has come as far; `count` is the fibre's own.
static void wait_for(int first, int last, long Fibre::* count) {
  const long mine = ++(fibres[current].*count);
  for (;;) {
    bool all = true;
    for (int k = first; k < last; ++k) all &= fibres[k].done || fibres[k].*count >= mine;
    if (all) return;
    leave();
    threadIdx.x = current;
  }
}

static void warp_barrier() {
  const int first = current / 32 * 32;
  wait_for(first, first + 32, &Fibre::warp_waits);
}

template <typename T> T exchange(T value, int source) {
  static_assert(sizeof(T) <= 8, "a lane passes at most 8 bytes");
  const int first = current / 32 * 32;
  memcpy(&slot[current], &value, sizeof value);
  warp_barrier();
  T got;
  memcpy(&got, &slot[first + source], sizeof got);
  warp_barrier();
  return got;
}

static void launch(void (*kernel)(void**), void** args, int grid_x, int grid_y) {
  body = kernel;
  arguments = args;
  gridDim.x = grid_x, gridDim.y = grid_y;
  for (blockIdx.y = 0; blockIdx.y < grid_y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x) {
      for (Fibre& fibre : fibres) fibre = Fibre();
      for (bool alive = true; alive;) {
        alive = false;
        for (int n = 0; n < HOST_BLOCK; ++n) {
#ifdef REVERSED
          const int k = HOST_BLOCK - 1 - n;
#else
          const int k = n;
#endif
          if (!fibres[k].done) resume(k), alive |= !fibres[k].done;
        }
      }
    }
}

}  // namespace host

static inline void __syncthreads() {
  host::wait_for(0, HOST_BLOCK, &host::Fibre::block_waits);
}
static inline unsigned __ballot_sync(unsigned, bool mine) {
  unsigned bits = 0;
  const int first = host::current / 32 * 32;
  host::slot[host::current] = mine;
  host::warp_barrier();
  for (int k = 0; k < 32; ++k) bits |= (host::slot[first + k] & 1u) << k;
  host::warp_barrier();
  return bits;
}
template <typename T> T __shfl_sync(unsigned, T value, int lane) {
  return host::exchange(value, lane);
}
template <typename T> T __shfl_xor_sync(unsigned, T value, int mask) {
  return host::exchange(value, (host::current % 32) ^ mask);
}
template <typename T> T __shfl_up_sync(unsigned, T value, int by) {
  const int lane = host::current % 32;
  return host::exchange(value, lane >= by ? lane - by : lane);
}
