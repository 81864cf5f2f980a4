// Gather and scatter: a batch of tiles is cut from a patch for the network, and its logits become grey levels.
//
//   gather   patch (uint8 or uint16) -> batch (float16 or float32), reflected at the volume's edge, looked up
//            1 (2) bytes read a voxel of the patch, 2 (4) written a channel and pixel; twin: gather_batch
//   scatter  logits (float16 or float32) -> probability and mask (uint8), the core of each tile alone
//            2 (4) bytes read a channel and pixel of the core, 1 written, 2 with the mask; twin: scatter_batch
//   copy     bytes -> bytes: as fast as memory goes, the ceiling of the two above; twin: copy_bytes
//
// The twins stand in twins.py, the launchers in kernels.py, the law in docs/kernels.md. Where the tiles lie is in
// the sheet, which is device memory: a captured graph serves every batch. All loops stride over the grid, so any
// grid of any block of up to MOST_THREADS is right, and kernels.py chooses the fast ones.
//
// Threads own a pack, 16 bytes of the floating-point side. Packs begin at the aligned address at or before the row's
// first element, so that stores are whole; loads are where their address allows it.
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

typedef unsigned char u8;
typedef unsigned short u16;

enum { MOST_THREADS = 256 };  // of a block; with the blocks that shall fit on a multiprocessor it bounds registers

// ---- the sheet -------------------------------------------------------------------------------------------------

enum {
  PATCH_START = 0,
  PATCH_SHAPE = 3,
  VOLUME_SHAPE = 6,
  PATCH_PITCH = 9,
  OUTPUT_SHAPE = 10,
  USED_TILES = 13,
  HEADER_WORDS = 16,
};

enum {
  TILE_ORIGIN = 0,
  TILE_SKIP = 3,
  TILE_CORE = 5,
  TILE_TARGET = 7,
  TILE_WORDS = 10,
};

// Tiles of the batch that are in use: what lies behind them is neither read nor written.
__device__ __forceinline__ int used_tiles(const int* __restrict__ sheet, int count) {
  return min(sheet[USED_TILES], count);
}

// Mirror a position into [0, n), the edge not repeated, however far outside it lies; twin: plan.reflect.
__device__ __forceinline__ int reflect(int position, int n) {
  if (position >= 0 && position < n) return position;
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  position %= period;
  if (position < 0) position += period;
  return min(position, period - position);
}

// Index in the patch of a position along axis 0, 1, 2 (z, y, x) of the working grid. The clamp keeps reads inside
// the patch where a tile overhangs what was uploaded; no core depends on those pixels.
__device__ __forceinline__ int patch_index(const int* __restrict__ sheet, int axis, int position) {
  const int index = reflect(position, sheet[VOLUME_SHAPE + axis]) - sheet[PATCH_START + axis];
  return max(0, min(index, sheet[PATCH_SHAPE + axis] - 1));
}

// ---- packs -----------------------------------------------------------------------------------------------------

// N elements that move by one instruction.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T of[N];
};

template <class T, int N>
__device__ __forceinline__ bool is_aligned(const T* pointer) {
  return reinterpret_cast<size_t>(pointer) % sizeof(Pack<T, N>) == 0;
}

// Elements between the aligned address at or before `pointer` and `pointer`.
template <class T, int N>
__device__ __forceinline__ int lead_of(const T* pointer) {
  return static_cast<int>(reinterpret_cast<size_t>(pointer) / sizeof(T) % N);
}

// Load N elements that are `stride` apart.
template <class T, int N>
__device__ __forceinline__ Pack<T, N> load(const T* pointer, int stride) {
  if (stride == 1 && is_aligned<T, N>(pointer)) return *reinterpret_cast<const Pack<T, N>*>(pointer);
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.of[i] = pointer[static_cast<ptrdiff_t>(i) * stride];
  return pack;
}

// Store N elements at an aligned address.
template <class T, int N>
__device__ __forceinline__ void store(T* pointer, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(pointer) = pack;
}

__device__ __forceinline__ int thread_x() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int thread_y() { return blockIdx.y * blockDim.y + threadIdx.y; }
__device__ __forceinline__ int thread_z() { return blockIdx.z * blockDim.z + threadIdx.z; }
__device__ __forceinline__ int threads_x() { return gridDim.x * blockDim.x; }
__device__ __forceinline__ int threads_y() { return gridDim.y * blockDim.y; }
__device__ __forceinline__ int threads_z() { return gridDim.z * blockDim.z; }

// ---- gather ----------------------------------------------------------------------------------------------------

// The network's input of each grey value: 256 values fit into shared memory, 65536 stay behind the read-only cache.
template <class Real>
struct SharedTable {
  const Real* of;
  __device__ __forceinline__ Real operator()(int grey) const { return of[grey]; }
};

template <class Real>
struct CachedTable {
  const Real* __restrict__ of;
  __device__ __forceinline__ Real operator()(int grey) const { return __ldg(of + grey); }
};

// Where one row of a plane comes from: `slice` in nchw, all channels' slices in nhwc.
template <class Voxel>
struct Source {
  const Voxel* __restrict__ patch;
  const int* __restrict__ sheet;
  const int* __restrict__ origin;  // of the tile, zyx
  int row;                         // of the patch

  __device__ __forceinline__ const Voxel* slice(int position) const {
    const size_t z = patch_index(sheet, 0, position);
    return patch + (z * sheet[PATCH_SHAPE + 1] + row) * sheet[PATCH_PITCH];
  }
  __device__ __forceinline__ Voxel voxel(const Voxel* slice, int x) const {
    return slice[patch_index(sheet, 2, origin[2] + x)];
  }
};

// Pixels 0 to `length` of a row of one channel. Packs that leave the row, the volume or the patch go pixel by pixel.
template <class Voxel, class Real, int N, class Table>
__device__ __forceinline__ void gather_row(const Source<Voxel>& source, int position, const Table& table,
                                           Real* __restrict__ target, int length) {
  const Voxel* slice = source.slice(position);
  // Columns of the tile that the patch holds without mirror or clamp; the patch lies inside the volume.
  const int least = source.sheet[PATCH_START + 2] - source.origin[2];
  const int most = least + source.sheet[PATCH_SHAPE + 2];
  const int lead = lead_of<Real, N>(target);
  for (int x = thread_x() * N - lead; x < length; x += threads_x() * N) {
    if (x >= max(0, least) && x + N <= min(length, most)) {
      const Pack<Voxel, N> voxels = load<Voxel, N>(slice + (x - least), 1);
      Pack<Real, N> pixels;
#pragma unroll
      for (int i = 0; i < N; ++i) pixels.of[i] = table(voxels.of[i]);
      store(target + x, pixels);
    } else {
#pragma unroll 1
      for (int i = max(x, 0); i < min(x + N, length); ++i) target[i] = table(source.voxel(slice, i));
    }
  }
}

// Elements 0 to `length` of a row whose pixels hold `channels` elements each, slice `position` first.
template <class Voxel, class Real, int N, class Table>
__device__ __forceinline__ void gather_channels(const Source<Voxel>& source, int position, int channels,
                                                const Table& table, Real* __restrict__ target, int length) {
  const int lead = lead_of<Real, N>(target);
  for (int first = thread_x() * N - lead; first < length; first += threads_x() * N) {
    int x = max(first, 0) / channels;
    int channel = max(first, 0) % channels;
    Pack<Real, N> pixels;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (first + i < 0 || first + i >= length) continue;
      pixels.of[i] = table(source.voxel(source.slice(position + channel), x));
      if (++channel == channels) {
        channel = 0;
        ++x;
      }
    }
    if (first >= 0 && first + N <= length) {
      store(target + first, pixels);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        if (first + i >= 0 && first + i < length) target[first + i] = pixels.of[i];
    }
  }
}

// Planes are the images' channels in nchw and the images in nhwc; a row of a plane is contiguous in the batch.
template <class Voxel, class Real, bool NHWC, class Table>
__device__ __forceinline__ void gather(const Voxel* __restrict__ patch, const int* __restrict__ sheet,
                                       const Table& table, Real* __restrict__ batch, int count,
                                       int channels, int height, int width) {
  constexpr int N = 16 / sizeof(Real);
  const int planes_a_tile = NHWC ? 1 : channels;
  const int length = NHWC ? width * channels : width;
  const int planes = used_tiles(sheet, count) * planes_a_tile;
  for (int plane = thread_z(); plane < planes; plane += threads_z()) {
    const int* origin = sheet + HEADER_WORDS + plane / planes_a_tile * TILE_WORDS + TILE_ORIGIN;
    const int position = origin[0] - channels / 2 + plane % planes_a_tile;
    for (int y = thread_y(); y < height; y += threads_y()) {
      const Source<Voxel> source{patch, sheet, origin, patch_index(sheet, 1, origin[1] + y)};
      Real* target = batch + (static_cast<size_t>(plane) * height + y) * length;
      if (NHWC && channels > 1)
        gather_channels<Voxel, Real, N>(source, position, channels, table, target, length);
      else
        gather_row<Voxel, Real, N>(source, position, table, target, length);
    }
  }
}

#define DMN_GATHER_U8(name, Real, NHWC)                                                                               \
  extern "C" __global__ void __launch_bounds__(MOST_THREADS, (NHWC) ? 4 : 5)                                          \
      name(const u8* __restrict__ patch, const int* __restrict__ sheet, const Real* __restrict__ table,               \
           Real* __restrict__ batch, int count, int channels, int height, int width) {                                \
    __shared__ Real shared[256];                                                                                      \
    const int threads = blockDim.x * blockDim.y * blockDim.z;                                                         \
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);                           \
    for (int grey = thread; grey < 256; grey += threads) shared[grey] = table[grey];                                  \
    __syncthreads();                                                                                                  \
    gather<u8, Real, NHWC>(patch, sheet, SharedTable<Real>{shared}, batch, count, channels, height, width);           \
  }

#define DMN_GATHER_U16(name, Real, NHWC)                                                                              \
  extern "C" __global__ void __launch_bounds__(MOST_THREADS, (NHWC) ? 4 : 5)                                          \
      name(const u16* __restrict__ patch, const int* __restrict__ sheet, const Real* __restrict__ table,              \
           Real* __restrict__ batch, int count, int channels, int height, int width) {                                \
    gather<u16, Real, NHWC>(patch, sheet, CachedTable<Real>{table}, batch, count, channels, height, width);           \
  }

DMN_GATHER_U8(dmn_gather_u8_f16_nchw, __half, false)
DMN_GATHER_U8(dmn_gather_u8_f16_nhwc, __half, true)
DMN_GATHER_U8(dmn_gather_u8_f32_nchw, float, false)
DMN_GATHER_U8(dmn_gather_u8_f32_nhwc, float, true)
DMN_GATHER_U16(dmn_gather_u16_f16_nchw, __half, false)
DMN_GATHER_U16(dmn_gather_u16_f16_nhwc, __half, true)
DMN_GATHER_U16(dmn_gather_u16_f32_nchw, float, false)
DMN_GATHER_U16(dmn_gather_u16_f32_nhwc, float, true)

// ---- scatter ---------------------------------------------------------------------------------------------------

__device__ __forceinline__ float real(float value) { return value; }
__device__ __forceinline__ float real(__half value) { return __half2float(value); }

// exp and 1 / x by the special function unit: relative errors below 1e-5 (CUDA programming guide, intrinsics), a
// grey level is 4e-3. In full precision the arithmetic would take longer than the memory on large GPUs.
__device__ __forceinline__ float reciprocal(float value) { return __fdividef(1.0f, value); }

// 1 / (1 + exp(-logit)); a logit that is no number gives 0.
__device__ __forceinline__ float sigmoid(float logit) { return reciprocal(1.0f + __expf(fminf(-logit, 88.0f))); }

// floor(255 p + 0.5) for p in [0, 1]. Added to 2^23 and rounded towards zero, the whole part of a float stands in
// its lowest bits; a conversion to an integer has a quarter of the throughput or less.
__device__ __forceinline__ u8 grey_level(float probability) {
  const float level = __fadd_rn(__fmul_rn(probability, 255.0f), 0.5f);
  return static_cast<u8>(__float_as_uint(__fadd_rz(level, 8388608.0f)));
}

// The core of one tile, clipped to tile and output: a wrong sheet must not write outside.
struct Core {
  int height, width;
  size_t source;  // of the first pixel in a channel of the tile
  size_t target;  // in the output
  int row;        // of the output, in voxels
};

__device__ __forceinline__ Core core_of(const int* __restrict__ sheet, int tile, int height, int width) {
  const int* words = sheet + HEADER_WORDS + tile * TILE_WORDS;
  const int* skip = words + TILE_SKIP;
  const int* target = words + TILE_TARGET;
  const int* shape = sheet + OUTPUT_SHAPE;
  Core core;
  core.height = min(words[TILE_CORE], min(height - skip[0], shape[1] - target[1]));
  core.width = min(words[TILE_CORE + 1], min(width - skip[1], shape[2] - target[2]));
  const bool outside = min(skip[0], skip[1]) < 0 || min(target[0], min(target[1], target[2])) < 0;
  if (outside || target[0] >= shape[0]) core.height = 0;
  core.source = static_cast<size_t>(skip[0]) * width + skip[1];
  core.target = (static_cast<size_t>(target[0]) * shape[1] + target[1]) * shape[2] + target[2];
  core.row = shape[2];
  return core;
}

// Grey levels and classes of N pixels `stride` apart, one channel: the sigmoid.
template <class Real, int N>
__device__ __forceinline__ void one_class(Pack<u8, N>& grey, Pack<u8, N>& mask, const Real* logits, int stride,
                                          int threshold) {
  const Pack<Real, N> logit = load<Real, N>(logits, stride);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    grey.of[i] = grey_level(sigmoid(real(logit.of[i])));
    mask.of[i] = grey.of[i] >= threshold;
  }
}

// Several channels, the first of them background: 1 - softmax_0 = 1 - 1 / (1 + s), s = sum of exp(l_c - l_0). The
// bound of 80 keeps s finite and its 1 / s far below a grey level, so that one pass over the channels is enough.
template <class Real, int N>
__device__ __forceinline__ void many_classes(Pack<u8, N>& grey, Pack<u8, N>& mask, const Real* logits, int stride,
                                             size_t channel_stride, int channels, int threshold) {
  const Pack<Real, N> background = load<Real, N>(logits, stride);
  float best[N];
  float odds[N];
#pragma unroll
  for (int i = 0; i < N; ++i) odds[i] = 0.0f;
#pragma unroll 1
  for (int channel = 1; channel < channels; ++channel) {
    const Pack<Real, N> logit = load<Real, N>(logits + channel * channel_stride, stride);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = real(logit.of[i]);
      odds[i] += __expf(fminf(value - real(background.of[i]), 80.0f));
      if (channel == 1 || value > best[i]) {
        best[i] = value;
        mask.of[i] = static_cast<u8>(channel);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    grey.of[i] = grey_level(1.0f - reciprocal(1.0f + odds[i]));
    if (grey.of[i] < threshold) mask.of[i] = 0;
  }
}

// How the pixels of a batch lie.
struct Strides {
  size_t image, channel;
  int pixel;
};

template <class Real, int N, bool MANY>
__device__ __forceinline__ void scatter_pack(const Real* logits, const Strides& strides, int channels, int threshold,
                                             u8* probability, u8* mask_or_null) {
  Pack<u8, N> grey;
  Pack<u8, N> mask;
  if (MANY)
    many_classes<Real, N>(grey, mask, logits, strides.pixel, strides.channel, channels, threshold);
  else
    one_class<Real, N>(grey, mask, logits, strides.pixel, threshold);
  store(probability, grey);
  if (mask_or_null) store(mask_or_null, mask);
}

template <class Real, int N, bool MANY>
__device__ __forceinline__ void scatter_tiles(const Real* __restrict__ logits, const int* __restrict__ sheet,
                                              const Strides& strides, int count, int channels, int height, int width,
                                              int threshold, u8* __restrict__ probability,
                                              u8* __restrict__ mask_or_null) {
  const int tiles = used_tiles(sheet, count);
  // The mask is written by the packs of the probability; where it is not as well aligned, pixel by pixel.
  const bool aligned = lead_of<u8, N>(mask_or_null) == lead_of<u8, N>(probability) || !mask_or_null;
  for (int tile = thread_z(); tile < tiles; tile += threads_z()) {
    const Core core = core_of(sheet, tile, height, width);
    for (int y = thread_y(); y < core.height; y += threads_y()) {
      const size_t first = core.source + static_cast<size_t>(y) * width;
      const Real* source = logits + tile * strides.image + first * strides.pixel;
      const size_t row = core.target + static_cast<size_t>(y) * core.row;
      const int lead = lead_of<u8, N>(probability + row);
      for (int x = thread_x() * N - lead; x < core.width; x += threads_x() * N) {
        if (aligned && x >= 0 && x + N <= core.width) {
          scatter_pack<Real, N, MANY>(source + static_cast<size_t>(x) * strides.pixel, strides, channels, threshold,
                                      probability + row + x, mask_or_null ? mask_or_null + row + x : nullptr);
        } else {
#pragma unroll 1
          for (int i = max(x, 0); i < min(x + N, core.width); ++i)
            scatter_pack<Real, 1, MANY>(source + static_cast<size_t>(i) * strides.pixel, strides, channels, threshold,
                                        probability + row + i, mask_or_null ? mask_or_null + row + i : nullptr);
        }
      }
    }
  }
}

template <class Real, bool NHWC>
__device__ __forceinline__ void scatter(const Real* __restrict__ logits, const int* __restrict__ sheet, int count,
                                        int channels, int height, int width, int threshold,
                                        u8* __restrict__ probability, u8* __restrict__ mask_or_null) {
  const size_t pixels = static_cast<size_t>(height) * width;
  const Strides strides{pixels * channels, NHWC ? 1 : pixels, NHWC ? channels : 1};
  if (channels == 1)
    scatter_tiles<Real, 16 / sizeof(Real), false>(logits, sheet, strides, count, channels, height, width, threshold,
                                                  probability, mask_or_null);
  else  // four pixels, or the registers do not last
    scatter_tiles<Real, 4, true>(logits, sheet, strides, count, channels, height, width, threshold, probability,
                                 mask_or_null);
}

#define DMN_SCATTER(name, Real, NHWC)                                                                                 \
  extern "C" __global__ void __launch_bounds__(MOST_THREADS, 4)                                                       \
      name(const Real* __restrict__ logits, const int* __restrict__ sheet, int count, int channels, int height,       \
           int width, int grey_threshold, u8* __restrict__ probability, u8* __restrict__ mask_or_null) {              \
    scatter<Real, NHWC>(logits, sheet, count, channels, height, width, grey_threshold, probability, mask_or_null);    \
  }

DMN_SCATTER(dmn_scatter_f16_nchw, __half, false)
DMN_SCATTER(dmn_scatter_f16_nhwc, __half, true)
DMN_SCATTER(dmn_scatter_f32_nchw, float, false)
DMN_SCATTER(dmn_scatter_f32_nhwc, float, true)

// ---- copy ------------------------------------------------------------------------------------------------------

// Both addresses are aligned to 16 bytes; what is left behind the last pack goes byte by byte.
extern "C" __global__ void dmn_copy(const u8* __restrict__ source, u8* __restrict__ target, long long bytes) {
  const long long packs = bytes / 16;
  const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long threads = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = thread; i < packs; i += threads)
    store(target + i * 16, *reinterpret_cast<const Pack<u8, 16>*>(source + i * 16));
  for (long long i = packs * 16 + thread; i < bytes; i += threads) target[i] = source[i];
}
