// SMAP's part association and lifting on the GPU, from an image to one block of people; and what is
// asked of other networks' maps that stay there.
//
// The contract is that of the numpy code (smap_ros.association, smap_ros.estimators.smap.lifting),
// to the last bit: every rounding step is written out by the __f*_rn intrinsics, which compilers
// may not fuse, and sums run in numpy's order. The same file is compiled by nvcc, NVRTC and, with
// host.h standing in for the GPU, by g++ for the tests.
//
// All arguments are pointers; sizes and thresholds lie in Params. BLOCK is the number of threads
// of every block. Launch shapes are in smap_ros/association/cuda/program.py.

#ifndef __CUDACC__
#include "host.h"
#endif

#ifndef BLOCK
#define BLOCK 512
#endif

#define WARP 32
#define JOINTS 15
#define LIMBS 14
#define MAPS (JOINTS + 2 * LIMBS)
#define POSE (3 * JOINTS)
#define OUTPUTS 7     // of the network: maps, bone depths, root depth, poses; necks' depth and poses;
#define SPREADS 2     // errors of pelvises' and necks' depths
#define CHANNELS (MAPS + LIMBS + 1 + POSE + 1 + POSE + SPREADS)
#define PEAKS 128     // rows of the tables; max_peaks is at most 127, as in SMAP
#define WORDS 1024    // 32 cells each, found before they are refined
#define LEVELS 4      // of the tree of limbs
#define SAMPLES 10    // of a bone's depth
#define NECK 0
#define NONE -1

#define ALL_LANES 0xffffffffu

typedef unsigned char byte;
typedef unsigned int word;

// Mirrored by PARAMS in layout.py, which fills it. Doubles first: no gaps.
struct Params {
  double bone_slack;
  double low_percentile, high_percentile;  // of 1
  int height, width;                       // of the maps, cells
  int channels;                            // of the scaled maps: CHANNELS, or fewer
  int first[OUTPUTS + 1];                  // where each output begins there; empty where missing
  int mirrored;                            // the mean with the mirrored image's maps is taken
  int max_peaks, radius;
  int root, dist_flag;
  int necks;                               // people are looked for from what necks are left, too
  int min_samples, max_samples;
  // As the association walks the limbs from its root, and from the neck.
  int level[2][LIMBS], from[2][LIMBS], to[2][LIMBS], turned[2][LIMBS];
  int parent[LIMBS], child[LIMBS];                          // as the skeleton names them
  float evidence_limit, peak_threshold, root_threshold, peak_offset;
  float paf_threshold, paf_min_share, samples_gain, near_length, near_score;
  float stride;
  float bone_length_cm[LIMBS];
  float divisor[CHANNELS];      // of the network's outputs
  int mirror_channel[CHANNELS];  // where the mirrored image's channel lies
  float mirror_sign[CHANNELS];
  // Letterbox: of the image in the network's input.
  int image_height, image_width, input_height, input_width;
  int fit_height, fit_width, left, top, shrink;  // shrink: whole factor averaged away first
  int source[3];                                 // colour of the image for each input channel
  float table[3][256];                           // normalised value of a colour's 256 levels
};

struct Person {
  float joints[JOINTS][3];  // x, y in cells, score; zeros where missing
  float root_depth;         // of the map at the root
  float pose[POSE];
  float spread;             // error of the root's depth, 0 where none is told
  double depth_cm[JOINTS];  // relative to the root
};

// What is copied to the host: 64 bytes and 488 for each person; first those found from their roots,
// then those found from their necks.
struct Result {
  int people, bad;  // bad: map values that are NaN or infinite
  int necks;
  int unused[13];   // keeps Person aligned
  Person person[2 * PEAKS];
};

struct Arena {
  Result result;
  float4 peaks[JOINTS][PEAKS];  // x, y, score, unused
  int counts[JOINTS];
  int unused;
  float scores[LIMBS][PEAKS][PEAKS];  // of the limb's first and second joint
};

__device__ static inline bool finite(float value) {
  return fabsf(value) <= 3.4028234663852886e38f;  // NaN compares false
}

// --- maps -----------------------------------------------------------------------------------

// The network's outputs in the association's units, and the mean with those of the mirrored
// image. The result's people and bad values are counted anew. `straight` and `mirrored` are tables
// of pointers to the outputs.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
clear(const Params* p, Arena* arena) {
  if (threadIdx.x == 0) {
    arena->result.people = 0;
    arena->result.necks = 0;
    arena->result.bad = 0;
  }
}

__device__ static inline const float* channel_of(const Params* p, const float* const* outputs, int channel) {
  int k = 0;
  while (channel >= p->first[k + 1]) ++k;
  return outputs[k] + (long long)(channel - p->first[k]) * p->height * p->width;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
scale_maps(const Params* p, const float* const* straight, const float* const* mirrored,
           float* maps, Arena* arena) {
  const int cells = p->height * p->width;
  int bad = 0;
  for (int channel = blockIdx.y; channel < p->channels; channel += gridDim.y) {
    const float divisor = p->divisor[channel];
    const float* a = channel_of(p, straight, channel);
    const float* b = p->mirrored ? channel_of(p, mirrored, p->mirror_channel[channel]) : a;
    const float other = p->divisor[p->mirror_channel[channel]];
    for (int cell = blockIdx.x * BLOCK + threadIdx.x; cell < cells; cell += gridDim.x * BLOCK) {
      float value = __fdiv_rn(a[cell], divisor);
      if (p->mirrored) {
        const int row = cell / p->width, column = cell - row * p->width;
        float turned = __fdiv_rn(b[row * p->width + p->width - 1 - column], other);
        turned = __fmul_rn(turned, p->mirror_sign[channel]);
        value = __fmul_rn(__fadd_rn(value, turned), 0.5f);
      }
      bad += !finite(value);
      maps[(long long)channel * cells + cell] = value;
    }
  }
  for (int offset = WARP / 2; offset; offset /= 2) bad += __shfl_xor_sync(ALL_LANES, bad, offset);
  if (bad && threadIdx.x % WARP == 0) atomicAdd(&arena->result.bad, bad);
}

// --- peaks ----------------------------------------------------------------------------------

__device__ static inline bool is_peak(const Params* p, const float* map, int row, int column,
                                      float threshold) {
  if (row < 1 || column < 1 || row >= p->height - 1 || column >= p->width - 1) return false;
  const float* at = map + row * p->width + column;
  const float value = *at, limit = p->evidence_limit;
  if (!(value > threshold && value <= limit)) return false;
  for (int y = -1; y <= 1; ++y)
    for (int x = -1; x <= 1; ++x) {
      const float next = at[y * p->width + x];
      if ((y || x) && next >= value && next <= limit) return false;  // NaN holds nothing back
    }
  return true;
}

__device__ static inline float4 refined(const Params* p, const float* map, int cell) {
  const int row = cell / p->width, column = cell - row * p->width;
  float sum_x = 0, sum_y = 0, sum = 0;
  for (int y = row - p->radius; y <= row + p->radius; ++y)
    for (int x = column - p->radius; x <= column + p->radius; ++x) {
      if (y < 0 || x < 0 || y >= p->height || x >= p->width) continue;
      const float weight = map[y * p->width + x];
      if (!(weight > 0 && weight <= p->evidence_limit)) continue;
      sum_x = __fadd_rn(sum_x, __fmul_rn((float)x, weight));
      sum_y = __fadd_rn(sum_y, __fmul_rn((float)y, weight));
      sum = __fadd_rn(sum, weight);
    }
  float4 peak;
  peak.x = __fadd_rn(__fdiv_rn(sum_x, sum), p->peak_offset);
  peak.y = __fadd_rn(__fdiv_rn(sum_y, sum), p->peak_offset);
  peak.z = map[cell];
  peak.w = 0;
  return peak;
}

// A block a joint. Each warp marks its cells in words, the words' populations are summed up, and
// so every peak knows its place: raster order by construction, without atomics.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
find_peaks(const Params* p, const float* maps, Arena* arena) {
  __shared__ word words[WORDS];
  __shared__ int sums[BLOCK / WARP];
  __shared__ int cell_of[PEAKS];
  const int joint = blockIdx.x, cells = p->height * p->width;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const float* map = maps + (long long)joint * cells;
  const float threshold = joint == p->root ? p->root_threshold : p->peak_threshold;
  int found = 0;
  for (int first = 0; first < cells && found < p->max_peaks; first += WORDS * WARP) {
    const int here = min(WORDS, (cells - first + WARP - 1) / WARP);
    for (int k = warp; k < here; k += BLOCK / WARP) {
      const int cell = first + k * WARP + lane, row = cell / p->width;
      const word bits = __ballot_sync(
          ALL_LANES, cell < cells && is_peak(p, map, row, cell - row * p->width, threshold));
      if (lane == 0) words[k] = bits;
    }
    __syncthreads();
    for (int k0 = 0; k0 < here; k0 += BLOCK) {  // every thread a word
      const int k = k0 + threadIdx.x;
      word bits = k < here ? words[k] : 0;
      int upto = __popc(bits);  // inclusive over the warp, then over the warps before
      for (int offset = 1; offset < WARP; offset *= 2) {
        const int before = __shfl_up_sync(ALL_LANES, upto, offset);
        if (lane >= offset) upto += before;
      }
      if (lane == WARP - 1) sums[warp] = upto;
      __syncthreads();
      int place = found + upto - __popc(bits), total = 0;
      for (int other = 0; other < BLOCK / WARP; ++other) {
        place += other < warp ? sums[other] : 0;
        total += sums[other];
      }
      for (; bits; bits &= bits - 1, ++place)
        if (place < p->max_peaks) cell_of[place] = first + k * WARP + __ffs(bits) - 1;
      found += total;
      __syncthreads();
    }
  }
  found = min(found, p->max_peaks);
  for (int k = threadIdx.x; k < found; k += BLOCK)
    arena->peaks[joint][k] = refined(p, map, cell_of[k]);
  if (threadIdx.x == 0) arena->counts[joint] = found;
}

// --- limbs ----------------------------------------------------------------------------------

// A warp a pair of peaks, a lane a sample of the line between them.
__device__ static float limb_score(const Params* p, const float* field, float4 a, float4 b) {
  const int lane = threadIdx.x % WARP, cells = p->height * p->width;
  const float dx = __fsub_rn(b.x, a.x), dy = __fsub_rn(b.y, a.y);
  const float length = __fsqrt_rn(__fadd_rn(__fmul_rn(dx, dx), __fmul_rn(dy, dy)));
  if (!(length > 1e-6f)) return -1;
  const float longest = fmaxf(fabsf(dx), fabsf(dy));
  const float extent = __fsqrt_rn(__fmul_rn(p->samples_gain, longest));
  int samples = (int)__fadd_rn(extent, 0.5f);
  samples = min(max(samples, p->min_samples), p->max_samples);
  const float step_x = __fdiv_rn(dx, (float)samples), step_y = __fdiv_rn(dy, (float)samples);
  const float unit_x = __fdiv_rn(dx, length), unit_y = __fdiv_rn(dy, length);
  float total = 0;
  int support = 0;
  for (int first = 0; first < samples; first += WARP) {
    const float number = (float)(first + lane);
    float along = 0;
    bool kept = false;
    if (first + lane < samples) {
      const int x = (int)__fadd_rn(__fadd_rn(a.x, __fmul_rn(number, step_x)), 0.5f);
      const int y = (int)__fadd_rn(__fadd_rn(a.y, __fmul_rn(number, step_y)), 0.5f);
      const int cell = min(y, p->height - 1) * p->width + min(x, p->width - 1);
      along = __fadd_rn(__fmul_rn(unit_x, field[cell]), __fmul_rn(unit_y, field[cells + cell]));
      kept = along <= p->evidence_limit && along > p->paf_threshold;
    }
    const word who = __ballot_sync(ALL_LANES, kept);
    support += __popc(who);
    for (int k = 0; k < WARP && first + k < samples; ++k) {
      const float value = __shfl_sync(ALL_LANES, along, k);
      if (who >> k & 1) total = __fadd_rn(total, value);
    }
  }
  const float share = __fdiv_rn((float)support, (float)samples);
  if (share > p->paf_min_share) return __fdiv_rn(total, (float)support);
  return length < p->near_length ? p->near_score : -1;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
limb_scores(const Params* p, const float* maps, Arena* arena) {
  const int warps = gridDim.x * (BLOCK / WARP);
  const int first = blockIdx.x * (BLOCK / WARP) + threadIdx.x / WARP;
  for (int limb = blockIdx.y; limb < LIMBS; limb += gridDim.y) {
    const int a = p->parent[limb], b = p->child[limb];
    const int columns = arena->counts[b], pairs = arena->counts[a] * columns;
    const float* field = maps + (long long)(JOINTS + 2 * limb) * p->height * p->width;
    for (int pair = first; pair < pairs; pair += warps) {
      const int row = pair / columns, column = pair - row * columns;
      const float score =
          limb_score(p, field, arena->peaks[a][row], arena->peaks[b][column]);
      if (threadIdx.x % WARP == 0) arena->scores[limb][row][column] = score;
    }
  }
}

// --- people ---------------------------------------------------------------------------------

// A score lowered where the limb is longer than it can be at the person's depth.
__device__ static float penalised(const Params* p, float score, float4 a, float4 b, float reach) {
  const double dx = (double)__fsub_rn(a.x, b.x), dy = (double)__fsub_rn(a.y, b.y);
  const float length = (float)__dsqrt_rn(__dadd_rn(__dmul_rn(dx, dx), __dmul_rn(dy, dy)));
  const float over = __fsub_rn(__fdiv_rn(__fdiv_rn(reach, length), p->stride), 1);
  return __fadd_rn(score, fminf(over, 0));
}

// People of one pass, in the shared memory of a block.
struct Group {
  float raster[PEAKS], depth[PEAKS];  // of the roots, in their own order and in the people's
  byte weak[PEAKS];                   // roots not above the peaks' threshold
  short row[PEAKS];                   // the roots' peaks
  short chosen[PEAKS][JOINTS];        // the people's peaks
  byte owned[JOINTS][PEAKS];          // peaks of people of the pass before
  int people;
};

// The people in turn take the best free peak along one limb. One warp.
__device__ static void walk(const Params* p, Arena* arena, int pass, int limb, Group* group) {
  const int lane = threadIdx.x % WARP, people = group->people;
  const int from = p->from[pass][limb], to = p->to[pass][limb], columns = arena->counts[to];
  const float* depth = group->depth;
  short (*chosen)[JOINTS] = group->chosen;
  word used = 0;  // bit k: this lane's column lane + 32 k
  for (int person = 0; person < people; ++person) {
    const int row = chosen[person][from];
    if (row < 0) continue;
    float reach = 0;
    if (p->dist_flag && isfinite(depth[person]))
      reach = (float)__ddiv_rn(__dmul_rn(p->bone_slack, (double)p->bone_length_cm[limb]),
                               (double)depth[person]);
    float best = 0;
    int pick = NONE;
    for (int k = 0; lane + WARP * k < columns; ++k) {
      const int column = lane + WARP * k;
      if (used >> k & 1 || group->owned[to][column]) continue;
      float score = p->turned[pass][limb] ? arena->scores[limb][column][row]
                                    : arena->scores[limb][row][column];
      if (score > 0 && p->dist_flag && isfinite(depth[person]))
        score = penalised(p, score, arena->peaks[from][row], arena->peaks[to][column], reach);
      if (score > best) best = score, pick = column;
    }
    for (int offset = WARP / 2; offset; offset /= 2) {
      const float score = __shfl_xor_sync(ALL_LANES, best, offset);
      const int column = __shfl_xor_sync(ALL_LANES, pick, offset);
      if (score > best || (score == best && column != NONE && column < pick))
        best = score, pick = column;
    }
    if (pick != NONE && pick % WARP == lane) used |= 1u << (pick / WARP);
    if (lane == 0) chosen[person][to] = (short)pick;
  }
}

// People are the root's free peaks, nearest first, weak ones last; limbs of one level of the tree
// share no joint that is chosen, so each level's limbs are walked at once.
__device__ static void pass_of(const Params* p, const float* maps, Arena* arena, int pass, int root,
                               Person* out, Group* group) {
  const float* root_depth = maps + (long long)p->first[pass ? 4 : 2] * p->height * p->width;
  if (threadIdx.x == 0) {
    group->people = 0;
    for (int k = 0; k < arena->counts[root]; ++k)
      if (!group->owned[root][k]) group->row[group->people++] = (short)k;
  }
  for (int k = threadIdx.x; k < PEAKS * JOINTS; k += BLOCK)
    group->chosen[k / JOINTS][k % JOINTS] = NONE;
  __syncthreads();
  const int people = group->people;
  for (int k = threadIdx.x; k < people; k += BLOCK) {
    const float4 peak = arena->peaks[root][group->row[k]];
    const int x = min((int)peak.x, p->width - 1), y = min((int)peak.y, p->height - 1);
    const float value = root_depth[y * p->width + x];
    group->raster[k] = finite(value) ? value : INFINITY;
    group->weak[k] = !(peak.z > p->peak_threshold);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < people; k += BLOCK) {
    const float mine = group->raster[k];
    const byte weak = group->weak[k];
    int place = 0;
    for (int other = 0; other < people; ++other) {
      const float theirs = group->raster[other];
      const bool before = theirs < mine || (theirs == mine && other < k);
      place += group->weak[other] < weak || (group->weak[other] == weak && before);
    }
    group->depth[place] = mine;
    group->chosen[place][root] = group->row[k];
  }
  __syncthreads();
  for (int level = 0; level < LEVELS; ++level) {
    for (int limb = threadIdx.x / WARP; limb < LIMBS; limb += BLOCK / WARP)
      if (p->level[pass][limb] == level) walk(p, arena, pass, limb, group);
    __syncthreads();
  }
  for (int k = threadIdx.x; k < people * JOINTS; k += BLOCK) {
    const int person = k / JOINTS, joint = k % JOINTS, peak = group->chosen[person][joint];
    float* joints = out[person].joints[joint];
    const float4 at = peak < 0 ? make_float4(0, 0, 0, 0) : arena->peaks[joint][peak];
    joints[0] = at.x, joints[1] = at.y, joints[2] = at.z;
  }
}

// One block: people from their roots, and then, if wanted, from the necks that these leave over.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
assign(const Params* p, const float* maps, Arena* arena) {
  __shared__ Group group;
  for (int k = threadIdx.x; k < JOINTS * PEAKS; k += BLOCK) group.owned[k / PEAKS][k % PEAKS] = 0;
  __syncthreads();
  pass_of(p, maps, arena, 0, p->root, arena->result.person, &group);
  const int people = group.people;
  int necks = 0;
  if (p->necks) {  // the same for all threads
    for (int k = threadIdx.x; k < JOINTS * PEAKS; k += BLOCK) {
      const int joint = k / PEAKS, row = k % PEAKS;
      if (row >= arena->counts[joint]) continue;
      const float4 at = arena->peaks[joint][row];
      bool owned = false;  // by where it is: two peaks may have one centre
      for (int person = 0; person < people && !owned; ++person) {
        const int peak = group.chosen[person][joint];
        if (peak < 0) continue;
        const float4 theirs = arena->peaks[joint][peak];
        owned = theirs.z > 0 && theirs.x == at.x && theirs.y == at.y;
      }
      group.owned[joint][row] = owned;
    }
    __syncthreads();
    pass_of(p, maps, arena, 1, NECK, arena->result.person + people, &group);
    necks = group.people;
  }
  if (threadIdx.x == 0) arena->result.people = people, arena->result.necks = necks;
}

// --- depths ---------------------------------------------------------------------------------

// The mean of samples clipped to two percentiles; 0 if none is finite.
__device__ static double clipped_mean(const Params* p, double* samples) {
  int count = 0;
  for (int k = 0; k < SAMPLES; ++k) {  // finite values, ascending
    const double value = samples[k];
    if (!isfinite(value)) continue;
    int place = count++;
    for (; place > 0 && samples[place - 1] > value; --place) samples[place] = samples[place - 1];
    samples[place] = value;
  }
  if (count == 0) return 0;
  double limits[2];
  for (int k = 0; k < 2; ++k) {
    const double position = __dmul_rn((double)(count - 1), k ? p->high_percentile : p->low_percentile);
    const int low = (int)floor(position);
    const double below = samples[low], above = samples[min(low + 1, count - 1)];
    limits[k] = __dadd_rn(below, __dmul_rn(__dsub_rn(above, below), __dsub_rn(position, (double)low)));
  }
  double v[SAMPLES];
  for (int k = 0; k < SAMPLES; ++k)
    v[k] = k < count ? fmin(fmax(samples[k], limits[0]), limits[1]) : 0;
  // As numpy adds ten numbers: eight in pairs, then the rest.
  double total = __dadd_rn(__dadd_rn(__dadd_rn(v[0], v[1]), __dadd_rn(v[2], v[3])),
                           __dadd_rn(__dadd_rn(v[4], v[5]), __dadd_rn(v[6], v[7])));
  total = __dadd_rn(__dadd_rn(total, v[8]), v[9]);
  return __ddiv_rn(total, (double)count);
}

__device__ static double bone_depth(const Params* p, const float* map, const float* a, const float* b) {
  const float ax = __fmul_rn(a[0], p->stride), ay = __fmul_rn(a[1], p->stride);
  const float bx = __fmul_rn(b[0], p->stride), by = __fmul_rn(b[1], p->stride);
  const float step_x = __fdiv_rn(__fsub_rn(bx, ax), (float)(SAMPLES - 1));
  const float step_y = __fdiv_rn(__fsub_rn(by, ay), (float)(SAMPLES - 1));
  double samples[SAMPLES];
  for (int k = 0; k < SAMPLES; ++k) {
    const bool last = k == SAMPLES - 1;
    const float x = last ? bx : __fadd_rn(__fmul_rn((float)k, step_x), ax);
    const float y = last ? by : __fadd_rn(__fmul_rn((float)k, step_y), ay);
    const int column = (int)__fdiv_rn(rintf(x), p->stride), row = (int)__fdiv_rn(rintf(y), p->stride);
    const int cell = min(max(row, 0), p->height - 1) * p->width + min(max(column, 0), p->width - 1);
    samples[k] = (double)map[cell];
  }
  return clipped_mean(p, samples);
}

// A block a person, a thread a limb.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
lift_samples(const Params* p, const float* maps, Arena* arena) {
  __shared__ double bones[LIMBS];
  const long long cells = p->height * p->width;
  const int* first = p->first;
  const int people = arena->result.people, all = people + arena->result.necks;
  for (int k = blockIdx.x; k < all; k += gridDim.x) {
    Person* person = &arena->result.person[k];
    const int pass = k >= people, root = pass ? NECK : p->root;
    for (int limb = threadIdx.x; limb < LIMBS; limb += BLOCK) {
      const float *a = person->joints[p->parent[limb]], *b = person->joints[p->child[limb]];
      const float* map = maps + (first[1] + limb) * cells;
      bones[limb] = a[2] > 0 && b[2] > 0 ? bone_depth(p, map, a, b) : 0;
    }
    const float* at = person->joints[root];
    const int x = min(max((int)at[0], 0), p->width - 1), y = min(max((int)at[1], 0), p->height - 1);
    const float* here = maps + y * p->width + x;  // of channel 0
    const int pose = pass ? 5 : 3;
    const bool told = first[pose + 1] > first[pose];
    for (int c = threadIdx.x; c < POSE; c += BLOCK)
      person->pose[c] = told ? here[(first[pose] + c) * cells] : 0;
    __syncthreads();
    if (threadIdx.x == 0) {
      person->root_depth = here[first[pass ? 4 : 2] * cells];
      person->spread = first[7] > first[6] ? here[(first[6] + pass) * cells] : 0;
      double* depth = person->depth_cm;
      for (int joint = 0; joint < JOINTS; ++joint) depth[joint] = 0;
      for (int limb = 0; limb < LIMBS; ++limb)  // a torso walked from the pelvis
        if (p->child[limb] == root) depth[p->parent[limb]] = -bones[limb];
      for (int limb = 0; limb < LIMBS; ++limb)
        if (p->child[limb] != root)
          depth[p->child[limb]] = __dadd_rn(depth[p->parent[limb]], bones[limb]);
    }
    __syncthreads();
  }
}

// --- image ----------------------------------------------------------------------------------

// One colour of the image after whole factors are averaged away, as OpenCV's INTER_AREA rounds.
__device__ static inline int shrunk(const Params* p, const byte* image, int row, int column, int colour) {
  const int n = p->shrink;
  if (n == 1) return image[((long long)row * p->image_width + column) * 3 + colour];
  int sum = 0;
  for (int y = 0; y < n; ++y)
    for (int x = 0; x < n; ++x)
      sum += image[((long long)(row * n + y) * p->image_width + column * n + x) * 3 + colour];
  if (n == 2) return (sum + 2) >> 2;
  return (int)rintf(__fmul_rn((float)sum, __fdiv_rn(1.0f, (float)(n * n))));
}

// Position in the source of a pixel of the resized image: lower pixel, which may lie before the
// first, and weight of the next one in 1/2048, as OpenCV's INTER_LINEAR has them.
__device__ static inline int lower(int at, int size, int source, int* weight) {
  const double ratio = __ddiv_rn((double)source, (double)size);
  const float position = (float)__dsub_rn(__dmul_rn(__dadd_rn((double)at, 0.5), ratio), 0.5);
  const int low = (int)floorf(position);
  *weight = (int)rintf(__fmul_rn(__fsub_rn(position, (float)low), 2048.0f));
  return low;
}

// A thread a pixel of the network's input: resized, padded with grey, normalised.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
letterbox(const Params* p, const byte* image, float* input) {
  const int pixels = p->input_height * p->input_width;
  const int height = p->image_height / p->shrink, width = p->image_width / p->shrink;
  for (int k = blockIdx.x * BLOCK + threadIdx.x; k < pixels; k += gridDim.x * BLOCK) {
    const int row = k / p->input_width - p->top, column = k % p->input_width - p->left;
    const bool inside = row >= 0 && column >= 0 && row < p->fit_height && column < p->fit_width;
    int wy = 0, wx = 0, y = 0, x = 0, y1 = 0, x1 = 0;
    if (inside) {
      const int low = lower(row, p->fit_height, height, &wy);
      // Beyond the border OpenCV mixes a row with itself, which rounds twice, but no column.
      y = max(low, 0), y1 = min(low + 1, height - 1);
      x = lower(column, p->fit_width, width, &wx);
      if (x < 0 || x >= width - 1) x = min(max(x, 0), width - 1), wx = 0;
      x1 = min(x + 1, width - 1);
    }
    for (int channel = 0; channel < 3; ++channel) {
      const int c = p->source[channel];
      int value = 128;
      if (inside) {
        const int top = shrunk(p, image, y, x, c) * (2048 - wx) + shrunk(p, image, y, x1, c) * wx;
        const int low = shrunk(p, image, y1, x, c) * (2048 - wx) + shrunk(p, image, y1, x1, c) * wx;
        value = ((((2048 - wy) * (top >> 4)) >> 16) + ((wy * (low >> 4)) >> 16) + 2) >> 2;
      }
      input[(long long)channel * pixels + k] = p->table[channel][value];
    }
  }
}

// The network's input mirrored left to right, for the second look.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
mirror(const Params* p, const float* input, float* turned) {
  const int pixels = p->input_height * p->input_width, width = p->input_width;
  for (int k = blockIdx.x * BLOCK + threadIdx.x; k < pixels; k += gridDim.x * BLOCK) {
    const int column = k % width, other = k - column + width - 1 - column;
    for (int channel = 0; channel < 3; ++channel)
      turned[(long long)channel * pixels + other] = input[(long long)channel * pixels + k];
  }
}

// --- maps of other networks -----------------------------------------------------------------

// How many of sizes[0] values are NaN or infinite, a block's count each.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
count_bad(const int* sizes, const float* values, int* bad) {
  __shared__ int sums[BLOCK / WARP];
  int mine = 0;
  for (int k = blockIdx.x * BLOCK + threadIdx.x; k < sizes[0]; k += gridDim.x * BLOCK)
    mine += !finite(values[k]);
  for (int offset = WARP / 2; offset; offset /= 2) mine += __shfl_xor_sync(ALL_LANES, mine, offset);
  if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    int all = 0;
    for (int warp = 0; warp < BLOCK / WARP; ++warp) all += sums[warp];
    bad[blockIdx.x] = all;
  }
}

// The values at sizes[1] places; 0 at negative ones.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
take(const int* sizes, const int* places, const float* values, float* taken) {
  for (int k = blockIdx.x * BLOCK + threadIdx.x; k < sizes[1]; k += gridDim.x * BLOCK)
    taken[k] = places[k] < 0 ? 0 : values[places[k]];
}
