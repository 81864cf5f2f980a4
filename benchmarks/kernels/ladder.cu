// The ladder: versions of gather and scatter, each with one idea more, the last of them what the runtime has.
//
//   ladder_gather_1         a thread a pixel: mirror, clamp, look up in global memory
//   ladder_gather_2         a thread 8 pixels, one store of 16 bytes
//   ladder_gather_3         one load of 8 voxels where neither edge nor clamp is near: gather() of tiles.cu
//   dmn_gather_u8_f16_nchw  the table in shared memory
//
//   ladder_scatter_1        a thread a pixel, exp and division in full precision
//   ladder_scatter_2        a thread 8 pixels, one load of 16 bytes and one store of 8
//   dmn_scatter_f16_nchw    exp, division and rounding without slow instructions, stores from an aligned address
//
//   dmn_copy                16 bytes in, 16 bytes out: the ceiling
//
// All of a kind take the same arguments; ladder.py checks each against the twin, then times it.
#include "tiles.cu"

extern "C" __global__ void ladder_gather_1(const u8* __restrict__ patch, const int* __restrict__ sheet,
                                           const __half* __restrict__ table, __half* __restrict__ batch, int count,
                                           int channels, int height, int width) {
  const int planes = used_tiles(sheet, count) * channels;
  for (int plane = thread_z(); plane < planes; plane += threads_z()) {
    const int* origin = sheet + HEADER_WORDS + plane / channels * TILE_WORDS + TILE_ORIGIN;
    for (int y = thread_y(); y < height; y += threads_y()) {
      const Source<u8> source{patch, sheet, origin, patch_index(sheet, 1, origin[1] + y)};
      const u8* slice = source.slice(origin[0] - channels / 2 + plane % channels);
      __half* target = batch + (static_cast<size_t>(plane) * height + y) * width;
      for (int x = thread_x(); x < width; x += threads_x()) target[x] = table[source.voxel(slice, x)];
    }
  }
}

extern "C" __global__ void ladder_gather_2(const u8* __restrict__ patch, const int* __restrict__ sheet,
                                           const __half* __restrict__ table, __half* __restrict__ batch, int count,
                                           int channels, int height, int width) {
  const int planes = used_tiles(sheet, count) * channels;
  for (int plane = thread_z(); plane < planes; plane += threads_z()) {
    const int* origin = sheet + HEADER_WORDS + plane / channels * TILE_WORDS + TILE_ORIGIN;
    for (int y = thread_y(); y < height; y += threads_y()) {
      const Source<u8> source{patch, sheet, origin, patch_index(sheet, 1, origin[1] + y)};
      const u8* slice = source.slice(origin[0] - channels / 2 + plane % channels);
      __half* target = batch + (static_cast<size_t>(plane) * height + y) * width;
      const int lead = lead_of<__half, 8>(target);
      for (int x = thread_x() * 8 - lead; x < width; x += threads_x() * 8) {
        Pack<__half, 8> pixels;
#pragma unroll
        for (int i = 0; i < 8; ++i)
          if (x + i >= 0 && x + i < width) pixels.of[i] = table[source.voxel(slice, x + i)];
        if (x >= 0 && x + 8 <= width) {
          store(target + x, pixels);
        } else {
#pragma unroll
          for (int i = 0; i < 8; ++i)
            if (x + i >= 0 && x + i < width) target[x + i] = pixels.of[i];
        }
      }
    }
  }
}

extern "C" __global__ void ladder_gather_3(const u8* __restrict__ patch, const int* __restrict__ sheet,
                                           const __half* __restrict__ table, __half* __restrict__ batch, int count,
                                           int channels, int height, int width) {
  gather<u8, __half, false>(patch, sheet, CachedTable<__half>{table}, batch, count, channels, height, width);
}

__device__ __forceinline__ u8 plain_level(__half logit) {
  const float probability = 1.0f / (1.0f + expf(fminf(-real(logit), 88.0f)));
  return static_cast<u8>(static_cast<unsigned>(__fadd_rn(__fmul_rn(probability, 255.0f), 0.5f)));
}

extern "C" __global__ void ladder_scatter_1(const __half* __restrict__ logits, const int* __restrict__ sheet,
                                            int count, int, int height, int width, int threshold,
                                            u8* __restrict__ probability, u8* __restrict__ mask_or_null) {
  const int tiles = used_tiles(sheet, count);
  for (int tile = thread_z(); tile < tiles; tile += threads_z()) {
    const Core core = core_of(sheet, tile, height, width);
    const __half* image = logits + static_cast<size_t>(tile) * height * width + core.source;
    for (int y = thread_y(); y < core.height; y += threads_y())
      for (int x = thread_x(); x < core.width; x += threads_x()) {
        const size_t target = core.target + static_cast<size_t>(y) * core.row + x;
        const u8 grey = plain_level(image[static_cast<size_t>(y) * width + x]);
        probability[target] = grey;
        if (mask_or_null) mask_or_null[target] = grey >= threshold;
      }
  }
}

extern "C" __global__ void ladder_scatter_2(const __half* __restrict__ logits, const int* __restrict__ sheet,
                                            int count, int, int height, int width, int threshold,
                                            u8* __restrict__ probability, u8* __restrict__ mask_or_null) {
  const int tiles = used_tiles(sheet, count);
  for (int tile = thread_z(); tile < tiles; tile += threads_z()) {
    const Core core = core_of(sheet, tile, height, width);
    const __half* image = logits + static_cast<size_t>(tile) * height * width + core.source;
    for (int y = thread_y(); y < core.height; y += threads_y())
      for (int x = thread_x() * 8; x < core.width; x += threads_x() * 8) {
        const __half* pixels = image + static_cast<size_t>(y) * width + x;
        const size_t target = core.target + static_cast<size_t>(y) * core.row + x;
        const int n = min(8, core.width - x);
        Pack<__half, 8> logit = {};
        if (n == 8)
          logit = load<__half, 8>(pixels, 1);
        else
          for (int i = 0; i < n; ++i) logit.of[i] = pixels[i];
        Pack<u8, 8> grey, mask;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          grey.of[i] = plain_level(logit.of[i]);
          mask.of[i] = grey.of[i] >= threshold;
        }
        if (n == 8 && is_aligned<u8, 8>(probability + target) && is_aligned<u8, 8>(mask_or_null + target)) {
          store(probability + target, grey);
          if (mask_or_null) store(mask_or_null + target, mask);
        } else {
          for (int i = 0; i < n; ++i) probability[target + i] = grey.of[i];
          for (int i = 0; mask_or_null && i < n; ++i) mask_or_null[target + i] = mask.of[i];
        }
      }
  }
}
